//! Which pictures belong together.

use std::path::{Component, Path};
use std::str::FromStr;

use super::path::slashed;
use crate::base::text;

/// What tells which pictures stay together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// Nothing: each picture is on its own.
    #[default]
    Picture,
    /// The folder that they lie in: the first one below the folder of their class. Folders of one
    /// name are one group, whatever class they are of.
    Folder,
    /// The beginning of their files' names, up to the first of these separators.
    Prefix(String),
    /// The same up to the last.
    PrefixLast(String),
    /// The text in this column of a list.
    Column(String),
}

impl FromStr for GroupBy {
    type Err = String;

    /// Reads `folder`, `prefix:_`, `prefix-last:_` or `column:patient`.
    fn from_str(text: &str) -> Result<GroupBy, String> {
        let (rule, separator) = text.split_once(':').unwrap_or((text, ""));
        match (rule, separator.is_empty()) {
            ("folder", true) if !text.contains(':') => Ok(GroupBy::Folder),
            ("prefix", false) => Ok(GroupBy::Prefix(separator.into())),
            ("prefix-last", false) => Ok(GroupBy::PrefixLast(separator.into())),
            ("column", false) => Ok(GroupBy::Column(separator.into())),
            ("column", true) => Err(format!("`{text}` names no column; write column:NAME")),
            ("prefix" | "prefix-last", true) => Err(format!(
                "`{text}` names no separator; write `{rule}:_` for names such as patient7_03.jpg"
            )),
            _ => Err(format!(
                "`{text}` is no rule; expected folder, prefix:SEP, prefix-last:SEP or column:NAME"
            )),
        }
    }
}

impl GroupBy {
    /// What a picture's group is called, if it has one: `name` leads from the data's folder, and
    /// `below` from its class's folder, where it lies in one.
    pub(super) fn group(&self, name: &Path, below: Option<&Path>) -> Option<String> {
        let stem = || Some(text::name(name.file_stem()?).to_string());
        let up_to = |end: Option<usize>, stem: &str| {
            end.filter(|end| *end > 0).map(|end| stem[..end].to_string())
        };
        match self {
            // What a column says is not in the picture's path.
            GroupBy::Picture | GroupBy::Column(_) => None,
            GroupBy::Folder => match below {
                Some(below) => {
                    let mut parts = below.components();
                    let (first, rest) = (parts.next()?, parts.next());
                    let Component::Normal(folder) = first else { return None };
                    rest.map(|_| text::name(folder).to_string())
                }
                None => {
                    let parent = name.parent()?;
                    (parent != Path::new("")).then(|| slashed(parent))
                }
            },
            GroupBy::Prefix(separator) => {
                stem().and_then(|stem| up_to(stem.find(separator), &stem))
            }
            GroupBy::PrefixLast(separator) => {
                stem().and_then(|stem| up_to(stem.rfind(separator), &stem))
            }
        }
    }

    /// What is missing where a picture has no group.
    pub(super) fn lack(&self) -> String {
        match self {
            GroupBy::Picture => String::new(),
            GroupBy::Folder => "lie in no folder of their own below that of their class".into(),
            GroupBy::Prefix(separator) | GroupBy::PrefixLast(separator) => {
                format!("have no `{separator}` behind the beginning of their names")
            }
            GroupBy::Column(name) => format!("have nothing in the column `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(rule: &str, name: &str, below: Option<&str>) -> Option<String> {
        let rule: GroupBy = rule.parse().unwrap();
        rule.group(Path::new(name), below.map(Path::new))
    }

    #[test]
    fn names_tell_groups() {
        let of = |rule, name| group(rule, name, None);
        assert_eq!(of("prefix:_", "cats/p7_day2_01.jpg").as_deref(), Some("p7"));
        assert_eq!(of("prefix-last:_", "cats/p7_day2_01.jpg").as_deref(), Some("p7_day2"));
        assert_eq!(of("prefix:--", "p7--1.x.png").as_deref(), Some("p7"));
        // The ending is no part of the name, and nothing before a separator is no group.
        assert_eq!(of("prefix:.", "7.jpg"), None);
        assert_eq!(of("prefix:_", "_7.jpg"), None);
        assert_eq!(of("prefix:_", "7.jpg"), None);
        assert_eq!(of("prefix:é", "aéb.jpg").as_deref(), Some("a"));
    }

    #[test]
    fn folders_tell_groups() {
        let below = |below| group("folder", "train/cats/p1/day/1.jpg", Some(below));
        assert_eq!(below("p1/day/1.jpg").as_deref(), Some("p1"));
        assert_eq!(below("1.jpg"), None);
        assert_eq!(group("folder", "scans/p1/1.jpg", None).as_deref(), Some("scans/p1"));
        assert_eq!(group("folder", "1.jpg", None), None);
    }

    #[test]
    fn wrong_rules_are_refused() {
        let error = |text: &str| text.parse::<GroupBy>().unwrap_err();
        assert!(error("prefix:").contains("write `prefix:_`"));
        assert!(error("prefix").contains("write `prefix:_`"));
        assert!(error("folder:x").contains("expected folder, prefix:SEP"));
        assert!(error("patient").contains("expected folder, prefix:SEP"));
        assert!(error("column:").contains("write column:NAME"));
    }
}

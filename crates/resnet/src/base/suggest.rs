//! The nearest known name, for errors about unknown ones.

/// Longest name compared, in characters; nobody mistypes a longer one into a known name.
const LONGEST: usize = 64;

/// The candidate nearest to `name`, if it is near enough to be a slip of the keyboard: at most one
/// edit in three characters, and at most three. Case counts nothing; of equally near candidates the
/// first wins.
///
/// ```
/// assert_eq!(resnet::base::suggest::nearest("resnte20", ["plain20", "resnet20"]), Some("resnet20"));
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    if name.len() > LONGEST {
        return None;
    }
    let limit = (name.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &folded(candidate)), candidate))
        .filter(|&(edits, _)| edits <= limit)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// ``; did you mean `resnet20`?``, or nothing when no candidate is near: the end of an error
/// message.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

fn folded(name: &str) -> Vec<char> {
    let lower = name.chars().flat_map(char::to_lowercase);
    lower.take(LONGEST + 1).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, none
/// touching a character twice (Damerau 1964, in the form called optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let replaced = above[j] + usize::from(a[i] != b[j]);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("resnet20", "resnte20", 1),
            ("resnet20", "resnet2", 1),
            ("ca", "abc", 3),
            ("ab", "ba", 1),
        ];
        for (a, b, expected) in cases {
            assert_eq!(distance(&folded(a), &folded(b)), expected, "{a} {b}");
            assert_eq!(distance(&folded(b), &folded(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["resnet20", "resnet32", "resnet50_v1", "plain20", "vgg16", "lr"];
        let cases = [
            ("resnet21", Some("resnet20")),
            ("ResNet20", Some("resnet20")),
            ("resent32", Some("resnet32")),
            ("resnet50v1", Some("resnet50_v1")),
            ("vg16", Some("vgg16")),
            ("lt", Some("lr")),
            ("transformer", None),
            ("", None),
            ("xy", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest(&"resnet20".repeat(1000), known), None);
        assert_eq!(did_you_mean("vgg61", known), "; did you mean `vgg16`?");
        assert_eq!(did_you_mean("cat", known), "");
    }
}

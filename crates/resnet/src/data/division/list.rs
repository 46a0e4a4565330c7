//! A division as a list: CSV by RFC 4180 with the columns `path`, `label` and `split`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::parts::{Division, name_of};
use super::path::slashed;
use crate::base::files::{FileError, write_atomic};

impl Division {
    /// The list as it is in a file: a line for each picture, by class and path, with the path from
    /// the list's folder on, so that list and pictures can be moved together.
    pub fn text(&self, list: &Path) -> String {
        let to_root = way(&resolved(folder_of(list)), &resolved(&self.root));
        let mut text = String::from("path,label,split\n");
        for row in &self.rows {
            let path = quoted(&slashed(&to_root.join(&row.name)));
            let label = quoted(&self.classes[row.class]);
            let _ = writeln!(text, "{path},{label},{}", name_of(row.part));
        }
        text
    }

    /// Writes the list, whole or not at all. Folders on the way are made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, list: &Path) -> Result<(), FileError> {
        let failed = |source| FileError::Write { path: list.to_owned(), source };
        fs::create_dir_all(folder_of(list)).map_err(failed)?;
        write_atomic(list, |to| to.write_all(self.text(list).as_bytes()))
    }
}

/// The folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Where a folder really lies, so that `..` leads where it seems to.
fn resolved(folder: &Path) -> PathBuf {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}

/// The way from one folder to another, both without links; the other itself where there is none.
fn way(from: &Path, to: &Path) -> PathBuf {
    let pairs = from.components().zip(to.components());
    let common = pairs.take_while(|(a, b)| a == b).count();
    if common == 0 {
        // On another drive of Windows; a path of this form takes no other separators.
        let shown = to.to_string_lossy();
        let plain = shown.strip_prefix(r"\\?\").filter(|plain| !plain.starts_with("UNC"));
        return plain.map_or_else(|| to.to_path_buf(), PathBuf::from);
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

fn quoted(cell: &str) -> String {
    let special = |c: char| matches!(c, ',' | '"' | '\n' | '\r');
    let blank = cell.trim() != cell;
    match cell.contains(special) || blank {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_from_folder_to_folder() {
        let found = |from: &str, to: &str| slashed(&way(Path::new(from), Path::new(to)));
        assert_eq!(found("/a/b", "/a/b"), "");
        assert_eq!(found("/a", "/a/b/c"), "b/c");
        assert_eq!(found("/a/b/c", "/a/d"), "../../d");
        assert_eq!(found("/x", "/y"), "../y");
        assert_eq!(found("x", "y"), "y");
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(quoted("a b.png"), "a b.png");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("a\nb"), "\"a\nb\"");
        assert_eq!(quoted(" a"), "\" a\"");
    }
}

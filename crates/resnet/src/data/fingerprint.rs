//! What tells data apart: a number of the classes, labels and names of the pictures in their order.
//!
//! Names count without the path that all of them begin with, so that a folder may be moved. Pixels
//! do not count: to read them would take as long as an epoch.

use super::Dataset;
use crate::base::hash::fnv1a;

/// A text that is another for other data, or for the same files in other classes.
pub(crate) fn fingerprint(parts: &[&dyn Dataset]) -> String {
    let known =
        |before, data: &&dyn Dataset| data.digest(before).unwrap_or_else(|| after(before, *data));
    format!("{:016x}", parts.iter().fold(BEGIN, known))
}

/// The state before the first part.
pub(super) use crate::base::hash::BEGIN;

/// The state after a part, all of its names read.
pub(super) fn after(before: u64, data: &dyn Dataset) -> u64 {
    let mut hash = data.classes().iter().fold(before, |hash, class| text(hash, class));
    let start = common_path(data);
    for index in 0..data.len() {
        hash = fnv1a(hash, &data.label(index).to_le_bytes());
        let name = data.name(index);
        hash = text(hash, name.get(start..).unwrap_or(&name));
    }
    fnv1a(hash, &(data.len() as u64).to_le_bytes())
}

/// Length of the path that all names begin with, up to a separator and before the folder of a
/// class.
fn common_path(data: &dyn Dataset) -> usize {
    if data.is_empty() {
        return 0;
    }
    let first = data.name(0);
    let mut common = first.len();
    for index in 1..data.len() {
        let name = data.name(index);
        let same = first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        common = common.min(same);
    }
    first.as_bytes()[..common].iter().rposition(|&b| b == b'/' || b == b'\\').map_or(0, |i| i + 1)
}

/// The state after a text and its end.
fn text(hash: u64, text: &str) -> u64 {
    fnv1a(hash, text.as_bytes().iter().chain(&[0xff]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataError, Image};

    struct Named(Vec<String>, Vec<(&'static str, u32)>, &'static str);

    impl Dataset for Named {
        fn len(&self) -> usize {
            self.1.len()
        }
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn label(&self, index: usize) -> u32 {
            self.1[index].1
        }
        fn name(&self, index: usize) -> String {
            format!("{}/{}", self.2, self.1[index].0)
        }
        fn read(&self, _: usize, _: &mut Image) -> Result<(), DataError> {
            unreachable!("pixels do not count")
        }
    }

    #[test]
    fn a_moved_folder_is_the_same_data_and_moved_labels_are_not() {
        let classes = || ["a", "b"].map(String::from).to_vec();
        let print = |files: &[(&'static str, u32)], root, classes| {
            fingerprint(&[&Named(classes, files.to_vec(), root)])
        };
        let files = [("a/1.png", 0), ("a/2.png", 0), ("b/3.png", 1)];
        let own = print(&files, "/photos", classes());
        assert_eq!(own, print(&files, "elsewhere/my photos", classes()));
        let swapped = [("a/1.png", 0), ("a/3.png", 0), ("b/2.png", 1)];
        let changed = [
            print(&swapped, "/photos", classes()),
            print(&[("a/1.png", 0), ("a/2.png", 1), ("b/3.png", 1)], "/photos", classes()),
            print(&files[..2], "/photos", classes()),
            print(&files, "/photos", ["a", "c"].map(String::from).to_vec()),
        ];
        assert!(changed.iter().all(|other| *other != own), "{own} {changed:?}");
    }
}

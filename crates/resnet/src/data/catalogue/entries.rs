//! Labels, names and places of pictures, in little memory.

use std::cmp::Ordering;

use super::super::store::{Entry, Place};

/// Pictures in an order, their names one after another in one piece of memory.
#[derive(Default)]
pub(in crate::data) struct Entries {
    names: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    /// Where its name begins, and its length.
    name: (usize, u32),
    label: u32,
    place: Place,
}

impl Entries {
    /// Adds a picture; `label` numbers the classes of its part.
    pub(in crate::data) fn push(&mut self, name: &[u8], label: u32, place: Place) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.rows.push(Row { name: (start, name.len() as u32), label, place });
    }

    pub(in crate::data) fn len(&self) -> usize {
        self.rows.len()
    }

    /// # Panics
    /// If `index` is not below [`len`](Entries::len).
    pub(in crate::data) fn get(&self, index: usize) -> Entry<'_> {
        let Row { place, .. } = self.rows[index];
        Entry { name: self.name(&self.rows[index]), place }
    }

    pub(in crate::data) fn label(&self, index: usize) -> u32 {
        self.rows[index].label
    }

    pub(in crate::data) fn labels(&self) -> Vec<u32> {
        self.rows.iter().map(|row| row.label).collect()
    }

    pub(in crate::data) fn set_place(&mut self, index: usize, place: Place) {
        self.rows[index].place = place;
    }

    /// Gives every picture another number for its class.
    pub(in crate::data) fn relabel(&mut self, label: impl Fn(u32) -> u32) {
        self.rows.iter_mut().for_each(|row| row.label = label(row.label));
    }

    /// Keeps the pictures whose index `keep` holds true for.
    pub(in crate::data) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut index = 0;
        self.rows.retain(|_| {
            index += 1;
            keep(index - 1)
        });
    }

    /// Sorts by class, then by path, so that nothing depends on the order of a file system or of an
    /// archive: the order of a folder, whatever holds its files.
    pub(in crate::data) fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|a, b| {
            a.label.cmp(&b.label).then_with(|| by_path(self.name(a), self.name(b)))
        });
        self.rows = rows;
    }

    fn name(&self, row: &Row) -> &[u8] {
        let (start, length) = row.name;
        &self.names[start..start + length as usize]
    }
}

/// The order of paths by their parts, as of [`Path`](std::path::Path): a folder's content comes
/// before its longer neighbour.
fn by_path(a: &[u8], b: &[u8]) -> Ordering {
    let low = |byte: &u8| if is_separator(*byte) { 0 } else { *byte };
    a.iter().map(low).cmp(b.iter().map(low))
}

fn is_separator(byte: u8) -> bool {
    byte == b'/' || cfg!(windows) && byte == b'\\'
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_order_is_that_of_paths() {
        let names = ["b/1", "a-b/1", "a/2", "a/10", "a.b", "a", "a/10/x", "a b/1"];
        let mut entries = Entries::default();
        for (at, name) in names.iter().enumerate() {
            entries.push(name.as_bytes(), 0, Place { at: at as u64, ..Place::default() });
        }
        entries.push(b"0", 1, Place::default());
        entries.sort();
        let mut paths: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        paths.sort();
        let sorted: Vec<_> = (0..names.len()).map(|i| entries.get(i).name.to_vec()).collect();
        assert_eq!(
            sorted,
            paths.iter().map(|p| p.to_str().unwrap().as_bytes()).collect::<Vec<_>>()
        );
        assert_eq!((entries.get(8).name, entries.label(8)), (b"0".as_slice(), 1));
        let at = entries.get(0).place.at as usize;
        assert_eq!(entries.get(0).name, names[at].as_bytes());
    }
}

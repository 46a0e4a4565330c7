//! Tables of pictures, written as Hugging Face's `datasets` does: a struct `image` of bytes and a
//! path, and a number `label`. Nothing is compressed, since pictures are by themselves, so that
//! each lies in the file as it is.

use std::io::{self, Write};

use super::bytes::MAGIC;
use super::thrift::{self, Writer as Thrift};

/// Rows of a group, as `datasets` has them for pictures.
const ROWS: usize = 100;
/// Bytes of pictures in a page, and a picture more.
const PAGE: usize = 1 << 20;

/// A picture.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Its file.
    pub bytes: &'a [u8],
    /// What it is called.
    pub path: &'a str,
    /// The number of its class.
    pub label: i64,
}

/// A file that is being written.
pub struct Writer<W> {
    to: W,
    /// Bytes written.
    at: u64,
    metadata: Vec<(String, String)>,
    groups: Vec<Done>,
    /// The group that is open: pictures of its page, and its other columns.
    page: Vec<u8>,
    in_page: usize,
    pictures: Span,
    paths: Vec<u8>,
    labels: Vec<u8>,
    rows: usize,
}

/// Where a column of a group is.
#[derive(Clone, Copy, Default)]
struct Span {
    start: u64,
    length: u64,
}

struct Done {
    columns: [Span; 3],
    rows: usize,
}

/// A column: its path, its type, its number of optional parts.
const COLUMNS: [(&[&str], i32, u8); 3] =
    [(&["image", "bytes"], 6, 2), (&["image", "path"], 6, 2), (&["label"], 2, 1)];

impl<W: Write> Writer<W> {
    /// Begins a file that has these texts by name.
    ///
    /// # Errors
    /// The system's.
    pub fn new(mut to: W, metadata: Vec<(String, String)>) -> io::Result<Writer<W>> {
        to.write_all(MAGIC)?;
        let pictures = Span { start: MAGIC.len() as u64, length: 0 };
        Ok(Writer {
            to,
            at: pictures.start,
            metadata,
            groups: Vec::new(),
            page: Vec::new(),
            in_page: 0,
            pictures,
            paths: Vec::new(),
            labels: Vec::new(),
            rows: 0,
        })
    }

    /// Bytes that the file has so far, the last page's included.
    pub fn size(&self) -> u64 {
        self.at + (self.page.len() + self.paths.len() + self.labels.len()) as u64
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// The system's, or the picture has 2 GiB.
    pub fn push(&mut self, row: &Row) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "a picture of 2 GiB");
        let length = i32::try_from(row.bytes.len() + PAGE).map_err(|_| too_large())?;
        text(&mut self.page, row.bytes, length - PAGE as i32);
        text(&mut self.paths, row.path.as_bytes(), row.path.len() as i32);
        self.labels.extend(row.label.to_le_bytes());
        self.in_page += 1;
        self.rows += 1;
        if self.page.len() >= PAGE {
            self.end_page()?;
        }
        if self.rows == ROWS { self.end_group() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        if self.in_page > 0 {
            let page = std::mem::take(&mut self.page);
            self.write_page(&page, self.in_page, COLUMNS[0].2)?;
            self.page = page;
            self.page.clear();
            self.in_page = 0;
        }
        self.pictures.length = self.at - self.pictures.start;
        Ok(())
    }

    /// A page of values that are all there.
    fn write_page(&mut self, values: &[u8], count: usize, level: u8) -> io::Result<()> {
        // One run of the level that says so, its length before it.
        let mut levels = Vec::new();
        let mut run = count << 1;
        while run >= 0x80 {
            levels.push(run as u8 | 0x80);
            run >>= 7;
        }
        levels.extend([run as u8, level]);
        let size = (4 + levels.len() + values.len()) as i32;
        let mut header = Thrift::default();
        header.structure(|page| {
            page.i32(1, 0);
            page.i32(2, size);
            page.i32(3, size);
            page.inner(5, |data| {
                data.i32(1, count as i32);
                data.i32(2, 0);
                data.i32(3, 3);
                data.i32(4, 3);
            });
        });
        self.put(&header.bytes)?;
        self.put(&(levels.len() as u32).to_le_bytes())?;
        self.put(&levels)?;
        self.put(values)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        self.end_page()?;
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        let mut columns = [self.pictures, Span::default(), Span::default()];
        let (paths, labels) = (std::mem::take(&mut self.paths), std::mem::take(&mut self.labels));
        for (column, values) in [(1, paths), (2, labels)] {
            let start = self.at;
            self.write_page(&values, rows, COLUMNS[column].2)?;
            columns[column] = Span { start, length: self.at - start };
        }
        self.groups.push(Done { columns, rows });
        self.pictures = Span { start: self.at, length: 0 };
        Ok(())
    }

    /// Writes what is left, and the footer; gives back what was written to.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_group()?;
        let footer = self.footer();
        self.put(&footer)?;
        self.put(&(footer.len() as u32).to_le_bytes())?;
        self.put(MAGIC)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn footer(&self) -> Vec<u8> {
        let mut footer = Thrift::default();
        footer.structure(|file| {
            file.i32(1, 2);
            file.list(2, 5, thrift::STRUCT);
            file.structure(|root| {
                root.text(4, "schema");
                root.i32(5, 2);
            });
            file.structure(|image| {
                image.i32(3, 1);
                image.text(4, "image");
                image.i32(5, 2);
            });
            for (path, kind, _) in COLUMNS {
                file.structure(|column| {
                    column.i32(1, kind);
                    column.i32(3, 1);
                    column.text(4, path[path.len() - 1]);
                    if path.last() == Some(&"path") {
                        column.i32(6, 0);
                        column.inner(10, |logical| logical.inner(1, |_| ()));
                    }
                });
            }
            file.i64(3, self.groups.iter().map(|group| group.rows as i64).sum());
            file.list(4, self.groups.len(), thrift::STRUCT);
            self.groups.iter().for_each(|group| write_group(file, group));
            file.list(5, self.metadata.len(), thrift::STRUCT);
            for (name, value) in &self.metadata {
                file.structure(|pair| {
                    pair.text(1, name);
                    pair.text(2, value);
                });
            }
            file.text(6, concat!("resnet version ", env!("CARGO_PKG_VERSION")));
        });
        footer.bytes
    }
}

fn text(to: &mut Vec<u8>, bytes: &[u8], length: i32) {
    to.extend(length.to_le_bytes());
    to.extend_from_slice(bytes);
}

fn write_group(file: &mut Thrift, group: &Done) {
    file.structure(|to| {
        to.list(1, COLUMNS.len(), thrift::STRUCT);
        for ((path, kind, _), span) in COLUMNS.iter().zip(group.columns) {
            to.structure(|chunk| {
                chunk.i64(2, 0);
                chunk.inner(3, |about| {
                    about.i32(1, *kind);
                    about.list(2, 2, thrift::I32);
                    [0, 3].into_iter().for_each(|encoding| about.number(encoding));
                    about.list(3, path.len(), thrift::BINARY);
                    path.iter().for_each(|part| about.element(part));
                    about.i32(4, 0);
                    about.i64(5, group.rows as i64);
                    about.i64(6, span.length as i64);
                    about.i64(7, span.length as i64);
                    about.i64(9, span.start as i64);
                });
            });
        }
        to.i64(2, group.columns.iter().map(|span| span.length as i64).sum());
        to.i64(3, group.rows as i64);
    });
}

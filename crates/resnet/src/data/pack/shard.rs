//! The files of a packing: WebDataset's tar, and Parquet as Hugging Face writes it.

use std::io::{self, Write};
use std::path::Path;

use resnet_formats::parquet::{Row, Writer};
use serde::{Deserialize, Serialize};

/// The format of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackFormat {
    /// WebDataset: `00000000.jpg` and `00000000.cls` in `train-000000.tar`, and `classes.txt`.
    Tar,
    /// Hugging Face: a row a picture in `train-00000-of-00005.parquet`.
    Parquet,
}

impl PackFormat {
    /// The name of the format among those of data.
    pub fn name(self) -> &'static str {
        match self {
            PackFormat::Tar => "tar",
            PackFormat::Parquet => "parquet",
        }
    }

    /// The name of a shard while their number is not known.
    pub(super) fn unfinished(self, split: &str, number: usize) -> String {
        match self {
            PackFormat::Tar => format!("{split}-{number:06}.tar"),
            PackFormat::Parquet => format!("{split}-{number:05}.parquet"),
        }
    }

    /// Its name once all are there.
    pub(super) fn finished(self, split: &str, number: usize, count: usize) -> String {
        match self {
            PackFormat::Tar => self.unfinished(split, number),
            PackFormat::Parquet => format!("{split}-{number:05}-of-{count:05}.parquet"),
        }
    }
}

/// A shard that is being written.
pub(super) enum File<'a> {
    Tar { to: &'a mut dyn Write, size: u64 },
    Parquet(Writer<&'a mut dyn Write>),
}

impl<'a> File<'a> {
    pub(super) fn new(
        format: PackFormat,
        to: &'a mut dyn Write,
        classes: &[String],
    ) -> io::Result<File<'a>> {
        match format {
            PackFormat::Tar => Ok(File::Tar { to, size: 0 }),
            PackFormat::Parquet => {
                let features = serde_json::json!({"info": {"features": {
                    "image": {"_type": "Image"},
                    "label": {"names": classes, "_type": "ClassLabel"},
                }}});
                let metadata = vec![("huggingface".to_string(), features.to_string())];
                Ok(File::Parquet(Writer::new(to, metadata)?))
            }
        }
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        match self {
            File::Tar { size, .. } => *size,
            File::Parquet(writer) => writer.size(),
        }
    }

    /// Adds picture `index`, which was called `name`.
    pub(super) fn push(
        &mut self,
        index: usize,
        name: &str,
        bytes: &[u8],
        ending: &str,
        label: u32,
    ) -> io::Result<()> {
        match self {
            File::Tar { to, size } => {
                let label = label.to_string();
                *size += member(*to, &format!("{index:08}.{ending}"), bytes)?;
                *size += member(*to, &format!("{index:08}.cls"), label.as_bytes())?;
                Ok(())
            }
            File::Parquet(writer) => {
                let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
                let path = format!("{}.{ending}", stem.unwrap_or("picture"));
                writer.push(&Row { bytes, path: &path, label: label.into() })
            }
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            File::Tar { to, .. } => to.write_all(&[0; 1024]),
            File::Parquet(writer) => writer.finish().map(|_| ()),
        }
    }
}

/// A member of a tar file (POSIX ustar), of no one and of no time, so that equal pictures make
/// equal files; gives its bytes.
fn member(to: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<u64> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", bytes.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    to.write_all(&header)?;
    to.write_all(bytes)?;
    to.write_all(&[0; 512][..padding])?;
    Ok((512 + bytes.len() + padding) as u64)
}

/// The checksum of a shard's labels and pictures, in their order.
#[derive(Default)]
pub(super) struct Sum(flate2::Crc);

impl Sum {
    pub(super) fn add(&mut self, label: u32, bytes: &[u8]) {
        self.0.update(&label.to_le_bytes());
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn text(&self) -> String {
        format!("{:08x}", self.0.sum())
    }
}

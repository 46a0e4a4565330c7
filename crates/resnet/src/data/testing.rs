//! What several tests of this module share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::{DataError, Dataset, Image};
use resnet_engine::graph::Shape;

/// A folder of its own, removed in the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> TempDir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("resnet-data-{}-{unique}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Writes a file, and the folders it lies in.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A folder of the shared test data, or a line that says what is skipped.
pub(super) fn shared(name: &str) -> Option<PathBuf> {
    beside(&format!("data/{name}"))
}

/// A folder of the shared inputs that once went wrong, or a line that says what is skipped.
pub(crate) fn cases(name: &str) -> Option<PathBuf> {
    beside(&format!("cases/{name}"))
}

fn beside(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    // Past the test harness, which hides what passing tests print.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: this part needs {}, which is not here",
        path.display()
    );
    None
}

/// Pictures of which the system refuses one.
pub(crate) struct Refused {
    pub(crate) data: Arc<dyn Dataset>,
    pub(crate) index: usize,
    pub(crate) kind: io::ErrorKind,
}

impl Dataset for Refused {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.data.label(index)
    }

    fn name(&self, index: usize) -> String {
        self.data.name(index)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        match index == self.index {
            true => Err(DataError::io(self.name(index), self.kind.into())),
            false => self.data.read(index, image),
        }
    }

    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }
}

/// The picture of `fixtures/make.py`.
pub(super) fn pattern(width: usize, height: usize, channels: usize) -> Image {
    let mut pixels = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels {
                pixels.push(((x * (3 + c) + y * (5 - c) + (x * y) / 7 + 40 * c) % 256) as u8);
            }
        }
    }
    Image { width, height, channels, pixels }
}

/// A PNG file; `rows` are unpacked and unfiltered.
pub(super) fn png(
    size: [u32; 2],
    depth: u8,
    color: u8,
    chunks: &[(&[u8; 4], &[u8])],
    rows: &[Vec<u8>],
) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [kind, data].concat();
        file.extend((data.len() as u32).to_be_bytes());
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        file.extend(body);
        file.extend(sum.sum().to_be_bytes());
    };
    let header =
        [size[0].to_be_bytes().as_slice(), &size[1].to_be_bytes(), &[depth, color, 0, 0, 0]]
            .concat();
    chunk(b"IHDR", &header);
    for (kind, data) in chunks {
        chunk(kind, data);
    }
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in rows {
        packer.write_all(&[0]).unwrap();
        packer.write_all(row).unwrap();
    }
    chunk(b"IDAT", &packer.finish().unwrap());
    chunk(b"IEND", &[]);
    file
}

/// A PNG of one colour.
pub(super) fn flat_png(width: usize, height: usize, color: [u8; 3]) -> Vec<u8> {
    png([width as u32, height as u32], 8, 2, &[], &vec![color.repeat(width); height])
}

/// A JPEG of an RGB or grey picture.
pub(super) fn jpeg(image: &Image, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let color = if image.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&image.pixels, image.width as u32, image.height as u32, color)
        .unwrap();
    file
}

/// A member of a tar file: a header, its content, and what fills the last block.
pub(super) fn tar_member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    sign_tar(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Writes a header's checksum.
pub(super) fn sign_tar(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// A tar file.
pub(super) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        members.iter().flat_map(|(name, content)| tar_member(name, b'0', content)).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A zip file of members: name, content, whether it is deflated.
pub(super) fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content, deflated) in members {
        let packed = match deflated {
            true => {
                let mut packer =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                packer.write_all(content).unwrap();
                packer.finish().unwrap()
            }
            false => content.to_vec(),
        };
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let mut middle = vec![20, 0, 0, 0, if *deflated { 8 } else { 0 }, 0, 0, 0, 0, 0];
        middle.extend(sum.sum().to_le_bytes());
        middle.extend((packed.len() as u32).to_le_bytes());
        middle.extend((content.len() as u32).to_le_bytes());
        middle.extend((name.len() as u16).to_le_bytes());
        middle.extend([0, 0]);
        let at = file.len() as u32;
        file.extend(b"PK\x03\x04");
        file.extend(&middle);
        file.extend(name.as_bytes());
        file.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&middle);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, bytes, count) = (file.len() as u32, directory.len() as u32, members.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(bytes.to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0, 0]);
    file
}

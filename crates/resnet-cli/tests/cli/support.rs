//! Runs the real binary in temporary folders, on small pictures made here.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that disappears with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("resnet-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, making its folders.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The binary, to be run in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null()).env_remove("RESNET_ISA");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    /// Runs and expects success.
    pub(crate) fn ok(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
        outcome
    }

    /// 12 x 12 pictures of `classes` classes as idx files in `digits`: class k has a bright bar at
    /// column k, and noise.
    pub(crate) fn digits(&self, train: usize, test: usize, classes: usize) {
        for (prefix, n) in [("train", train), ("t10k", test)] {
            let (images, labels) = idx(n, classes);
            self.write(&format!("digits/{prefix}-images-idx3-ubyte"), &images);
            self.write(&format!("digits/{prefix}-labels-idx1-ubyte"), &labels);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn idx(n: usize, classes: usize) -> (Vec<u8>, Vec<u8>) {
    const SIDE: usize = 12;
    let be = |x: usize| (x as u32).to_be_bytes();
    let mut images = [&be(0x803)[..], &be(n), &be(SIDE), &be(SIDE)].concat();
    let mut labels = [&be(0x801)[..], &be(n)].concat();
    let mut noise = 12345u32;
    for i in 0..n {
        let label = i % classes;
        labels.push(label as u8);
        for pixel in 0..SIDE * SIDE {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bright = if pixel % SIDE == label { 150 } else { 0 };
            images.push((noise >> 24) as u8 / 3 + bright);
        }
    }
    (images, labels)
}

/// What a run of the binary left.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Outcome {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The lines of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    }
}

/// The tensors of a safetensors file, without its header.
pub(crate) fn tensor_bytes(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// A grey picture as PNG, stored without compression.
pub(crate) fn png(width: u32, height: u32, grey: u8) -> Vec<u8> {
    let mut raw = Vec::new();
    for _ in 0..height {
        raw.push(0);
        raw.extend(std::iter::repeat_n(grey, width as usize));
    }
    let mut zlib = vec![0x78, 0x01];
    for (i, block) in raw.chunks(65_535).enumerate() {
        zlib.push(u8::from((i + 1) * 65_535 >= raw.len()));
        zlib.extend((block.len() as u16).to_le_bytes());
        zlib.extend((!(block.len() as u16)).to_le_bytes());
        zlib.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in &raw {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    zlib.extend(((b << 16) | a).to_be_bytes());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    for (kind, data) in [(b"IHDR", &header), (b"IDAT", &zlib), (b"IEND", &Vec::new())] {
        let chunk = [&kind[..], data].concat();
        file.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
        file.write_all(&chunk).unwrap();
        file.write_all(&crc(&chunk).to_be_bytes()).unwrap();
    }
    file
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

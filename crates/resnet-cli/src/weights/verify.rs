//! Whether a file is the one that its name says.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Checks that a file's sha256 begins with some digits.
pub(super) fn begins(file: &Path, hash: &str) -> anyhow::Result<()> {
    let found = sha256(file)
        .map_err(|error| anyhow::anyhow!("{} cannot be read: {error}", file.display()))?;
    anyhow::ensure!(
        found.starts_with(hash),
        "{}: its sha256 begins with {}, expected {hash}",
        file.display(),
        &found[..hash.len()]
    );
    Ok(())
}

/// The sha256 of a file, in hexadecimal.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut text = String::new();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

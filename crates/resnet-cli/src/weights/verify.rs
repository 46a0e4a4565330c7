//! Whether a file is the one that its name says.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Why a file does not count as the one that its name says.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It cannot be read, so nothing is known of what it holds.
    Unread(String),
    /// It holds something else.
    Other(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Doubt::Unread(text) | Doubt::Other(text)) = self;
        f.write_str(text)
    }
}

/// Checks that a file's sha256 begins with some digits.
pub(super) fn begins(file: &Path, hash: &str) -> Result<(), Doubt> {
    let unread = |error| Doubt::Unread(format!("{} cannot be read: {error}", file.display()));
    let found = sha256(file).map_err(unread)?;
    match found.starts_with(hash) {
        true => Ok(()),
        false => Err(Doubt::Other(format!(
            "{}: its sha256 begins with {}, expected {hash}",
            file.display(),
            &found[..hash.len()]
        ))),
    }
}

/// The same of what was fetched: removed where it is something else, and left where it cannot be
/// read, since all of it may be there.
pub(super) fn keeps(file: &Path, hash: &str) -> Result<(), Doubt> {
    let checked = begins(file, hash);
    if let Err(Doubt::Other(_)) = checked {
        let _ = fs::remove_file(file);
    }
    checked
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_something_else_is_removed() {
        let folder = std::env::temp_dir().join(format!("resnet-verify-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("weights");
        fs::write(&file, b"abc").unwrap();
        assert!(keeps(&file, "ba7816bf").is_ok() && file.exists());
        assert!(matches!(keeps(&file, "00000000"), Err(Doubt::Other(_))) && !file.exists());
        // Opened like a file, and not read, as on a failing disk.
        assert!(matches!(keeps(&folder, "00000000"), Err(Doubt::Unread(_))) && folder.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}

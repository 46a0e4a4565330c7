//! The official archives, read as they are: a tar file in gzip, of a few files of known sizes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::super::DataError;
use super::super::tar::{Header, header};

/// Bytes of an unpacked archive, more than any of CIFAR has.
const MOST: u64 = 1 << 28;
/// Bytes of a file in it; the longest is that of CIFAR-100's training pictures.
const MOST_FILE: u64 = 1 << 28;

type Unpacked = io::Take<MultiGzDecoder<BufReader<File>>>;

fn open(file: &Path) -> io::Result<Unpacked> {
    let opened = BufReader::with_capacity(1 << 16, File::open(file)?);
    Ok(MultiGzDecoder::new(opened).take(MOST))
}

/// The name of the first member of a tar file in gzip, if it is one.
pub(super) fn first(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?.to_lowercase();
    if !(name.ends_with(".tar.gz") || name.ends_with(".tgz")) || !file.is_file() {
        return None;
    }
    let mut block = [0; 512];
    open(file).ok()?.read_exact(&mut block).ok()?;
    String::from_utf8(header(&block)?.name).ok()
}

/// The files of an archive whose names without folders `wanted` holds true for.
pub(super) fn files(
    file: &Path,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<HashMap<String, Vec<u8>>, DataError> {
    let failed = |error: io::Error| {
        let found = match error.kind() {
            io::ErrorKind::UnexpectedEof => "one that is cut off".to_string(),
            _ => error.to_string(),
        };
        DataError::content(file, "CIFAR's archive", found, "fetch or copy the file again")
    };
    let mut from = open(file).map_err(|error| DataError::io(file, error))?;
    let mut found = HashMap::new();
    loop {
        let mut block = [0; 512];
        from.read_exact(&mut block).map_err(failed)?;
        if block.iter().all(|&byte| byte == 0) {
            // The checksum of all stands at the end.
            io::copy(&mut from, &mut io::sink()).map_err(failed)?;
            return Ok(found);
        }
        let Some(Header { name, kind, length }) = header(&block) else {
            return Err(failed(io::Error::other("a header whose checksum is wrong")));
        };
        let name = String::from_utf8_lossy(&name).into_owned();
        let base = name.rsplit('/').next().unwrap_or_default().to_string();
        let padding = length.next_multiple_of(512) - length;
        let mut rest = (&mut from).take(length);
        if matches!(kind, 0 | b'0') && wanted(&base) && length <= MOST_FILE {
            let mut bytes = Vec::new();
            rest.read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 != length {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            found.insert(base, bytes);
        }
        io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
        io::copy(&mut (&mut from).take(padding), &mut io::sink()).map_err(failed)?;
    }
}

//! PyTorch's `.pth`, `.pt` and `.th`: tensors described by a pickle, their numbers beside it.
//!
//! Two containers are read: the zip file that `torch.save` has written since PyTorch 1.6, and the
//! stream before it. A pickle is a program that Python would run; here an interpreter of our own
//! builds tensors, dictionaries and numbers from it, and refuses every other name by name.
//! **Nothing is ever executed**, and all memory is bounded: by the file's size for texts and
//! directories, by fixed counts for values, and by 64 MiB + 4 times the file's size for the
//! tensors. Numbers are read from the file straight into their arrays.
//!
//! The format has no specification; the source is `torch/serialization.py` and
//! `torch/_weights_only_unpickler.py` of PyTorch 2. Sparse, quantised and complex tensors,
//! TorchScript files, whole pickled modules and the `.tar` of PyTorch before 0.1.10 are refused.
//!
//! ```
//! use resnet_formats::{Array, Tensors, pth};
//!
//! let mut tensors = Tensors::default();
//! tensors.insert("fc.bias", Array::f32(vec![2], vec![0.5, -0.5]));
//! let mut bytes = Vec::new();
//! pth::write(&tensors, &mut bytes)?;
//! assert_eq!(pth::read(&bytes)?.tensors, tensors);
//! # Ok::<(), resnet_formats::FormatError>(())
//! ```

mod build;
mod globals;
mod pickle;
mod source;
mod state;
mod storage;
mod value;
mod write;
mod zip;

pub use write::write;

use crate::array::Tensors;
use crate::error::{FormatError, shorten};
use crate::strangers;
use pickle::{Built, interpret};
use source::Source;
use state::State;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use storage::{Extent, Storages, verify};
use value::{Arena, MAX_NODES, Node, Value};
use zip::Entry;

/// Where texts stand in the zip file, beside the pickle.
const METADATA: &str = "extra/metadata.json";
/// Most bytes of texts.
const MAX_METADATA: u64 = 16 << 20;
/// The number a file before PyTorch 1.6 begins with, and the version that follows.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;
/// Values in the pickles that stand before the object, and in the list of storages after it.
const SMALL: usize = 1000;
const MAX_KEYS: usize = 1 << 17;

/// What a PyTorch file holds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The state dict. Views are made contiguous; 8-, 16- and 32-bit integers and booleans are
    /// widened to 64-bit integers.
    pub tensors: Tensors,
    /// Keys that lead from the file's object to the state dict, such as `state_dict`; empty if it
    /// is the object itself.
    pub path: Vec<String>,
    /// What was taken off the front of every name, such as `module.`; empty if nothing was.
    pub prefix: String,
    /// Entries that are no tensors of the state dict, such as `epoch` or `optimizer`, with their
    /// value or a few words on it. After a thousand, the last one says that there are more.
    pub ignored: BTreeMap<String, String>,
}

/// Reads a whole file's bytes.
///
/// # Errors
/// [`FormatError`] names what is wrong: the tensor and the field, the place in the pickle, the zip
/// entry, or the name that was refused and why.
pub fn read(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
    read_from(Cursor::new(bytes))
}

/// Reads from a file; memory is taken for the arrays alone. Wrapping it in a buffer gains nothing.
///
/// # Errors
/// As [`read`], and [`FormatError::Io`] when the file cannot be read.
pub fn read_from(mut from: impl Read + Seek) -> Result<Checkpoint, FormatError> {
    let len = from.seek(SeekFrom::End(0))?;
    from.rewind()?;
    let mut start = [0; 262];
    let start_len = start.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    let start = &mut start[..start_len];
    from.read_exact(start)?;
    match start {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => read_zip(from, len),
        [0x80, ..] => read_stream(from, len),
        start => Err(not_pytorch(start)),
    }
}

fn not_pytorch(start: &[u8]) -> FormatError {
    let (found, advice) = match strangers::named(start) {
        Some((found, advice)) => (found.into(), advice),
        None => {
            let shown: Vec<_> = start.iter().take(8).map(|b| format!("{b:02x}")).collect();
            (
                format!("a file that begins with {}", shown.join(" ")),
                "check that it is the file you meant",
            )
        }
    };
    FormatError::Content { expected: "a file of torch.save", found, advice }
}

fn read_zip(mut from: impl Read + Seek, len: u64) -> Result<Checkpoint, FormatError> {
    let entries = zip::entries(&mut from, len)?;
    let folders: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix("/data.pkl"))
        .filter(|folder| !folder.contains('/'))
        .collect();
    let &[folder] = folders.as_slice() else {
        return Err(FormatError::Content {
            expected: "a zip file with one NAME/data.pkl, as torch.save writes",
            found: format!("{} of them among {} entries", folders.len(), entries.len()),
            advice: "check that it is the file you meant",
        });
    };
    let folder = format!("{folder}/");
    let mut parts: HashMap<&str, &Entry> = HashMap::new();
    for entry in &entries {
        if let Some(part) = entry.name.strip_prefix(&folder) {
            parts.insert(part, entry);
        }
    }
    if let Some(entry) = parts.get("version") {
        let text = small(&mut from, entry, 20)?;
        let version = text.trim_ascii();
        if !matches!(version, [b'1'..=b'9'] | b"10") {
            let found = shorten(&String::from_utf8_lossy(version));
            let advice = "write it again with torch.save of an older PyTorch";
            return Err(zip::wrong("version", "content", "1 to 10", found, advice));
        }
    }
    let big_endian = match parts.get("byteorder") {
        None => false,
        Some(entry) => match small(&mut from, entry, 20)?.as_slice() {
            b"little" => false,
            b"big" => true,
            other => {
                let found = shorten(&String::from_utf8_lossy(other));
                let expected = "little or big";
                return Err(zip::wrong("byteorder", "content", expected, found, zip::DAMAGED));
            }
        },
    };
    let pickle = parts["data.pkl"];
    check(&mut from, pickle)?;
    from.seek(SeekFrom::Start(pickle.at))?;
    let mut source = Source::new(BufReader::new(&mut from), pickle.bytes);
    let built = interpret(&mut source, MAX_NODES)?;
    let state = state::find(&built.arena, built.object)?;
    let metadata = match parts.get(METADATA) {
        Some(entry) => serde_json::from_slice(&small(&mut from, entry, MAX_METADATA)?)
            .map_err(|e| FormatError::json(format_args!("{METADATA}: {e}")))?,
        None => BTreeMap::new(),
    };
    let extents = parts.iter().filter_map(|(part, entry)| {
        let extent =
            Extent { at: entry.at, bytes: entry.bytes, crc: (entry.crc != 0).then_some(entry.crc) };
        Some((part.strip_prefix("data/")?.to_owned(), extent))
    });
    let storages = Storages::new(&mut from, len, extents.collect(), big_endian);
    let mut checkpoint = collect(&built.arena, state, storages)?;
    checkpoint.tensors.metadata = metadata;
    Ok(checkpoint)
}

/// The content of an entry that has to be small.
fn small(from: &mut (impl Read + Seek), entry: &Entry, limit: u64) -> Result<Vec<u8>, FormatError> {
    if entry.bytes > limit {
        let expected = format!("at most {limit} bytes");
        return Err(zip::wrong(&entry.name, "size", expected, entry.bytes, zip::DAMAGED));
    }
    check(from, entry)?;
    from.seek(SeekFrom::Start(entry.at))?;
    let mut bytes = vec![0; entry.bytes as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn check(from: &mut (impl Read + Seek), entry: &Entry) -> Result<(), FormatError> {
    if entry.crc == 0 {
        return Ok(());
    }
    verify(from, entry.at, entry.bytes, entry.crc, &entry.name)
}

/// Five pickles (magic number, version, system, object, keys of the storages), then each storage:
/// how many numbers, and they.
fn read_stream(mut from: impl Read + Seek, len: u64) -> Result<Checkpoint, FormatError> {
    let unknown = |found: String| FormatError::Content {
        expected: "a file of torch.save, which begins with its magic number",
        found: format!("a pickle of {found}"),
        advice: "write it with torch.save",
    };
    from.rewind()?;
    let mut source = Source::new(BufReader::new(&mut from), len);
    let magic = interpret(&mut source, SMALL)?;
    match magic.arena.node(magic.object) {
        Some(Node::Long(bytes)) if **bytes == MAGIC => {}
        _ => return Err(unknown(magic.arena.describe(magic.object))),
    }
    let version = interpret(&mut source, SMALL)?;
    if !matches!(version.object, Value::Int(PROTOCOL)) {
        return Err(FormatError::Content {
            expected: "version 1001 of PyTorch's stream",
            found: version.arena.describe(version.object),
            advice: "write it again with torch.save",
        });
    }
    // The system's byte order does not matter: this container is little-endian always.
    interpret(&mut source, SMALL)?;
    let built = interpret(&mut source, MAX_NODES)?;
    let state = state::find(&built.arena, built.object)?;
    let keys = interpret(&mut source, MAX_KEYS)?;
    let at = source.at;
    let extents = stream_extents(&mut from, len, at, &built, &keys)?;
    collect(&built.arena, state, Storages::new(&mut from, len, extents, false))
}

fn stream_extents(
    from: &mut (impl Read + Seek),
    len: u64,
    mut at: u64,
    built: &Built,
    keys: &Built,
) -> Result<HashMap<String, Extent>, FormatError> {
    let mut claimed: HashMap<&str, (u64, i64)> = HashMap::new();
    for storage in built.arena.storages() {
        let size = storage.element.map_or(1, crate::numbers::Element::size) as u64;
        claimed.insert(&storage.key, (size, storage.count));
    }
    let mut extents = HashMap::new();
    let Some(listed) = keys.arena.sequence(keys.object) else {
        return Err(FormatError::Content {
            expected: "a list of storages after the object",
            found: keys.arena.describe(keys.object),
            advice: zip::DAMAGED,
        });
    };
    for &key in listed {
        let described = keys.arena.describe(key);
        let wrong = |field, expected: &str, found: String| FormatError::Tensor {
            tensor: format!("storage {described}"),
            field,
            expected: expected.into(),
            found,
        };
        let Some(key) = keys.arena.text(key) else {
            return Err(wrong("key", "a text", described.clone()));
        };
        let Some(&(size, count)) = claimed.get(key) else {
            return Err(wrong("key", "one that the pickle uses", described.clone()));
        };
        let begin = at.saturating_add(8);
        if begin > len {
            return Err(FormatError::Truncated {
                field: "the storages",
                expected: begin,
                found: len,
            });
        }
        let mut found = [0; 8];
        from.seek(SeekFrom::Start(at))?;
        from.read_exact(&mut found)?;
        let found = i64::from_le_bytes(found);
        if found != count {
            return Err(wrong("length", &count.to_string(), found.to_string()));
        }
        let Some(bytes) = u64::try_from(count).ok().and_then(|count| count.checked_mul(size))
        else {
            return Err(wrong("length", "one that fits in a file", found.to_string()));
        };
        at = begin.saturating_add(bytes);
        if at > len {
            return Err(FormatError::Truncated { field: "the storages", expected: at, found: len });
        }
        let extent = Extent { at: begin, bytes, crc: None };
        if extents.insert(key.to_owned(), extent).is_some() {
            return Err(wrong("key", "each once", "it twice".into()));
        }
    }
    Ok(extents)
}

/// The state dict's tensors, with their numbers.
fn collect(
    arena: &Arena,
    state: State,
    mut storages: Storages<impl Read + Seek>,
) -> Result<Checkpoint, FormatError> {
    let mut tensors = Tensors::default();
    for (&name, &value) in &state.tensors {
        let tensor = arena.tensor(value).expect("only tensors are collected");
        tensors.insert(name, storages.array(name, tensor, arena)?);
    }
    Ok(Checkpoint { tensors, path: state.path, prefix: state.prefix, ignored: state.ignored })
}

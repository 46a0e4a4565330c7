//! Zip files of class folders, read without unpacking.
//!
//! Inside are folders as on a disk: a folder a class, perhaps in folders of splits, perhaps in one
//! more around all; or a zip file for each split. Members may be stored or deflated.

mod members;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::DeflateDecoder;

use super::catalogue::{Entries, Listing, tree};
use super::header::{self, Fault, Header};
use super::pictures::{self, Kind};
use super::store::{Blob, Entry, Place, Pool, Reader, Store, path_of, stamp_of};
use super::walk::entries;
use super::{DataError, Format, Warning, max_pixels, shards};
use members::{Member, members, u16_at, u32_at};

pub(super) const FORMAT: Format = Format {
    name: "zip",
    takes_folder: true,
    about: "zip files of class folders, in train/ and val/ or in a single split, or a file a split",
    sniff: |place| {
        let folders = entries(place).map(|inside| inside.folders).unwrap_or_default();
        shards::are(place, ENDINGS) && folders.iter().all(|folder| shards::are(folder, ENDINGS))
    },
    open: |place, options| pictures::open(&KIND, place, options),
};

pub(super) const KIND: Kind = Kind {
    name: FORMAT.name,
    list,
    store: |source| Arc::new(Members { pool: Pool::new(source.shards) }),
};

const ENDINGS: &[&str] = &[".zip"];
/// Bytes of a local header before its name.
const LOCAL: usize = 30;
/// The largest ratio that deflate reaches: 258 bytes from 2 bits.
const DEFLATE_MOST: u64 = 1032;
/// What is passed over and named one by one.
const NAMED: usize = 100;

fn list(place: &Path) -> Result<Listing, DataError> {
    let shards::Shards { root, groups, watched, mut unused } = shards::find(place, ENDINGS)?;
    let mut found = Listing { root: root.clone(), watched, ..Listing::default() };
    let (mut all, mut of) = (Entries::default(), Vec::new());
    for (group, part) in groups.iter().enumerate() {
        for file in &part.files {
            let stamp = stamp_of(file).map_err(|error| DataError::io(file, error))?;
            let pool = Pool::new(vec![(file.clone(), None)]);
            let blob = pool.get(0).map_err(|fault| fault.of(file))?;
            let (number, mut more) = (of.len() as u32, 0);
            members(blob.as_ref(), file, &mut |member| match place_of(&member, number) {
                Ok(place) => all.push(&member.name, 0, place),
                Err(why) if unused.len() < NAMED => {
                    unused.push(Warning::file(file.join(path_of(&member.name)), why));
                }
                Err(_) => more += 1,
            })?;
            if more > 0 {
                unused.push(Warning::file(file, format!("{more} more members are not read")));
            }
            of.push(group);
            found.shards.push((file.strip_prefix(&root).unwrap_or(file).to_path_buf(), stamp));
        }
    }
    found.parts = tree(place, &all, &groups, &of, &mut unused)?;
    found.unused = unused;
    Ok(found)
}

/// Where a member is: its extra number holds its checksum, a bit for deflate, and its packed
/// length.
fn place_of(member: &Member, shard: u32) -> Result<Place, String> {
    let Member { at, packed, length, method, crc, encrypted, .. } = *member;
    if encrypted {
        return Err("is encrypted: unpack it, and pack it again without".into());
    }
    if method != 0 && method != 8 {
        return Err(format!("is packed by method {method}: pack it again with deflate"));
    }
    let length = u32::try_from(length).map_err(|_| "is too large".to_string())?;
    match u32::try_from(packed).ok().filter(|packed| packed >> 31 == 0) {
        Some(packed) => {
            let extra = u64::from(crc) << 32 | u64::from(method == 8) << 31 | u64::from(packed);
            Ok(Place { shard, at, length, extra })
        }
        None => Err("is too large".into()),
    }
}

/// Reads from a shard.
type Reading = fn(&dyn Blob, u64, &mut [u8]) -> io::Result<()>;

/// The members of zip files.
struct Members {
    pool: Pool,
}

/// A member whose local header has been read.
struct Found {
    shard: Arc<dyn Blob>,
    at: u64,
    packed: u64,
    deflated: bool,
}

impl Members {
    /// Finds a member; `read` reads from its shard.
    fn find(&self, place: Place, read: Reading) -> Result<Found, Fault> {
        let shard = self.pool.get(place.shard)?;
        let length = u64::from(place.length);
        header::check_length(length)?;
        let (packed, deflated) = (place.extra & 0x7fff_ffff, place.extra >> 31 & 1 == 1);
        let most = if deflated { packed.saturating_mul(DEFLATE_MOST) } else { packed };
        if length > most || !deflated && length != packed {
            return Err(Fault::Reason(format!(
                "declares {length} bytes, which its {packed} packed bytes cannot hold"
            )));
        }
        if deflated && packed > length + length / 1000 + 1024 {
            let text = format!("is damaged: {length} bytes are packed into {packed}");
            return Err(Fault::Reason(text));
        }
        let damaged = || Fault::Reason("is damaged: its header in the zip file is not its".into());
        let mut local = [0; LOCAL];
        if place.at.checked_add(LOCAL as u64).is_none_or(|end| end > shard.len()) {
            return Err(damaged());
        }
        read(shard.as_ref(), place.at, &mut local)?;
        if u32_at(&local, 0) != 0x0403_4b50 {
            return Err(damaged());
        }
        let names = u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        let at = place.at + LOCAL as u64 + names;
        match at.checked_add(packed).is_some_and(|end| end <= shard.len()) {
            true => Ok(Found { shard, at, packed, deflated }),
            false => Err(damaged()),
        }
    }

    fn unpack(&self, entry: &Entry, bytes: &mut Vec<u8>, read: Reading) -> Result<(), Fault> {
        let Found { shard, at, packed, deflated } = self.find(entry.place, read)?;
        let length = entry.place.length as usize;
        bytes.clear();
        match deflated {
            false => {
                bytes.resize(length, 0);
                read(shard.as_ref(), at, bytes)?;
            }
            true => {
                let mut from = vec![0; packed as usize];
                read(shard.as_ref(), at, &mut from)?;
                bytes.reserve_exact(length + 1);
                let unpacked = DeflateDecoder::new(from.as_slice()).take(length as u64 + 1);
                let mut unpacked = unpacked;
                if let Err(error) = unpacked.read_to_end(bytes) {
                    return Err(Fault::Reason(format!("is damaged: {error}")));
                }
            }
        }
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let wanted = (entry.place.extra >> 32) as u32;
        match bytes.len() == length && sum.sum() == wanted {
            true => Ok(()),
            false => Err(Fault::Reason("is damaged: its checksum is wrong".into())),
        }
    }
}

impl Store for Members {
    fn name(&self, entry: &Entry) -> PathBuf {
        self.pool.path(entry.place.shard).join(path_of(entry.name))
    }

    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        self.unpack(entry, bytes, |shard, at, bytes| shard.read_at(at, bytes))
    }

    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        // Headers are read one after another.
        let browse: Reading = |shard, at, bytes| shard.browse_at(at, bytes);
        let Found { shard, at, packed, deflated } = self.find(entry.place, browse)?;
        if !deflated {
            let from = Reader::new(shard.as_ref(), at, packed);
            return Ok((header::read(from, packed, max_pixels())?, entry.place));
        }
        let mut bytes = Vec::new();
        self.unpack(entry, &mut bytes, browse)?;
        let header = header::read(std::io::Cursor::new(&bytes), bytes.len() as u64, max_pixels())?;
        Ok((header, entry.place))
    }
}

#[cfg(test)]
mod tests;

//! Data that lies elsewhere: shards in buckets (S3 and its like, Google's, Azure's) and on
//! servers of HTTP that answer ranges.
//!
//! An object is a [`Blob`](super::store::Blob): its length and version come with the first answer,
//! each read is a request on a connection that is kept. Without the feature `cloud` addresses are
//! recognised and refused.

mod address;
#[cfg(feature = "cloud")]
mod client;
#[cfg(feature = "cloud")]
mod names;
#[cfg(feature = "cloud")]
mod object;
#[cfg(feature = "cloud")]
mod route;
#[cfg(feature = "cloud")]
mod sign;
#[cfg(feature = "cloud")]
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::store::blob::Blob;
use super::store::stamp::Stamp;
pub(super) use address::is_remote;
pub use address::without_secrets;

/// What lies in a folder of a bucket.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
}

/// Whether an address names an object rather than a folder of them, as its last part tells.
pub(super) fn names_object(place: &Path) -> bool {
    let text = address::text(place);
    let last = text.rsplit('/').next().unwrap_or_default();
    last.rsplit_once('.').is_some_and(|(_, ending)| {
        (1..=8).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_alphabetic())
    }) && text.matches('/').count() > 2
}

/// Where the index of data at an address is kept: among this user's caches.
pub(super) fn index_of(place: &Path) -> Option<PathBuf> {
    use crate::base::files;
    use crate::base::hash::{self, fnv1a};
    let text = address::text(place);
    let text = text.trim_end_matches('/');
    let hash = fnv1a(hash::BEGIN, text.as_bytes());
    let last = text.rsplit('/').next().unwrap_or_default();
    let last: String = files::safe_name(last).chars().take(80).collect();
    let cache = match cfg!(test) {
        true => std::env::temp_dir().join(format!("resnet-cache-{}", std::process::id())),
        false => files::caches()?.join("resnet"),
    };
    Some(cache.join("data").join(format!("{last}-{hash:016x}.resnet-index")))
}

/// What stands for an object's version, or for a folder's names.
pub(super) fn stamp(place: &Path) -> io::Result<Stamp> {
    match names_object(place) {
        true => open(place, None)?.stamp(),
        false => {
            let Inside { folders, files } = inside(place)?;
            let name = |path: PathBuf| address::text(&path).into_bytes();
            Ok(Stamp::of_names(folders.into_iter().chain(files).map(name).collect()))
        }
    }
}

/// Names in a folder at most; with more, they are pictures.
#[cfg(feature = "cloud")]
const MOST: usize = 100_000;

/// The object at an address. With its `stamp`, the server is not asked before the first read.
#[cfg(feature = "cloud")]
pub(super) fn open(place: &Path, stamp: Option<Stamp>) -> io::Result<Arc<dyn Blob>> {
    Ok(Arc::new(object::Object::open(place, stamp)?))
}

/// The content of a small object; nothing if it is not there.
#[cfg(feature = "cloud")]
pub(super) fn small(place: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    use client::Failed;
    let (client, route) = (client::Client::shared(), object::route(place)?);
    let answer = match client.ask(&route) {
        Ok(answer) => answer,
        // Who may not list is not told that there is no such object.
        Err(Failed::Refused { status: 401 | 403 | 404 | 410, .. }) => return Ok(None),
        // Some servers answer with a page that says so.
        Err(Failed::NoRanges) => return Ok(None),
        Err(failed) => return Err(object::failed(failed)),
    };
    if answer.length > most {
        return Err(io::Error::other(format!(
            "it has {} bytes, at most {most} are read",
            answer.length
        )));
    }
    let stamp = Stamp { length: answer.length, changed: answer.version };
    let mut bytes = vec![0; answer.length as usize];
    object::Object::of(client, route, Some(stamp))?.read_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

/// What lies in a folder, sorted.
#[cfg(feature = "cloud")]
pub(super) fn inside(folder: &Path) -> io::Result<Inside> {
    let (client, route) = (client::Client::shared(), object::route(folder)?);
    list(client, &route, &address::text(folder))
}

#[cfg(feature = "cloud")]
fn list(client: &client::Client, route: &route::Route, folder: &str) -> io::Result<Inside> {
    if route.service == route::Service::Web {
        let text = "a server of HTTP does not tell its files; name them, as in \
                    https://HOST/train-{0000..0146}.tar";
        return Err(io::Error::other(text));
    }
    let own = match route.key.trim_end_matches('/') {
        "" => String::new(),
        key => format!("{key}/"),
    };
    let mut found = Inside::default();
    let mut next: Option<String> = None;
    loop {
        let ask = || route.listing(next.as_deref(), sign::now());
        let text = client.text(route, &ask).map_err(object::failed)?;
        let Some(page) = names::page(&text) else {
            return Err(io::Error::other("the server answered with what is no listing"));
        };
        let base = folder.trim_end_matches('/');
        let below = |key: &String| {
            let name = key.strip_prefix(&own)?.trim_end_matches('/');
            // A path that leads elsewhere would be another object's.
            let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
            plain.then(|| PathBuf::from(format!("{base}/{name}")))
        };
        found.files.extend(page.objects.iter().filter_map(below));
        found.folders.extend(page.folders.iter().filter_map(below));
        if found.files.len() + found.folders.len() > MOST {
            return Err(io::Error::other(format!(
                "it holds more than {MOST} objects; pack pictures into tar files, which are read \
                 as they are"
            )));
        }
        match page.next {
            Some(after) if next.as_ref() != Some(&after) => next = Some(after),
            _ => break,
        }
    }
    found.files.sort();
    found.folders.sort();
    Ok(found)
}

/// Why no address is read, if none is.
pub(super) fn refusal() -> Option<&'static str> {
    match cfg!(feature = "cloud") {
        true => None,
        false => Some(WITHOUT),
    }
}

const WITHOUT: &str = "this program was built without its feature `cloud`, which reads from \
                       buckets and servers: build it with that, or copy the files here";

#[cfg(not(feature = "cloud"))]
pub(super) fn open(_: &Path, _: Option<Stamp>) -> io::Result<Arc<dyn Blob>> {
    Err(io::Error::other(WITHOUT))
}

#[cfg(not(feature = "cloud"))]
pub(super) fn small(_: &Path, _: u64) -> io::Result<Option<Vec<u8>>> {
    Err(io::Error::other(WITHOUT))
}

#[cfg(not(feature = "cloud"))]
pub(super) fn inside(_: &Path) -> io::Result<Inside> {
    Err(io::Error::other(WITHOUT))
}

#[cfg(all(test, feature = "cloud"))]
mod tests;

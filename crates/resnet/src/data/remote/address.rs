//! Addresses of data: how they are recognised, and what of them is never shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const WEB: [&str; 2] = ["https://", "http://"];
const BUCKETS: [&str; 3] = ["s3://", "gs://", "az://"];

/// What follows `?` in addresses, by what these begin with. It may be a signature, so it is kept
/// here and nowhere else.
static QUERIES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Whether a place is an address rather than a path.
pub(in crate::data) fn is_remote(place: &Path) -> bool {
    let starts = |place: &str| WEB.iter().chain(&BUCKETS).any(|scheme| place.starts_with(scheme));
    place.to_str().is_some_and(starts)
}

/// An address as text: paths that were joined may have the separators of the system.
pub(super) fn text(place: &Path) -> String {
    let text = place.to_string_lossy();
    if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() }
}

/// A source of data, or any word of a command, without what may be a secret: what follows `?` in an
/// address of http, and a password. The former is remembered for when the address is read.
///
/// ```
/// use resnet::data::without_secrets;
/// let address = "https://me:word@example.org/train-{0..9}.tar?sig=abc";
/// assert_eq!(without_secrets(address), "https://example.org/train-{0..9}.tar");
/// assert_eq!(without_secrets("folder:photos?"), "folder:photos?");
/// ```
pub fn without_secrets(source: &str) -> Cow<'_, str> {
    let begin = WEB.iter().filter_map(|web| Some(source.find(web)? + web.len())).min();
    let Some(begin) = begin else { return Cow::Borrowed(source) };
    let (before, address) = source.split_at(begin);
    let (address, query) = address.split_once(['?', '#']).unwrap_or((address, ""));
    let host = address.find('/').unwrap_or(address.len());
    let host_at = address[..host].rfind('@').map_or(0, |at| at + 1);
    let address = &address[host_at..];
    let scheme = if before.ends_with(WEB[1]) { WEB[1] } else { WEB[0] };
    if !query.is_empty() {
        let key = format!("{scheme}{}", around(address));
        let mut queries = QUERIES.lock().unwrap_or_else(PoisonError::into_inner);
        queries.insert(key, query.to_string());
    }
    match query.is_empty() && host_at == 0 && !source.ends_with(['?', '#']) {
        true => Cow::Borrowed(source),
        false => Cow::Owned(format!("{before}{address}")),
    }
}

/// What all files of a pattern begin with, up to a separator: another host never does.
fn around(address: &str) -> String {
    let fixed = &address[..address.find(['{', '*']).unwrap_or(address.len())];
    let folder = fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder);
    format!("{folder}/")
}

/// What followed `?` in the address that was given for this one.
#[cfg(feature = "cloud")]
pub(super) fn query_of(address: &str) -> Option<String> {
    let queries = QUERIES.lock().unwrap_or_else(PoisonError::into_inner);
    let given = queries.iter().filter(|(begin, _)| address.starts_with(begin.as_str()));
    given.max_by_key(|(begin, _)| begin.len()).map(|(_, query)| query.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for address in ["s3://b/x", "gs://b", "az://a/c/x", "https://h/x.tar", "http://h"] {
            assert!(is_remote(Path::new(address)), "{address}");
        }
        for path in ["s3", "/s3://b", "tar:s3://b", "https:/h", "x-{0..1}.tar", ""] {
            assert!(!is_remote(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn nothing_behind_a_question_mark_is_left() {
        for (given, left) in [
            ("https://h/a/x.tar?sig=1", "https://h/a/x.tar"),
            ("data=tar:https://h/a/x.tar?sig=1?2", "data=tar:https://h/a/x.tar"),
            ("https://u:p@h/x.tar", "https://h/x.tar"),
            ("https://u:p@h/x@y.tar#z", "https://h/x@y.tar"),
            ("https://h?sig=1", "https://h"),
            ("https://h/x.tar?", "https://h/x.tar"),
            ("s3://b/x-?.tar", "s3://b/x-?.tar"),
            ("x-?.tar", "x-?.tar"),
        ] {
            assert_eq!(without_secrets(given), left);
        }
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn a_query_belongs_to_what_its_address_names() {
        without_secrets("https://query.test/a/x-{0..1}.tar?one");
        without_secrets("https://query.test/a/b/y.tar?two");
        let of = |address: &str| query_of(address);
        assert_eq!(of("https://query.test/a/x-1.tar").as_deref(), Some("one"));
        assert_eq!(of("https://query.test/a/b/z.tar").as_deref(), Some("two"));
        assert_eq!(of("https://query.test/other.tar"), None);
        assert_eq!(of("http://query.test/a/x-1.tar"), None);
        without_secrets("https://query?three");
        assert_eq!(of("https://query.elsewhere/x.tar"), None);
    }
}

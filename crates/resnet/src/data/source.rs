//! From a text to data: by the name of its kind, or a folder or file whose kind is recognised.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::describe::describe;
use super::pictures::{self, Index, Kind};
use super::{DataError, Dataset, Format, OpenOptions, Splits};
use super::{builtin, cifar, folder, idx, list, parquet, refused, remote, shards, tar, zip};
use crate::base::suggest::nearest;

/// Kinds of data that a program added.
static REGISTERED: RwLock<Vec<&'static Format>> = RwLock::new(Vec::new());

/// Adds a kind of data: from now on [`open`], and recipes, know its name and what it recognises.
///
/// ```
/// use resnet::data::{self, Format};
/// let format = Format {
///     name: "mine",
///     takes_folder: true,
///     about: "pictures as our cameras write them",
///     sniff: |folder| folder.join("camera.idx").is_file(),
///     open: |folder, _| Err(data::DataError::other(folder, "this is only an example")),
/// };
/// data::register(format)?;
/// assert!(data::formats().iter().any(|format| format.name == "mine"));
/// # Ok::<(), data::DataError>(())
/// ```
///
/// # Errors
/// There is a kind of this name.
pub fn register(format: Format) -> Result<(), DataError> {
    if formats().iter().any(|known| known.name == format.name) {
        return Err(DataError::Source {
            given: format.name.to_owned(),
            hint: "there is a format of this name already; choose another".into(),
        });
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    registered.push(Box::leak(Box::new(format)));
    Ok(())
}

/// Every kind of data, those that a program added last. A folder or file given without a name is of
/// the first kind that recognises it.
pub fn formats() -> Vec<&'static Format> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    FORMATS.iter().chain(registered.iter().copied()).collect()
}

/// The kinds of data that are built in.
const FORMATS: &[Format] = &[
    builtin::FORMAT,
    cifar::CIFAR10,
    cifar::CIFAR100,
    idx::FORMAT,
    list::FORMAT,
    parquet::FORMAT,
    tar::FORMAT,
    zip::FORMAT,
    folder::FORMAT,
];

/// Those of them whose pictures lie in files.
const KINDS: &[&Kind] = &[&list::KIND, &parquet::KIND, &tar::KIND, &zip::KIND, &folder::KIND];

/// How a format lists its pictures, if they lie in files.
pub(super) fn kind_of(format: &Format) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == format.name)
}

/// Opens the data that `source` names: `builtin`, `NAME:PLACE` with a name of [`formats`], or a
/// PLACE whose kind is recognised: a folder, a file, or a pattern that means several files.
///
/// # Errors
/// The name or folder is unknown, a file is missing, cut off or of another kind, no pictures are
/// left, or all are of one class where the options want two. Nothing larger than the data itself is
/// allocated, whatever its headers say.
pub fn open(source: &str, options: &OpenOptions) -> Result<Splits, DataError> {
    let (format, folder) = find(source)?;
    let source = &*remote::without_secrets(source);
    let splits = (format.open)(&folder, options)?;
    if splits.train.is_empty() || !options.one_class {
        check_classes(source, splits.train.as_ref())?;
    }
    Ok(splits)
}

/// Makes the index of the data that `source` names: a file beside or in it from which it is opened
/// without looking at any picture.
///
/// # Errors
/// As of [`open`]; the data is of a kind that has no index; the file cannot be written.
pub fn index(source: &str) -> Result<Index, DataError> {
    let (format, place) = find(source)?;
    match kind_of(format) {
        Some(kind) => pictures::index(kind, &place),
        None => Err(DataError::Source {
            given: source.to_owned(),
            hint: format!("{} needs no index: it is read as a whole", format.name),
        }),
    }
}

/// The format that the text for a source of data names, and what follows it; without one the whole
/// text, which is a path. A colon in a path is of the path, where no format stands before it.
pub fn split_source(source: &str) -> (Option<&'static Format>, &str) {
    let (name, rest) = source.split_once(':').unwrap_or((source, ""));
    match formats().into_iter().find(|format| format.name == name) {
        Some(format) => (Some(format), rest),
        None => (None, source),
    }
}

pub(super) fn find(source: &str) -> Result<(&'static Format, PathBuf), DataError> {
    let source = &*remote::without_secrets(source);
    let unknown = |hint: String| Err(DataError::Source { given: source.to_string(), hint });
    let (name, folder) = source.split_once(':').unwrap_or((source, ""));
    let formats = formats();
    if let (Some(format), _) = split_source(source) {
        return match (format.takes_folder, folder.is_empty()) {
            (true, true) if !source.contains(':') && Path::new(source).is_dir() => {
                recognise(source)
            }
            (true, true) => unknown(format!("name the folder too, as {name}:DIR")),
            (false, false) => unknown(format!("`{name}` takes no folder; write `{name}` alone")),
            _ if remote::is_remote(Path::new(folder)) => at_address(Some(format), folder),
            _ => Ok((format, existing(folder, format.takes_folder)?)),
        };
    }
    if remote::is_remote(Path::new(source)) {
        return at_address(None, source);
    }
    if Path::new(source).exists() || shards::is_pattern(Path::new(source)) {
        return recognise(source);
    }
    let nearest = nearest(name, formats.iter().map(|format| format.name));
    match nearest {
        Some(known) if formats.iter().any(|f| f.name == known && f.takes_folder) => {
            let folder = if folder.is_empty() { "DIR" } else { folder };
            unknown(format!("did you mean `{known}:{folder}`?"))
        }
        Some(known) => unknown(format!("did you mean `{known}`?")),
        None => unknown(format!("no such folder; {}", may_be_written())),
    }
}

fn recognise(source: &str) -> Result<(&'static Format, PathBuf), DataError> {
    let place = existing(source, true)?;
    let found = formats().into_iter().find(|format| (format.sniff)(&place));
    if found.is_none_or(|format| format.name == folder::FORMAT.name)
        && let Some(refusal) = refused::refusal(&place)
    {
        return Err(refusal);
    }
    match found {
        Some(format) => Ok((format, place)),
        None => {
            let found = if place.is_dir() { describe(&place) } else { "another file".to_string() };
            Err(DataError::content(&place, "data of a known kind", found, may_be_written()))
        }
    }
}

/// The format of what lies at an address: of shards, as their names tell.
fn at_address(
    given: Option<&'static Format>,
    address: &str,
) -> Result<(&'static Format, PathBuf), DataError> {
    let place = PathBuf::from(address.trim_end_matches('/'));
    let refuse = |found: String, hint: &str| {
        Err(DataError::content(&place, "shards, as tar or zip files", found, hint))
    };
    if let Some(why) = remote::refusal() {
        return Err(DataError::Source { given: address.to_string(), hint: why.to_string() });
    }
    if let Some(refusal) = refused::refusal(&place) {
        return Err(refusal);
    }
    let far = [(&tar::FORMAT, ".tar"), (&zip::FORMAT, ".zip")];
    if let Some(format) = given {
        return match far.iter().find(|(known, _)| known.name == format.name) {
            Some((format, _)) => Ok((format, place)),
            None => refuse(format!("`{}:`", format.name), PACK),
        };
    }
    for (format, ending) in far {
        if shards::at_address(&place, &[ending])? {
            return Ok((format, place));
        }
    }
    refuse(shards::described(&place)?, PACK)
}

const PACK: &str = "of what is far away only shards are read: pack class folders, as with \
                    `tar cf photos.tar photos`, or copy them here";

fn existing(text: &str, needed: bool) -> Result<PathBuf, DataError> {
    let place = PathBuf::from(text);
    match place.metadata() {
        Err(error) if needed && !shards::is_pattern(&place) => Err(DataError::io(place, error)),
        _ => Ok(place),
    }
}

fn may_be_written() -> String {
    let names: Vec<String> = formats()
        .iter()
        .map(|format| match format.takes_folder {
            true => format!("{}:DIR", format.name),
            false => format.name.to_string(),
        })
        .collect();
    format!("data is one of {}, or a folder or file of one of these kinds", names.join(", "))
}

/// Checks that there is something to tell apart.
pub(crate) fn check_classes(source: &str, train: &dyn Dataset) -> Result<(), DataError> {
    if train.is_empty() {
        return Err(DataError::Loader(format!("{source}: there are no pictures")));
    }
    let first = train.label(0);
    if (1..train.len()).any(|index| train.label(index) != first) {
        return Ok(());
    }
    Err(DataError::OneClass {
        data: source.to_string(),
        class: train.classes()[first as usize].clone(),
        count: train.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::TempDir;

    fn message(source: &str) -> String {
        match open(source, &OpenOptions::default()) {
            Ok(_) => panic!("{source} was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn wrong_sources_are_answered_with_what_to_try() {
        assert_eq!(message("buildin"), "unknown data `buildin`: did you mean `builtin`?");
        assert!(message("cifra10:/x").ends_with("did you mean `cifar10:/x`?"));
        assert!(message("cifar10").ends_with("name the folder too, as cifar10:DIR"));
        assert!(message("mnist:").ends_with("name the folder too, as mnist:DIR"));
        assert!(message("builtin:x").ends_with("write `builtin` alone"));
        assert!(
            message("no-such-thing-at-all")
                .contains("data is one of builtin, cifar10:DIR, cifar100:DIR")
        );
        assert!(message("folder:/no/such/folder").starts_with("/no/such/folder: cannot be read:"));
        assert!(message("").contains("data is one of"));
    }

    #[cfg(not(feature = "cloud"))]
    #[test]
    fn addresses_are_refused_where_none_is_read() {
        for source in ["s3://b/x.tar", "tar:https://h/x.tar?sig=hidden", "gs://b", "az://a/c"] {
            let shown = message(source);
            assert!(shown.contains("without its feature `cloud`"), "{shown}");
            assert!(shown.contains("://") && !shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn a_bare_folder_must_be_recognised() {
        let dir = TempDir::new("bare");
        assert!(message(dir.text()).contains("found an empty folder"));
        dir.write("notes.txt", b"x");
        assert!(message(dir.text()).contains("expected data of a known kind, found notes.txt"));
        let file = dir.write("notes.md", b"x");
        let shown = message(file.to_str().unwrap());
        assert!(shown.contains("expected data of a known kind, found another file"), "{shown}");
    }
}

//! What can go wrong with data, and what is worth telling about data that works.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::files::FileError;
use crate::base::text;

/// Why data cannot be opened, read or prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text that names the data names nothing known.
    #[error("unknown data `{given}`: {hint}")]
    Source {
        /// The text as given.
        given: String,
        /// The nearest name, or what may be written.
        hint: String,
    },
    /// A file or folder is not what its place asks for.
    #[error("{}: expected {expected}, found {found}; {hint}", text::path(.file))]
    Content {
        /// The file or folder.
        file: PathBuf,
        /// What should be there.
        expected: Box<str>,
        /// What is there.
        found: Box<str>,
        /// What to try next.
        hint: Box<str>,
    },
    /// The system refused to read a file or folder.
    #[error("{}: cannot be read: {source}", text::path(.file))]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A picture cannot be used.
    #[error("{}: {reason}", text::path(.file))]
    Picture {
        /// The picture file.
        file: PathBuf,
        /// Why, and what to try.
        reason: String,
    },
    /// A picture, or the file that holds it, is no longer what it was when it was indexed.
    #[error(
        "{}: was changed since the data was listed; start again, and where the data has an index, \
         make that again first",
        text::path(.file)
    )]
    Changed {
        /// The file, or the picture inside it.
        file: PathBuf,
    },
    /// An index cannot be written.
    #[error(transparent)]
    Index(#[from] FileError),
    /// Files of a folder cannot be used, and the caller asked for none to be left out.
    #[error(
        "{count} of the files cannot be used: {list}; remove or repair them, or let bad files be skipped"
    )]
    BadFiles {
        /// How many.
        count: usize,
        /// The first few, each with its reason.
        list: String,
    },
    /// The training data holds a single class, so there is nothing to tell apart.
    #[error(
        "{data}: all {count} training pictures are of the class `{class}`; a classifier needs at least two classes"
    )]
    OneClass {
        /// The data, as given.
        data: String,
        /// The only class.
        class: String,
        /// Training pictures.
        count: usize,
    },
    /// A class is not among those that labels are numbered by.
    #[error("{place}: class `{class}` is not among the {known} classes of {of}; {hint}")]
    UnknownClass {
        /// Where the class was found.
        place: Box<str>,
        /// Its name.
        class: Box<str>,
        /// How many classes are known.
        known: usize,
        /// Whose classes these are.
        of: Box<str>,
        /// The nearest name, or what to try.
        hint: Box<str>,
    },
    /// A folder called by a number may be one of two classes of a model whose classes have no
    /// names.
    #[error(
        "{place}: class `{class}` is label {label} of the model by its number, but {other} where \
         folders are numbered sorted as text, as ImageFolder does; the model's classes have numbers \
         for names, as none were given when it was imported: import it again with a list of its \
         class names"
    )]
    Numbered {
        /// Where the class was found.
        place: Box<str>,
        /// Its name.
        class: Box<str>,
        /// Its label by its number.
        label: usize,
        /// Its label where folders are numbered sorted as text.
        other: usize,
    },
    /// Two folders are called by one number, of a model whose classes have no names.
    #[error(
        "{place}: class `{class}` is label {label} of the model by its number, and so is `{other}`; \
         leave or rename one of the two"
    )]
    SameNumber {
        /// Where the class was found.
        place: Box<str>,
        /// Its name.
        class: Box<str>,
        /// The label of both.
        label: usize,
        /// The other's name.
        other: Box<str>,
    },
    /// Data cannot be divided as asked.
    #[error("cannot split off a validation part: {0}")]
    Split(String),
    /// Data cannot be divided into parts as asked.
    #[error("cannot divide the data: {0}")]
    Divide(String),
    /// Preprocessing does not fit the data, the network or itself.
    #[error("preprocessing: {0}")]
    Preprocess(String),
    /// The loader's settings do not fit the data.
    #[error("loading: {0}")]
    Loader(String),
    /// A loader's worker panicked; the message is the panic's.
    #[error("loading batch {step} of epoch {epoch} failed inside: {message}")]
    Worker {
        /// Epoch of the batch.
        epoch: u64,
        /// Position of the batch in the epoch.
        step: usize,
        /// The panic's message.
        message: String,
    },
}

impl DataError {
    /// Why a file or anything else that a program reads itself cannot be used.
    pub fn other(what: impl Into<PathBuf>, reason: impl fmt::Display) -> DataError {
        DataError::Picture { file: what.into(), reason: reason.to_string() }
    }

    /// Whether the system failed, such as for want of memory or open files, rather than one file
    /// being damaged, gone or closed to this user; or data is no longer what it was when it was
    /// opened. It ends what is under way: the next time the same picture may be read.
    pub fn is_of_system(&self) -> bool {
        match self {
            DataError::Io { source, .. } => !loses_only_itself(source),
            DataError::Changed { .. } => true,
            _ => false,
        }
    }

    /// `source` while reading `file`.
    pub(super) fn io(file: impl Into<PathBuf>, source: io::Error) -> DataError {
        DataError::Io { file: file.into(), source }
    }

    /// `file` holds `found` where `expected` belongs.
    pub(super) fn content(
        file: &Path,
        expected: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
        hint: impl Into<Box<str>>,
    ) -> DataError {
        DataError::Content {
            file: file.to_path_buf(),
            expected: expected.into(),
            found: found.into(),
            hint: hint.into(),
        }
    }
}

/// Whether an error of the system is about one file or folder, rather than about all that is read.
pub(super) fn loses_only_itself(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), PermissionDenied | NotFound | NotADirectory)
}

/// An object far away is no longer what it was; inside an error of the system, as reading gives.
#[derive(Debug)]
pub(super) struct WasChanged;

impl fmt::Display for WasChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was changed meanwhile")
    }
}

impl std::error::Error for WasChanged {}

/// Whether reading failed as what is read is no longer what it was.
pub(super) fn was_changed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<WasChanged>())
}

/// Something about usable data that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file or folder meant, if it is one.
    pub file: Option<PathBuf>,
    /// What is the matter, and what was done about it.
    pub message: String,
}

impl Warning {
    /// A warning about `file`.
    pub(super) fn file(file: impl Into<PathBuf>, message: impl Into<String>) -> Warning {
        Warning { file: Some(file.into()), message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", text::path(file), self.message),
            None => f.write_str(&self.message),
        }
    }
}

//! What can be wrong with a recipe.

use crate::base::files::FileError;
use std::fmt;
use std::path::PathBuf;

/// Where a key was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A built-in recipe.
    BuiltIn(&'static str),
    /// A recipe file.
    File(PathBuf),
    /// Changes made over a recipe.
    Overrides,
    /// All of them together.
    Resolved,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn(name) => write!(f, "recipe `{name}`: "),
            Origin::File(path) => write!(f, "{}: ", path.display()),
            Origin::Overrides | Origin::Resolved => Ok(()),
        }
    }
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// No built-in recipe and no file has this name.
    #[error(
        "there is no recipe `{name}`{nearest} (built in: {known}; a file's name ends in `.toml`)"
    )]
    UnknownRecipe {
        /// What was asked for.
        name: String,
        /// The nearest name, as the end of a sentence.
        nearest: String,
        /// The built-in recipes.
        known: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not TOML.
    #[error("{origin}not valid TOML{line}: {message}")]
    Syntax {
        /// The file.
        origin: Origin,
        /// The line, as ", line 3".
        line: String,
        /// What is wrong.
        message: String,
    },
    /// A step takes more images than there are.
    #[error(
        "the batch is {batch}{}, but the data has only {images} pictures to train on; \
         use a batch of {} or less",
        if *accumulate > 1 { format!(", and a step takes {accumulate}") } else { String::new() },
        (images / *accumulate as u64).max(1)
    )]
    TooFew {
        /// Images a batch.
        batch: usize,
        /// Batches a step.
        accumulate: usize,
        /// Images to train on.
        images: u64,
    },
    /// A batch has no equal shards.
    #[error(
        "a batch of {batch} cannot be cut into {shards} equal shards; use {}, or another \
         `train.shards`",
        match batch / shards * shards {
            0 => shards.to_string(),
            below => format!("{below} or {}", below + shards),
        }
    )]
    Shards {
        /// Images a batch.
        batch: usize,
        /// Its shards.
        shards: usize,
    },
    /// Processes have no equal parts of a batch's shards.
    #[error(
        "{ranks} processes cannot share {shards} {} evenly; start a number of them that divides \
         `train.shards`, or, in a new run, set that to {} or another multiple of {ranks}",
        if *shards == 1 { "shard" } else { "shards" },
        shards.next_multiple_of(*ranks)
    )]
    Uneven {
        /// Shards of a batch.
        shards: usize,
        /// Processes.
        ranks: usize,
    },
    /// More steps are done than the run may have.
    #[error(
        "the run has done {steps} steps, more than its budget of {budget}; give it at least {steps}"
    )]
    Spent {
        /// Steps done.
        steps: u64,
        /// Steps of the budget.
        budget: u64,
    },
    /// Another budget would move a phase that has begun.
    #[error(
        "with this budget the {steps} steps done would be of another phase than they were \
         (`phase` names its beginnings as parts of the run); keep the budget, or start a new run"
    )]
    Moved {
        /// Steps done.
        steps: u64,
    },
    /// A run that goes on keeps its recipe.
    #[error(
        "`{key}`: a run that goes on keeps its recipe; what may change is {}", free.join(", ")
    )]
    Fixed {
        /// The key.
        key: String,
        /// Those that may change.
        free: &'static [&'static str],
    },
    /// No key has this name.
    #[error("{origin}unknown key `{key}`{nearest}")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// The nearest key, as the end of a sentence.
        nearest: String,
    },
    /// Several keys end in this name.
    #[error("`{key}` could be {candidates}; write the whole name")]
    Ambiguous {
        /// The name.
        key: String,
        /// The keys that end in it.
        candidates: String,
    },
    /// A value of the wrong kind or out of range.
    #[error("{origin}`{key}`: expected {expected}, found {found}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The values it takes.
        expected: String,
        /// The value.
        found: String,
    },
    /// Something that stands in the place of a section or of `base`.
    #[error("{origin}`{name}`: expected {expected}, found {found}")]
    Shape {
        /// Where it stands.
        origin: Origin,
        /// The name.
        name: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The recipe names no pictures.
    #[error("`data.source`: this recipe needs images; set it to folder:DIR, say")]
    NoImages,
    /// Keys whose values do not go together.
    #[error("{origin}{keys}: {reason}")]
    Together {
        /// Where they stand.
        origin: Origin,
        /// The keys.
        keys: &'static str,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A recipe stands on itself, or on too many others.
    #[error("{origin}`base`: more than {limit} recipes stand on each other; is one its own base?")]
    TooDeep {
        /// The recipe whose base is not read.
        origin: Origin,
        /// The longest chain accepted.
        limit: usize,
    },
    /// An override that is not `key=value`.
    #[error("expected key=value, such as lr=0.05, found `{0}`")]
    NotOverride(String),
}

impl RecipeError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing: always, for a recipe is what was asked for.
    pub fn is_usage(&self) -> bool {
        !matches!(self, RecipeError::TooFew { .. })
    }
}

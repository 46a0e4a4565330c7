//! What goes wrong between processes.

use std::fmt;

use crate::launched::Launcher;

/// Ways out where the library is not the right one.
const BY_NAME: &str = "set RESNET_MPI to the path of the launcher's libmpi; RESNET_MPI=none makes \
                       each process a run of its own";

/// Why there is no world of processes, or no longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MpiError {
    /// A launcher started this process, and no MPI is installed where it is looked for.
    NotFound {
        /// Who started the process.
        launcher: Launcher,
        /// Names and paths that were tried.
        looked_for: Vec<String>,
    },
    /// A library was found that is no MPI of ours.
    Unfit {
        /// The library.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Launcher and library do not belong together.
    Mismatch {
        /// Who started the process.
        launcher: Launcher,
        /// What the launcher says of rank and number.
        claimed: String,
        /// The library, and which MPI it is.
        library: String,
        /// What the library says of rank and number.
        answered: String,
    },
    /// A variable of the environment has a value that it cannot have.
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A process opens its world once.
    Twice,
    /// A call returned an error.
    Failed {
        /// The function.
        call: &'static str,
        /// What MPI says of it.
        reason: String,
    },
    /// Another process has ended or cannot be reached.
    Lost {
        /// The function that noticed it.
        call: &'static str,
        /// What MPI says of it.
        reason: String,
    },
    /// The system refuses the memory, here or on another rank.
    Memory {
        /// How much was asked for.
        bytes: u64,
    },
    /// The thread of communication has ended.
    Ended,
}

impl fmt::Display for MpiError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NotFound { launcher, looked_for } => write!(
                f,
                "{launcher} started this process, but no MPI was found to speak through: looked \
                 for {}. Install the launcher's own (Debian: openmpi-bin or mpich; Python \
                 packages: openmpi, mpich, impi-rt), or {BY_NAME}",
                looked_for.join(", ")
            ),
            Self::Unfit { path, reason } => write!(
                f,
                "{path}: {reason}. Expected the library of Open MPI, or one with the ABI of MPICH \
                 or of the standard: {BY_NAME}"
            ),
            Self::Mismatch { launcher, claimed, library, answered } => write!(
                f,
                "{launcher} says that this is {claimed}, but {library} says {answered}: launcher \
                 and library are not of the same MPI. {}, or {BY_NAME}",
                launcher.remedy()
            ),
            Self::Setting { name, value, expected } => {
                write!(f, "{name} is `{value}`: expected {expected}")
            }
            Self::Twice => f.write_str("this process has opened its MPI before: MPI starts once"),
            Self::Failed { call, reason } => write!(f, "{call}: {reason}"),
            Self::Lost { call, reason } => {
                write!(f, "another process of this run was lost ({call}: {reason})")
            }
            Self::Memory { bytes } => {
                write!(f, "a process of this run has no memory for {bytes} bytes that were sent")
            }
            Self::Ended => f.write_str("the thread of communication has ended"),
        }
    }
}

impl std::error::Error for MpiError {}

//! Training: from a recipe, or in a program from a [`Trainer`], to a model and a run directory.
//!
//! `task` opens what a recipe names; `job` turns it into what a run needs: `learner` takes steps,
//! in the phase of the `recipe`'s calendar; `run` is the loop; `record`, `checkpoint` and
//! `directory` keep it on disk; `outside` hears what other programs ask, `company` the
//! processes that train together; `monitor` looks into the
//! network on the way; `diverged` finds the layer that broke; `report` draws the page; `inputs` is
//! what the network sees, without a run. `lr_find` takes the same steps with a rate that rises;
//! `finetune` chooses for a trained network and new data.

mod checkpoint;
mod company;
mod directory;
mod diverged;
mod error;
pub mod event;
pub mod finetune;
pub(crate) mod inputs;
mod job;
mod learner;
mod lr_find;
mod monitor;
mod observe;
mod outside;
pub mod recipe;
mod record;
mod report;
mod run;
pub(crate) mod schedule;
pub mod task;
mod trained;
mod trainer;

pub use directory::{
    BEST, CONFIG, EVENTS, LAST, MODEL, PICTURES, REPORT, is_unfinished, recipe_of_run,
};
pub use error::TrainError;
pub use lr_find::{LrFind, lr_find};
pub use observe::{Flow, Observer, Tick};
pub use outside::{STOP, ask_to_stop, is_asked_to_stop, is_running};
pub use task::GIVEN;
pub use trained::{INTERRUPTED, Trained};
pub use trainer::Trainer;

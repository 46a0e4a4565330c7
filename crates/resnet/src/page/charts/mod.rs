//! Reports: one HTML file that opens offline, with charts and pictures inside it.
//!
//! From the bottom up: `markup` writes balanced tags, `format` writes numbers, `palette` holds the
//! colours of both themes, [`chart`], [`bars`] and [`heatmap`] draw, [`png`] embeds pictures,
//! [`page`] is the sheet they stand on. None of those knows what a training run is; [`run`] does,
//! and is the example to follow for another kind of report.
//!
//! Equal input gives equal bytes. Every text is escaped. Nothing is loaded from outside the file
//! and nothing runs in it.

pub mod axis;
pub mod bars;
pub mod chart;
pub mod class_report;
pub mod confusion;
mod edge;
pub mod figure;
pub mod format;
pub mod heatmap;
pub mod label;
mod limits;
pub mod markup;
pub mod page;
pub mod palette;
mod plot;
pub mod png;
pub mod run;
mod run_curves;
pub mod save;
pub mod strips;
pub(crate) mod svg;
mod thin;
mod ticks;
pub mod tile;

pub use run::{ConfusedPair, EpochPoint, Headline, Picture, RunReport, Status, StepPoint, render};

//! The report of one training run: what came out, how it got there, and how to get there again.

use super::class_report::{self, ClassReport};
use super::page::{Page, Stat, Tone};
use super::{format, run_curves};

/// What a report of a run is made of. What is empty or absent is left out of the page.
#[derive(Clone, Debug)]
pub struct RunReport<'a> {
    /// Heading of the page, such as "resnet20 on Fashion-MNIST".
    pub title: &'a str,
    /// The network's name.
    pub arch: &'a str,
    /// Trainable parameters.
    pub params: u64,
    /// Multiply-accumulates of one image's forward pass.
    pub macs: u64,
    /// The data, in a sentence: what, how many images, their size, how they are split.
    pub data: &'a str,
    /// The command that repeats the run.
    pub command: &'a str,
    /// When the run started, as it is to be shown.
    pub started: Option<&'a str>,
    /// When the run ended, as it is to be shown.
    pub finished: Option<&'a str>,
    /// How it ended.
    pub status: Status<'a>,
    /// What the trained network achieves; `None` if it was never evaluated.
    pub headline: Option<Headline<'a>>,
    /// Seconds of the run, evaluation included.
    pub seconds: Option<f64>,
    /// Images trained on a second.
    pub images_per_s: Option<f64>,
    /// One entry an epoch.
    pub epochs: &'a [EpochPoint],
    /// One entry a step, or every so many steps.
    pub steps: &'a [StepPoint],
    /// Names of the classes.
    pub classes: &'a [String],
    /// Counts, row-major: rows the truth, columns the prediction; empty if there are none.
    pub confusion: &'a [u64],
    /// The most frequent mistakes with examples, most frequent first. If empty, they are read from
    /// `confusion`.
    pub confused: &'a [ConfusedPair],
    /// The resolved configuration.
    pub config_toml: &'a str,
    /// Machine and versions: names and values.
    pub environment: &'a [(String, String)],
}

/// How a run ended, or that it did not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// It is done.
    Finished {
        /// Where it did not spend its whole budget: so many evaluations without a better top-1
        /// ended it.
        patience: Option<u64>,
    },
    /// It goes on.
    Running {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        of: u64,
    },
    /// It was interrupted.
    Stopped {
        /// Steps done.
        step: u64,
        /// The command that goes on.
        resume: Option<&'a str>,
    },
    /// It could not go on.
    Failed {
        /// Steps done.
        step: u64,
        /// Why.
        reason: &'a str,
    },
}

/// What the network achieves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Headline<'a> {
    /// Share of images whose first guess is right.
    pub top1: f64,
    /// Share of images with the truth among the first five guesses; `None` if there are no more
    /// than five classes.
    pub top5: Option<f64>,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Images evaluated.
    pub count: u64,
    /// The split they come from: "test", "val".
    pub split: &'a str,
    /// Which weights: "last epoch", "best epoch (9)"; may be empty.
    pub weights: &'a str,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochPoint {
    /// Epochs done: passes over the training images, fractions allowed.
    pub epoch: f64,
    /// Steps done.
    pub step: u64,
    /// Mean training loss over the epoch, in nats.
    pub train_loss: f64,
    /// Training top-1 over the epoch, a fraction.
    pub train_top1: f64,
    /// Evaluation loss after the epoch, if it was evaluated.
    pub test_loss: Option<f64>,
    /// Evaluation top-1 after the epoch, a fraction.
    pub test_top1: Option<f64>,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Seconds the epoch took, evaluation included.
    pub seconds: f64,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPoint {
    /// Steps done, this one included.
    pub step: u64,
    /// Loss of the batch, in nats.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
}

/// Images of one class taken for another.
#[derive(Clone, Debug, Default)]
pub struct ConfusedPair {
    /// Index of the true class.
    pub truth: usize,
    /// Index of the predicted class.
    pub predicted: usize,
    /// How many images.
    pub count: u64,
    /// Some of them.
    pub pictures: Vec<Picture>,
}

/// A picture that was classified.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `height` x `width` x `channels` bytes.
    pub pixels: Vec<u8>,
    /// Its file or its index.
    pub name: String,
    /// The probability the network gave to the predicted class.
    pub probability: f32,
}

/// The page, one HTML file that needs nothing else.
pub fn render(report: &RunReport<'_>) -> String {
    let mut page = Page::new(report.title, "Training run", report.data);
    let (tone, text) = status(report);
    page.banner(tone, &text);
    page.stats(&stats(report));
    run_curves::error(&mut page, report);
    run_curves::loss(&mut page, report);
    let classes = ClassReport {
        classes: report.classes,
        confusion: report.confusion,
        confused: report.confused,
    };
    class_report::confusion(&mut page, &classes);
    class_report::mistakes(&mut page, &classes);
    class_report::classes(&mut page, &classes);
    reproduce(&mut page, report);
    page.finish(&format!("Written by resnet {}. 1 MAC is 2 FLOPs.", env!("CARGO_PKG_VERSION")))
}

fn status(report: &RunReport<'_>) -> (Tone, String) {
    let last_step = report
        .epochs
        .iter()
        .map(|e| e.step)
        .chain(report.steps.iter().map(|s| s.step))
        .max()
        .unwrap_or(0);
    let epochs = report.epochs.last().map_or(0.0, |e| e.epoch);
    match report.status {
        Status::Finished { patience } => {
            let done = format!(
                "{}, {}",
                match epochs {
                    1.0 => "1 epoch".to_owned(),
                    epochs => format!("{} epochs", format::number(epochs)),
                },
                format::plural(last_step, "step")
            );
            let early = patience.map_or(String::new(), |spent| {
                let evaluations = format::plural(spent, "evaluation");
                format!(" It ended early: {evaluations} without a better top-1.")
            });
            (Tone::Good, format!("Finished: {done}.{early}"))
        }
        Status::Running { step, of } => (
            Tone::Plain,
            format!(
                "Running: {} of {}. Open it again for more.",
                format::thousands(step),
                format::plural(of, "step")
            ),
        ),
        Status::Stopped { step, resume } => {
            let go_on = resume.map(|r| format!(" To go on: {r}")).unwrap_or_default();
            (
                Tone::Plain,
                format!("Stopped after {}, before its end.{go_on}", format::plural(step, "step")),
            )
        }
        Status::Failed { step, reason } => {
            (Tone::Bad, format!("Failed after {}: {reason}", format::plural(step, "step")))
        }
    }
}

fn stats(report: &RunReport<'_>) -> Vec<Stat> {
    let mut stats = Vec::new();
    let mut add = |name: &str, value: String, note: String| {
        stats.push(Stat { name: name.to_owned(), value, note })
    };
    if let Some(h) = report.headline {
        let decimals = format::decimals_for(h.count);
        let of = format!("of {} {} images", format::thousands(h.count), h.split);
        let weights = if h.weights.is_empty() { String::new() } else { format!(", {}", h.weights) };
        let interval = format::wilson(h.top1, h.count)
            .map(|(low, high)| {
                let [low, high] = [low, high].map(|v| format::percent(v, 1));
                format!(". 95{}% interval {low} to {high}", format::NBSP)
            })
            .unwrap_or_default();
        add(
            "Top-1 accuracy",
            format::percent(h.top1, decimals),
            format!("{of}{weights}{interval}"),
        );
        if let Some(top5) = h.top5 {
            add("Top-5 accuracy", format::percent(top5, decimals), of.clone());
        }
        add("Loss", format::number(h.loss), format!("cross-entropy in nats, {} split", h.split));
    } else {
        add(
            "Top-1 accuracy",
            format::NONE.to_owned(),
            "not evaluated: the run ended before".to_owned(),
        );
    }
    add(
        "Parameters",
        format::compact(report.params),
        format!("{} in {}", format::thousands(report.params), report.arch),
    );
    let flops = report.macs.saturating_mul(2);
    add(
        "Work per image",
        format!("{}MACs", spaced(report.macs)),
        format!("{}FLOPs, forward", spaced(flops)),
    );
    if let Some(seconds) = report.seconds {
        add("Time", format::duration(seconds), "training and evaluation".to_owned());
    }
    if let Some(speed) = report.images_per_s.filter(|s| s.is_finite()) {
        let whole = format::thousands(speed.clamp(0.0, 1e15).round() as u64);
        add("Speed", format!("{whole}{}images/s", format::NBSP), "while training".to_owned());
    }
    stats
}

/// `40.8 M` before a unit that takes the prefix: `40.8 MMACs` reads badly, `40.8 M MACs` does not.
fn spaced(n: u64) -> String {
    format::compact(n) + &format::NBSP.to_string()
}

fn reproduce(page: &mut Page, report: &RunReport<'_>) {
    page.section("reproduce", "How to repeat it", "");
    if !report.command.is_empty() {
        page.listing(report.command);
    }
    let mut facts: Vec<(String, String)> = Vec::new();
    let named = [("started", report.started), ("finished", report.finished)];
    facts.extend(
        named.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned()))),
    );
    facts.extend(report.environment.iter().cloned());
    if !facts.is_empty() {
        page.heading("Environment");
        page.pairs(&facts);
    }
    if !report.config_toml.is_empty() {
        page.heading("Configuration");
        page.listing(report.config_toml.trim_end());
    }
}

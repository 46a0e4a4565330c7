//! Which learning rate? A range test (Smith 2015, section 3.3): a run of few steps whose rate rises
//! by the same factor at each, from far too low to far too high. The loss falls where learning
//! begins, and rises again where it breaks.

use std::path::Path;

use serde::Serialize;

use super::job::Job;
use super::{Flow, TrainError};
use crate::base::files::FileError;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::Figure;
use crate::page::charts::format;
use crate::page::charts::page::{Page, Stat};
use crate::page::charts::save::{save_figures, write};
use crate::train::recipe::Recipe;
use crate::train::task::Task;

/// Steps of the test, and its first and last rate.
const STEPS: u64 = 100;
const RATES: (f64, f64) = (1e-5, 10.0);
/// Part of the smoothed loss that stays at each step.
const SMOOTHING: f64 = 0.9;
/// The test ends when the smoothed loss is this many times its lowest.
const BROKEN: f64 = 4.0;
/// Steps before a rise can be told from noise.
const FIRST: u64 = 10;

/// A step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The learning rate.
    pub lr: f64,
    /// Mean loss of the batch before the update.
    pub loss: f64,
    /// The same, smoothed over the steps before.
    pub smoothed: f64,
}

/// What a range test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LrFind {
    /// The network, options included.
    pub arch: String,
    /// The data's source.
    pub data: String,
    /// Images a step.
    pub batch: usize,
    /// Whether only the head was trained.
    pub frozen: bool,
    /// A rate to try: a tenth of the one with the lowest smoothed loss. `None` if the loss never
    /// fell.
    pub suggestion: Option<f64>,
    /// The recipe's own rate.
    pub lr: f64,
    /// The steps.
    pub points: Vec<Point>,
}

/// Takes the steps of the test on the recipe's network and data; nothing is saved. The recipe's
/// `train.freeze` decides which layers are trained. `on` is told the steps done and those of the
/// whole test, and may stop it.
///
/// # Errors
/// [`TrainError`].
pub fn lr_find(recipe: Recipe, on: &mut dyn FnMut(u64, u64) -> Flow) -> Result<LrFind, TrainError> {
    let mut job = Job::prepare(Task::open(recipe)?)?;
    job.initialise()?;
    let frozen = job.calendar.phases()[0].freeze;
    let mut points: Vec<Point> = Vec::new();
    let (mut average, mut lowest) = (0.0, f64::INFINITY);
    'test: for epoch in 0.. {
        let mut batches = job.learner.loader.epoch(epoch, 0);
        while let Some(gradient) = job.learner.gradient(&mut batches, false, &mut |_| Ok(()))? {
            let step = points.len() as u64;
            let lr = RATES.0 * (RATES.1 / RATES.0).powf(step as f64 / (STEPS - 1) as f64);
            let loss = gradient.loss;
            if gradient.diverged {
                break 'test;
            }
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss;
            let smoothed = average / (1.0 - SMOOTHING.powf((step + 1) as f64));
            lowest = smoothed.min(lowest);
            points.push(Point { lr, loss, smoothed });
            let (done, broken) = (step + 1, smoothed > BROKEN * lowest);
            if on(done, STEPS) == Flow::Stop || done == STEPS || (done > FIRST && broken) {
                break 'test;
            }
            job.learner.update(&gradient, &job.task.recipe, lr, step)?;
        }
    }
    Ok(LrFind {
        arch: job.task.arch.name(),
        data: job.recipe().data.source.clone(),
        batch: job.recipe().train.batch,
        frozen,
        suggestion: suggestion(&points),
        lr: job.recipe().optimizer.lr,
        points,
    })
}

fn suggestion(points: &[Point]) -> Option<f64> {
    let first = points.first()?;
    let lowest = points.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))?;
    (lowest.smoothed < first.smoothed).then_some(lowest.lr / 10.0)
}

impl LrFind {
    /// The figure.
    pub fn figure(&self) -> Figure {
        let rate = |p: &Point| p.lr;
        let mut chart = LineChart::new(
            "Loss over the learning rate",
            Axis::new("learning rate").log(),
            Axis::new("loss, in nats"),
        )
        .line("", Style::Faint, 0, self.points.iter().map(|p| (rate(p), p.loss)))
        .line(
            "smoothed",
            Style::Bold,
            0,
            self.points.iter().map(|p| (rate(p), p.smoothed)),
        );
        if let Some(lr) = self.suggestion {
            chart = chart.mark(lr, format!("suggested: {}", format::number(lr)));
        }
        chart = chart.mark(self.lr, format!("the recipe's: {}", format::number(self.lr)));
        let caption = match self.suggestion {
            Some(lr) => format!(
                "Try {}: a tenth of the rate with the lowest smoothed loss.",
                format::number(lr)
            ),
            None => "The loss never fell; more steps or other data are needed.".into(),
        };
        Figure::chart("lr-find", chart, caption)
    }

    /// Writes `report.html`, `figures/lr-find.svg` and `lr-find.json` into a directory, making it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, out: &Path, command: &str) -> Result<(), FileError> {
        let figure = self.figure();
        save_figures(out, std::slice::from_ref(&figure))?;
        let json = serde_json::to_string_pretty(self).expect("numbers always become JSON");
        write(out, "lr-find.json", &(json + "\n"))?;
        let part = if self.frozen { "the head alone" } else { "all layers" };
        let lead = format!("{}; {part} trained, {} images a step", self.data, self.batch);
        let mut page = Page::new(&self.arch, "Learning rate", &lead);
        let stat = |name: &str, value: Option<f64>, note: &str| Stat {
            name: name.into(),
            value: value.map_or(format::NONE.to_owned(), format::number),
            note: note.into(),
        };
        page.stats(&[
            stat(
                "Rate to try",
                self.suggestion,
                "a tenth of the rate with the lowest smoothed loss",
            ),
            stat("The recipe's", Some(self.lr), "optimizer.lr"),
        ]);
        page.section("figure", "Range test", "One run whose rate rises at each step (Smith 2015).");
        figure.add_to(&mut page);
        if !command.is_empty() {
            page.section("reproduce", "How to repeat it", "");
            page.listing(command);
        }
        let page = page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")));
        write(out, "report.html", &page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_a_tenth_of_the_best_rate() {
        let point = |lr, smoothed| Point { lr, loss: smoothed, smoothed };
        let points = [point(0.01, 2.0), point(0.1, 1.0), point(1.0, 3.0)];
        assert_eq!(suggestion(&points), Some(0.01));
        assert_eq!(suggestion(&points[..1]), None);
        assert_eq!(suggestion(&[]), None);
    }

    #[test]
    fn a_test_finds_where_learning_begins_and_breaks() {
        let changes = [("arch", "resnet8"), ("steps", "9"), ("batch", "8"), ("threads", "1")];
        let changes = changes.map(|(k, v)| (k.to_string(), v.to_string()));
        let recipe = Recipe::load("default", &changes).unwrap();
        let mut told = 0;
        let mut on = |done, _| {
            told = done;
            Flow::Go
        };
        let found = lr_find(recipe.clone(), &mut on).unwrap();
        assert_eq!(told as usize, found.points.len());
        let lr = found.suggestion.expect("the loss fell");
        assert!((1e-4..1.0).contains(&lr), "{lr}");
        assert_eq!(found, lr_find(recipe.clone(), &mut |_, _| Flow::Go).unwrap());
        let stopped = lr_find(recipe, &mut |done, _| {
            if done == 3 { Flow::Stop } else { Flow::Go }
        });
        assert_eq!(stopped.unwrap().points.len(), 3);
        assert!(found.figure().file().contains("learning rate"));
    }

    #[test]
    fn the_figure_marks_the_suggestion_and_the_recipes_rate() {
        let mut found = LrFind {
            arch: "resnet8".into(),
            data: "builtin".into(),
            batch: 8,
            frozen: false,
            suggestion: Some(0.02),
            lr: 0.1,
            points: [0.01, 0.2, 1.0].map(|lr| Point { lr, loss: lr, smoothed: lr }).to_vec(),
        };
        let drawn = found.figure().file();
        for text in [">suggested: 0.02<", ">the recipe’s: 0.1<"] {
            assert!(drawn.replace("'", "’").contains(text), "{drawn}");
        }
        assert_eq!(drawn.matches("<line class=\"guide\"").count(), 2);
        found.suggestion = None;
        assert!(!found.figure().file().contains("suggested"));
    }
}

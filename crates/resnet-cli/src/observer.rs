//! Who watches a run: a progress bar on a terminal, plain lines elsewhere, JSON where asked.
//!
//! Standard output carries JSON only; everything else goes to standard error.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use resnet::data::split_source;
use resnet::model::published::Published;
use resnet::page::charts::format::wilson;
use resnet::train::event::{Event, Pace, RunStarted, Step};
use resnet::train::{Flow, INTERRUPTED, Observer, REPORT, Tick};

use crate::hints;
use crate::term::{self, Bar, bar, duration, flow, grouped, quoted, scaled, stop_at_signals, tell};

/// Least time between two plain lines about steps.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A watcher that can report that its output failed.
pub(crate) trait Watcher: Observer {
    /// Whether it was told to stop.
    fn is_stopped(&self) -> bool;

    /// Ends the display.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// The watcher for this terminal, stopping the run at Ctrl-C or SIGTERM; the second time leaves at
/// once.
pub(crate) fn of(json: bool) -> anyhow::Result<Box<dyn Watcher>> {
    let stop = stop_at_signals()?;
    Ok(if json { Box::new(Json::new(stop)) } else { Box::new(Human::new(stop, false)) })
}

/// The same for several runs, told of in brief on standard error.
pub(crate) fn of_many() -> anyhow::Result<Box<dyn Watcher>> {
    Ok(Box::new(Human::new(stop_at_signals()?, true)))
}

struct Json {
    stop: Arc<AtomicBool>,
    /// The directory of the run.
    out: String,
    failed: Option<io::Error>,
}

impl Json {
    fn new(stop: Arc<AtomicBool>) -> Json {
        Json { stop, out: String::new(), failed: None }
    }
}

impl Observer for Json {
    fn event(&mut self, event: &Event) {
        if self.failed.is_some() {
            return;
        }
        if let Event::RunStarted(run) = event {
            self.out.clone_from(&run.out);
        }
        let line = serde_json::to_string(event).expect("events always become JSON");
        if let Err(error) = term::out().json(line) {
            // Whoever listened has left, or the disk is full: save and stop, as at Ctrl-C.
            self.failed = Some(error);
            self.stop.store(true, Ordering::SeqCst);
        }
    }

    fn tick(&mut self, _: &Tick) -> Flow {
        flow(&self.stop)
    }

    fn evaluating(&mut self, _: u64, _: u64) -> Flow {
        flow(&self.stop)
    }
}

impl Watcher for Json {
    fn is_stopped(&self) -> bool {
        flow(&self.stop) == Flow::Stop
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match self.failed.take() {
            None => Ok(()),
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
            Some(error) => anyhow::bail!("{error}; go on with: {}", hints::resume(&self.out)),
        }
    }
}

struct Human {
    /// On a terminal only.
    bar: Option<Bar>,
    stop: Arc<AtomicBool>,
    /// Whether the run is one of several: where it stands and how to go on is then said for all of
    /// them.
    brief: bool,
    /// Whether the user knows that the run is about to stop.
    told: bool,
    started: Option<RunStarted>,
    /// When the last plain line was written.
    line: Instant,
    /// For the time left.
    clock: Clock,
}

impl Human {
    fn new(stop: Arc<AtomicBool>, brief: bool) -> Human {
        Human {
            bar: None,
            stop,
            brief,
            told: false,
            started: None,
            line: Instant::now(),
            clock: Clock::default(),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.tell(text),
            None => tell(text),
        }
    }

    fn begin(&mut self, run: &RunStarted) {
        self.clock = Clock::of(run);
        if !self.brief {
            self.introduce(run);
        }
        if term::people_read_errors() {
            self.bar = Some(bar(run.steps, "steps"));
        }
        self.started = Some(run.clone());
    }

    fn introduce(&self, run: &RunStarted) {
        tell(&format!(
            "{} on {}: {} parameters, {} MACs an image",
            run.arch,
            run.data,
            grouped(run.params),
            scaled(run.macs)
        ));
        tell(&format!(
            "{} images, tested on {}; {} epoch{}, {} steps of {}; {} thread{}, {}, {}; into {}",
            grouped(run.train_images),
            grouped(run.test_images),
            run.epochs,
            if run.epochs == 1 { "" } else { "s" },
            grouped(run.steps),
            run.batch,
            run.threads,
            if run.threads == 1 { "" } else { "s" },
            run.isa,
            run.precision,
            run.out
        ));
        if run.ranks > 1 {
            tell(&format!(
                "{} processes through {}; each computes {} of {} shards of a batch",
                run.ranks,
                run.carrier,
                run.shards / run.ranks,
                run.shards
            ));
        }
        if let Some(why) = &run.device_why {
            tell(&format!("device {}: {why}", run.device));
        }
        if let Some(why) = &run.precision_why {
            tell(&format!("precision {}: {why}", run.precision));
        }
        if let Some(sizes) = &run.sizes {
            tell(&format!("pictures of {sizes}"));
        }
        if let Some((low, high)) = wilson(1.0, run.test_images).filter(|(low, _)| *low < 0.9) {
            tell(&format!(
                "{} image{} to test on tell little: even with all of them right, the accuracy on \
                 others like them is {:.0} to {:.0} % (95 % interval)",
                run.test_images,
                if run.test_images == 1 { "" } else { "s" },
                low * 100.0,
                high * 100.0
            ));
        }
        if let Some(advice) = few(run) {
            tell(&advice);
        }
    }
}

/// How much of the time was spent waiting for other processes.
fn synced(step: &Step) -> String {
    let share = |share: f64| format!(" ({:.0} % waiting for other processes)", 100.0 * share);
    step.sync.map(share).unwrap_or_default()
}

impl Observer for Human {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted(run) => self.begin(run),
            Event::Step(step) => {
                let left = self.left(step.step);
                match &self.bar {
                    Some(bar) => {
                        bar.set_position(step.step);
                        bar.set_message(&format!(
                            "loss {:.3}  {:.0} images/s{}  {left}",
                            step.loss,
                            step.images_per_s,
                            synced(step)
                        ));
                    }
                    None if self.line.elapsed() >= LINE_EVERY => {
                        self.line = Instant::now();
                        let total = self.started.as_ref().map_or(0, |run| run.steps);
                        tell(&format!(
                            "step {}/{total}  loss {:.4}  lr {:.4}  {:.0} images/s{}  {left}",
                            step.step,
                            step.loss,
                            step.lr,
                            step.images_per_s,
                            synced(step)
                        ));
                    }
                    None => {}
                }
            }
            Event::Evaluated(e) => self.say(&format!(
                "epoch {:>3}  train: loss {:.4}, top-1 {:5.2} %   \
                 {}: loss {:.4}, top-1 {:5.2} %   {}",
                e.epoch,
                e.train_loss,
                e.train_top1 * 100.0,
                e.split,
                e.loss,
                e.top1 * 100.0,
                duration(e.seconds)
            )),
            Event::Entered { message, .. } => self.say(message),
            Event::Warned { message, .. } => self.say(&format!("warning: {message}")),
            Event::RunEnded(end) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                if self.brief {
                    return;
                }
                let out = self.started.as_ref().map_or("", |run| run.out.as_str());
                match (&end.stopped, &end.model) {
                    (None, Some(model)) => {
                        if let Some(patience) = end.patience_spent {
                            tell(&format!(
                                "ended after {} steps: {patience} evaluation{} without a better \
                                 top-1",
                                grouped(end.steps),
                                if patience == 1 { "" } else { "s" }
                            ));
                        }
                        let (top1, which) = match end.kept_step {
                            Some(step) => (end.best_top1, format!(", the best, of step {step}")),
                            None => (end.top1, String::new()),
                        };
                        let top1 = top1.unwrap_or(f64::NAN);
                        let images = self.started.as_ref().map_or(0, |run| run.test_images);
                        tell(&format!(
                            "done in {}: top-1 {:.2} %{which}{}",
                            duration(end.seconds),
                            top1 * 100.0,
                            worth(top1, images)
                        ));
                        tell(&format!("model   {model}"));
                        tell(&format!("report  {out}/{REPORT}"));
                    }
                    (Some(reason), _) if reason == INTERRUPTED => tell(&format!(
                        "stopped after {} steps; continue with: {}",
                        end.steps,
                        hints::resume(out)
                    )),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, tick: &Tick) -> Flow {
        self.clock.tick(tick.step, Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_position(tick.step);
        }
        self.flow()
    }

    fn evaluating(&mut self, done: u64, of: u64) -> Flow {
        if let Some(bar) = &self.bar {
            bar.set_message(&format!("evaluating {}/{}", grouped(done), grouped(of)));
        }
        self.flow()
    }

    fn asked_to_stop(&mut self) {
        self.say("stopping, as a board or another process asked: saving a checkpoint");
    }
}

impl Human {
    fn flow(&mut self) -> Flow {
        let flow = flow(&self.stop);
        if flow == Flow::Stop && !self.told {
            self.told = true;
            self.say("stopping: saving a checkpoint; press Ctrl-C again to leave at once");
        }
        flow
    }

    /// The time left at the pace so far.
    fn left(&self, step: u64) -> String {
        match self.clock.left(step, Instant::now()) {
            Some(seconds) => format!("{} left", duration(seconds)),
            None => String::new(),
        }
    }
}

/// Tells the time left of a run whose steps do not all cost the same.
#[derive(Default)]
struct Clock {
    steps: u64,
    pace: Vec<Pace>,
    /// Time and step of the first tick of this phase, and the phase's first step.
    since: Option<(Instant, u64, u64)>,
    /// Seconds a step of cost 1, as of the phase before.
    before: Option<f64>,
}

impl Clock {
    fn of(run: &RunStarted) -> Clock {
        let all = vec![Pace { from: 0, cost: 1.0 }];
        let pace = if run.pace.is_empty() { all } else { run.pace.clone() };
        Clock { steps: run.steps, pace, ..Clock::default() }
    }

    /// What the last of so many steps costs, and the first step of its phase.
    fn at(&self, steps: u64) -> (f64, u64) {
        let last = steps.saturating_sub(1);
        let phase = self.pace.iter().rfind(|phase| phase.from <= last);
        phase.map_or((1.0, 0), |phase| (phase.cost, phase.from))
    }

    /// Counts that so many steps were done.
    fn tick(&mut self, steps: u64, now: Instant) {
        let (_, phase) = self.at(steps);
        match self.since {
            Some((_, _, of)) if of == phase => {}
            Some(_) => {
                self.before = self.unit(steps - 1, now).or(self.before);
                self.since = Some((now, steps, phase));
            }
            None => self.since = Some((now, steps, phase)),
        }
    }

    /// Seconds a step of cost 1, by the steps of this phase.
    fn unit(&self, steps: u64, now: Instant) -> Option<f64> {
        let (since, first, _) = self.since.filter(|(_, first, _)| steps > *first)?;
        let seconds = now.duration_since(since).as_secs_f64();
        Some(seconds / (steps - first) as f64 / self.at(steps).0)
    }

    /// Seconds that the steps behind the first so many take, as the steps so far went.
    fn left(&self, steps: u64, now: Instant) -> Option<f64> {
        let unit = self.unit(steps, now).or(self.before)?;
        let ends = self.pace.iter().skip(1).map(|phase| phase.from).chain([self.steps]);
        let cost = self.pace.iter().zip(ends).map(|(phase, end)| {
            end.min(self.steps).saturating_sub(phase.from.max(steps)) as f64 * phase.cost
        });
        Some(unit * cost.sum::<f64>())
    }
}

/// What an accuracy on so many pictures is worth, where they are few.
pub(crate) fn worth(top1: f64, count: u64) -> String {
    match wilson(top1, count) {
        Some((low, high)) if count < 2000 => format!(
            " (of {} image{}; 95 % interval {:.1} to {:.1} %)",
            grouped(count),
            if count == 1 { "" } else { "s" },
            low * 100.0,
            high * 100.0
        ),
        _ => String::new(),
    }
}

/// Training pictures a class below which a network that knows pictures already does better than one
/// that starts from nothing.
const FEW: u64 = 200;

/// What to do about few pictures.
fn few(run: &RunStarted) -> Option<String> {
    let folder = match split_source(&run.data) {
        (Some(format), folder) => (format.name == "folder").then_some(folder)?,
        (None, path) => Some(path).filter(|path| std::path::Path::new(path).is_dir())?,
    };
    let few = run.start.is_empty() && run.train_images < FEW * run.classes;
    let network = Published::find(&run.arch).map_or("resnet50".into(), Published::name);
    few.then(|| {
        format!(
            "{} images of {} classes are few to start from nothing; this starts from a trained \
             network: resnet finetune {network} --data {}",
            grouped(run.train_images),
            grouped(run.classes),
            quoted(folder)
        )
    })
}

impl Watcher for Human {
    fn is_stopped(&self) -> bool {
        flow(&self.stop) == Flow::Stop
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_knows_that_layers_will_thaw() {
        let pace = vec![Pace { from: 0, cost: 1.0 }, Pace { from: 60, cost: 3.0 }];
        let mut clock = Clock { steps: 100, pace, ..Clock::default() };
        let began = Instant::now();
        let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
        assert_eq!(clock.left(0, at(0.0)), None);
        // A second a step while all but the last layer is frozen.
        (1..=60).for_each(|step| clock.tick(step, at(step as f64)));
        assert_eq!(clock.left(11, at(11.0)).map(f64::round), Some(49.0 + 40.0 * 3.0));
        assert_eq!(clock.left(60, at(60.0)).map(f64::round), Some(120.0));
        // Two and a half in truth, which counts once it is seen.
        clock.tick(61, at(62.5));
        assert!(clock.left(61, at(62.5)).is_some_and(|left| left > 100.0));
        clock.tick(71, at(87.5));
        assert_eq!(clock.left(71, at(87.5)).map(f64::round), Some((29.0f64 * 2.5).round()));
    }

    #[test]
    fn few_pictures_are_worth_an_interval() {
        assert_eq!(worth(1.0, 3), " (of 3 images; 95 % interval 43.9 to 100.0 %)");
        assert_eq!(worth(0.9, 10_000), "");
        assert_eq!(worth(f64::NAN, 3), "");
    }
}

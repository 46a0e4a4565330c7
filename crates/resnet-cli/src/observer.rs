//! Who watches a run: a progress bar on a terminal, plain lines elsewhere, JSON where asked.
//!
//! Standard output carries JSON only; everything else goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use resnet::train::event::{Event, RunStarted};
use resnet::train::{Flow, INTERRUPTED, Observer, REPORT, Tick};

use crate::hints;
use crate::term::{bar, duration, flow, grouped, scaled, stop_at_signals, tell};

/// Least time between two plain lines about steps.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A watcher that can report that its output failed.
pub(crate) trait Watcher: Observer {
    /// Ends the display.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// The watcher for this terminal, stopping the run at Ctrl-C or SIGTERM; the second time leaves at
/// once.
pub(crate) fn of(json: bool) -> anyhow::Result<Box<dyn Watcher>> {
    let stop = stop_at_signals()?;
    Ok(if json { Box::new(Json { stop, failed: None }) } else { Box::new(Human::new(stop, false)) })
}

/// The same for several runs, told of in brief on standard error.
pub(crate) fn of_many() -> anyhow::Result<Box<dyn Watcher>> {
    Ok(Box::new(Human::new(stop_at_signals()?, true)))
}

struct Json {
    stop: Arc<AtomicBool>,
    failed: Option<io::Error>,
}

impl Observer for Json {
    fn event(&mut self, event: &Event) {
        if self.failed.is_some() {
            return;
        }
        let line = serde_json::to_string(event).expect("events always become JSON") + "\n";
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            // Whoever listened has left: save and stop, as at Ctrl-C.
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
    fn finish(&mut self) -> anyhow::Result<()> {
        self.failed.take().map_or(Ok(()), |error| Err(error.into()))
    }
}

struct Human {
    /// On a terminal only.
    bar: Option<ProgressBar>,
    stop: Arc<AtomicBool>,
    /// Whether the run is one of several: where it stands and how to go on is then said for all of
    /// them.
    brief: bool,
    /// Whether the user knows that the run is about to stop.
    told: bool,
    started: Option<RunStarted>,
    /// When the last plain line was written.
    line: Instant,
    /// Time and step of the first tick, for the time left.
    first: Option<(Instant, u64)>,
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
            first: None,
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => tell(text),
        }
    }

    fn begin(&mut self, run: &RunStarted) {
        self.first = None;
        if !self.brief {
            self.introduce(run);
        }
        if io::stderr().is_terminal() {
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
        if let Some(why) = &run.precision_why {
            tell(&format!("precision {}: {why}", run.precision));
        }
        if let Some(sizes) = &run.sizes {
            tell(&format!("pictures of {sizes}"));
        }
    }
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
                        bar.set_message(format!(
                            "loss {:.3}  {:.0} images/s  {left}",
                            step.loss, step.images_per_s
                        ));
                    }
                    None if self.line.elapsed() >= LINE_EVERY => {
                        self.line = Instant::now();
                        let total = self.started.as_ref().map_or(0, |run| run.steps);
                        tell(&format!(
                            "step {}/{total}  loss {:.4}  lr {:.4}  {:.0} images/s  {left}",
                            step.step, step.loss, step.lr, step.images_per_s
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
                        tell(&format!(
                            "done in {}: top-1 {:.2} %{which}\nmodel   {model}\n\
                             report  {out}/{REPORT}",
                            duration(end.seconds),
                            top1.unwrap_or(f64::NAN) * 100.0
                        ));
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
        self.first.get_or_insert((Instant::now(), tick.step));
        if let Some(bar) = &self.bar {
            bar.set_position(tick.step);
        }
        self.flow()
    }

    fn evaluating(&mut self, done: u64, of: u64) -> Flow {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("evaluating {}/{}", grouped(done), grouped(of)));
        }
        self.flow()
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
        let total = self.started.as_ref().map_or(step, |run| run.steps);
        match self.first {
            Some((since, first)) if step > first => {
                let pace = since.elapsed().as_secs_f64() / (step - first) as f64;
                format!("{} left", duration(pace * total.saturating_sub(step) as f64))
            }
            _ => String::new(),
        }
    }
}

impl Watcher for Human {
    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

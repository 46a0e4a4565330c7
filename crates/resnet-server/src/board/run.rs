//! One run: what its log has told so far, in bounded memory, and what state it is in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resnet::train::event::{
    Entry, Evaluated, Event, Followed, Follower, RunEnded, RunStarted, Step,
};
use resnet::train::{self, CONFIG, EVENTS, INTERRUPTED};
use serde::Serialize;

use super::clock::Clock;
use super::series::{Place, Series, Spaced};

/// Most evaluations, looks and predictions whose place is known.
const MOST: usize = 1024;
/// Most sentences that are kept of each kind.
const SENTENCES: usize = 50;
/// A run that tells nothing for so long has ended, where no lock says so.
const SILENT: Duration = Duration::from_secs(300);

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It has a directory, and tells nothing yet.
    Waiting,
    /// It trains.
    Running,
    /// It was interrupted, or killed, and can go on.
    Stopped,
    /// It is done.
    Finished,
    /// A number was not finite.
    Diverged,
}

/// An evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    pub(super) place: Place,
    pub(super) top1: f64,
    pub(super) top5: f64,
    pub(super) loss: f64,
    pub(super) train_loss: f64,
    pub(super) train_top1: f64,
}

/// An event that is read again when somebody wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) place: Place,
    /// Where its line begins in the log.
    pub(super) offset: u64,
}

/// A sentence of the log.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sentence {
    pub(super) step: u64,
    pub(super) message: String,
}

/// What a log has told.
struct Told {
    started: Option<RunStarted>,
    ended: Option<RunEnded>,
    clock: Clock,
    steps: Series,
    split: String,
    evaluations: Spaced<Evaluation>,
    last: Option<Evaluation>,
    best_top1: Option<f64>,
    looks: Spaced<Kept>,
    predictions: Spaced<Kept>,
    entered: Vec<Sentence>,
    warnings: Vec<Sentence>,
    /// Warnings that came, those that are not kept as well.
    warned: usize,
    /// Lines that hold no event.
    damaged: usize,
}

impl Told {
    fn nothing() -> Told {
        Told {
            started: None,
            ended: None,
            clock: Clock::default(),
            steps: Series::default(),
            split: String::new(),
            evaluations: Spaced::new(MOST),
            last: None,
            best_top1: None,
            looks: Spaced::new(MOST),
            predictions: Spaced::new(MOST),
            entered: Vec::new(),
            warnings: Vec::new(),
            warned: 0,
            damaged: 0,
        }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        if let Some(step) = entry.step() {
            self.ended = None;
            return self.step(&step, entry.offset);
        }
        let Some(head) = entry.head() else {
            self.damaged += 1;
            return;
        };
        let kept = Kept { place: self.clock.at(head.step.unwrap_or(0)), offset: entry.offset };
        match head.event.as_str() {
            // They are long, and few of them are ever asked for.
            "monitored" => self.looks.add(kept),
            "predicted" => self.predictions.add(kept),
            _ => match entry.event() {
                Some(event) => self.event(event),
                // Later versions may tell more.
                None => return,
            },
        }
        if head.event != "run_ended" {
            self.ended = None;
        }
    }

    fn step(&mut self, step: &Step, offset: u64) {
        let place = self.clock.step(step);
        self.steps.add(step, place, offset);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::RunStarted(started) => {
                self.clock.start(&started);
                self.started = Some(*started);
            }
            Event::Evaluated(evaluated) => self.evaluated(evaluated),
            Event::Entered { step, message } => remember(&mut self.entered, step, message),
            Event::Warned { step, message } => {
                self.warned += 1;
                remember(&mut self.warnings, step, message);
            }
            Event::RunEnded(ended) => self.ended = Some(ended),
            _ => {}
        }
    }

    fn evaluated(&mut self, event: Evaluated) {
        let evaluation = Evaluation {
            place: self.clock.evaluated(&event),
            top1: event.top1,
            top5: event.top5,
            loss: event.loss,
            train_loss: event.train_loss,
            train_top1: event.train_top1,
        };
        if event.top1.is_finite() && self.best_top1.is_none_or(|best| event.top1 > best) {
            self.best_top1 = Some(event.top1);
        }
        self.split = event.split;
        self.last = Some(evaluation);
        self.evaluations.add(evaluation);
    }
}

/// Keeps a sentence, if there is room.
fn remember(sentences: &mut Vec<Sentence>, step: u64, message: String) {
    if sentences.len() < SENTENCES {
        sentences.push(Sentence { step, message });
    }
}

/// A run.
pub(super) struct Run {
    pub(super) root: PathBuf,
    follower: Follower,
    told: Told,
    /// Counts how often the log was read anew: what was sent of it then no longer holds.
    pub(super) reading: u64,
    /// Whether all of the log was read once.
    read: bool,
    state: State,
    /// Why the log cannot be read on.
    problem: Option<String>,
    /// When the run claimed its directory, in seconds since 1970.
    began: Option<f64>,
    /// What is asked of it and has not happened yet.
    pub(super) asked: Option<Asked>,
    /// What came of the last request, and how many there were.
    pub(super) notice: Option<Notice>,
    /// Changes with everything that is shown of the run.
    pub(super) version: u64,
}

/// What somebody asked of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    Stop,
    Resume,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Notice {
    /// Later ones have larger numbers.
    pub(super) number: u64,
    pub(super) text: String,
    /// Whether it failed.
    pub(super) failed: bool,
}

/// What a list of runs says of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) id: String,
    /// The directory, for people.
    pub(super) directory: String,
    pub(super) version: u64,
    /// Another number means that the log was read anew.
    pub(super) reading: u64,
    /// Whether the log has been read to its end.
    pub(super) read: bool,
    pub(super) state: State,
    /// Why it is in this state, where that is not plain.
    pub(super) reason: Option<String>,
    pub(super) began: Option<f64>,
    pub(super) arch: String,
    pub(super) data: String,
    pub(super) params: u64,
    pub(super) batch: u64,
    pub(super) step: u64,
    pub(super) steps: u64,
    pub(super) epoch: f64,
    pub(super) epochs: u64,
    pub(super) seconds: f64,
    /// Seconds to the end, about; of runs that train.
    pub(super) left: Option<f64>,
    pub(super) loss: Option<f64>,
    pub(super) train_top1: Option<f64>,
    pub(super) lr: Option<f64>,
    pub(super) images_per_s: Option<f64>,
    /// The part of the data that it is evaluated on.
    pub(super) split: String,
    pub(super) top1: Option<f64>,
    pub(super) best_top1: Option<f64>,
    pub(super) evaluations: usize,
    pub(super) looks: usize,
    pub(super) predictions: usize,
    pub(super) warnings: usize,
    pub(super) asked: Option<Asked>,
    pub(super) notice: Option<Notice>,
}

impl Run {
    pub(super) fn new(root: PathBuf, version: u64) -> Run {
        // A run claims its directory by its configuration before anything else.
        let began = fs::metadata(root.join(CONFIG)).and_then(|config| config.modified()).ok();
        let began = began.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Run {
            follower: Follower::new(root.join(EVENTS)),
            root,
            told: Told::nothing(),
            reading: 0,
            read: false,
            state: State::Waiting,
            problem: None,
            began: began.map(|time| time.as_secs_f64()),
            asked: None,
            notice: None,
            version,
        }
    }

    /// The log.
    pub(super) fn log(&self) -> &Path {
        self.follower.path()
    }

    /// Reads about so many bytes of what is new. Returns whether there may be more, and notes a
    /// change under `version`.
    pub(super) fn read(&mut self, most: u64, version: u64) -> bool {
        let told = &mut self.told;
        let mut entries = 0;
        let followed = self.follower.read(most, &mut |entry| {
            entries += 1;
            told.take(&entry);
        });
        let (problem, more) = match followed {
            Ok(Followed::End) => (None, false),
            Ok(Followed::More) => (None, true),
            Ok(Followed::CutBack) => {
                self.told = Told::nothing();
                self.reading += 1;
                entries += 1;
                (None, true)
            }
            // What was told until then still holds; it is tried again each time.
            Err(error) => (Some(error.to_string()), false),
        };
        if entries > 0 || problem != self.problem || (!more && !self.read) {
            self.version = version;
        }
        self.read |= !more;
        self.problem = problem;
        more
    }

    /// Looks at what the run is doing.
    pub(super) fn look(&mut self, version: u64) {
        let running = train::is_running(&self.root).unwrap_or_else(|| {
            let modified = fs::metadata(self.log()).and_then(|log| log.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            self.told.ended.is_none() && age.is_some_and(|age| age < SILENT)
        });
        let state = match &self.told.ended {
            _ if running => State::Running,
            Some(ended) => match ended.stopped.as_deref() {
                None => State::Finished,
                Some(INTERRUPTED) => State::Stopped,
                Some(_) => State::Diverged,
            },
            None if self.told.started.is_none() => State::Waiting,
            None => State::Stopped,
        };
        if state != self.state {
            self.state = state;
            self.version = version;
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn steps(&self) -> &Series {
        &self.told.steps
    }

    pub(super) fn evaluations(&self) -> impl Iterator<Item = &Evaluation> {
        self.told.evaluations.iter()
    }

    pub(super) fn split(&self) -> &str {
        &self.told.split
    }

    pub(super) fn looks(&self) -> &Spaced<Kept> {
        &self.told.looks
    }

    pub(super) fn predictions(&self) -> &Spaced<Kept> {
        &self.told.predictions
    }

    pub(super) fn entered(&self) -> &[Sentence] {
        &self.told.entered
    }

    pub(super) fn warnings(&self) -> &[Sentence] {
        &self.told.warnings
    }

    /// Where the run is.
    pub(super) fn place(&self) -> Place {
        let mut place = self.told.steps.end().unwrap_or_default();
        if let Some(last) = self.told.last
            && last.place.step >= place.step
        {
            place = last.place;
        }
        if let Some(ended) = self.told.ended.as_ref().filter(|ended| ended.seconds.is_finite()) {
            place.seconds = ended.seconds;
        }
        place
    }

    /// Why the run is in its state, where there is something to say.
    fn reason(&self) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        let damaged = (self.told.damaged > 0).then(|| {
            let (lines, are) =
                if self.told.damaged == 1 { ("line", "is") } else { ("lines", "are") };
            format!("{} {lines} of {EVENTS} {are} damaged", self.told.damaged)
        });
        let ended = match (&self.state, &self.told.ended) {
            (State::Diverged, Some(ended)) => ended.stopped.clone(),
            (State::Finished, Some(ended)) => ended.patience_spent.map(|patience| {
                let plural = if patience == 1 { "" } else { "s" };
                format!("{patience} evaluation{plural} without a better top-1")
            }),
            (State::Stopped, None) => Some("it was killed, or the power was cut".into()),
            _ => None,
        };
        ended.or(damaged)
    }

    pub(super) fn summary(&self, id: &str) -> Summary {
        let Told { started, steps, last, .. } = &self.told;
        let (place, started) = (self.place(), started.as_ref());
        let text = |of: fn(&RunStarted) -> &String| started.map(|s| of(s).clone());
        let number = |of: fn(&RunStarted) -> u64| started.map_or(0, of);
        let left = self.told.clock.left(steps, place).filter(|_| self.state == State::Running);
        Summary {
            id: id.into(),
            directory: resnet::base::text::path(&self.root).to_string(),
            version: self.version,
            reading: self.reading,
            read: self.read,
            state: self.state,
            reason: self.reason(),
            began: self.began,
            arch: text(|s| &s.arch).unwrap_or_default(),
            data: text(|s| &s.data).unwrap_or_default(),
            params: number(|s| s.params),
            batch: number(|s| s.batch),
            step: place.step,
            steps: number(|s| s.steps),
            epoch: place.epoch,
            epochs: number(|s| s.epochs),
            seconds: place.seconds,
            left,
            loss: steps.latest(0),
            train_top1: steps.latest(1),
            lr: steps.latest(2),
            images_per_s: steps.latest(3),
            split: self.told.split.clone(),
            top1: last.map(|e| e.top1).filter(|top1| top1.is_finite()),
            best_top1: self.told.best_top1,
            evaluations: self.told.evaluations.count(),
            looks: self.told.looks.count(),
            predictions: self.told.predictions.count(),
            warnings: self.told.warned,
            asked: self.asked,
            notice: self.notice.clone(),
        }
    }
}

//! The board's routes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{CACHE_CONTROL, HeaderName};
use hyper::{Method, StatusCode};
use tokio::sync::watch;

use super::act::{self, Resume, Resumed};
use super::guard::Guard;
use super::recipes::Recipes;
use super::run::Run;
use super::state::{Changes, Runs};
use super::views::{self, Gradients, Predictions, Wanted};
use super::{detail, stream};
use crate::http::{App, Call, Phase, Refusal, Reply};
use crate::page::board as page;

/// Most bytes of a strip of small pictures.
const PICTURES: u64 = 4 << 20;

/// What a board is made of.
pub(super) struct Site {
    guard: Guard,
    runs: Mutex<Runs>,
    changed: watch::Sender<u64>,
    phase: watch::Receiver<Phase>,
    /// What resumes runs; without it they can be looked at only.
    resume: Option<Resume>,
    children: Mutex<Vec<Resumed>>,
}

impl Site {
    pub(super) fn new(
        guard: Guard,
        runs: Runs,
        resume: Option<Resume>,
        phase: watch::Receiver<Phase>,
    ) -> Site {
        Site {
            guard,
            runs: Mutex::new(runs),
            changed: watch::Sender::new(0),
            phase,
            resume,
            children: Mutex::default(),
        }
    }

    /// All runs. A panic leaves them as whole as any error does.
    pub(super) fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn children(&self) -> MutexGuard<'_, Vec<Resumed>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs that were resumed from here and go on.
    pub(super) fn going_on(&self) -> Vec<String> {
        act::going_on(&mut self.children())
    }

    /// Reads a part of what is new; returns whether there may be more.
    pub(super) fn follow(&self, discover: bool) -> bool {
        let mut runs = self.runs();
        if discover {
            runs.discover();
        }
        act::reap(&mut self.children(), &mut runs);
        runs.follow()
    }

    /// Tells readers that something changed, if it did.
    pub(super) fn announce(&self) {
        let version = self.runs().version();
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    pub(super) fn changes(&self, since: u64) -> Changes {
        self.runs().changes(since, self.resume.is_some())
    }

    async fn answer(self: Arc<Self>, mut call: Call) -> Reply {
        let reply = self.route(&call).unwrap_or_else(Refusal::reply);
        call.discard().await;
        reply
            .with(HeaderName::from_static("x-content-type-options"), "nosniff")
            .with(HeaderName::from_static("cross-origin-resource-policy"), "same-origin")
            .with(HeaderName::from_static("referrer-policy"), "no-referrer")
    }

    fn route(self: &Arc<Self>, call: &Call) -> Result<Reply, Refusal> {
        self.guard.host(call)?;
        if let Some(asset) = page::asset(&call.path) {
            reads(call)?;
            return Ok(asset);
        }
        self.guard.caller(call)?;
        let segments = call.segments()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let reply = match segments[..] {
            ["runs", id, "stop" | "resume"] => self.act(call, id, segments[2])?,
            ["runs"] => read(call, || Ok(Reply::json(&self.changes(0))))?,
            ["events"] => read(call, || Ok(self.stream()))?,
            ["recipes"] => read(call, || Ok(self.recipes()))?,
            ["runs", id, what] => read(call, || self.of_run(call, id, what))?,
            _ => return Err(Refusal::unknown("there is no such address here")),
        };
        Ok(reply.with(CACHE_CONTROL, "no-store"))
    }

    fn of_run(&self, call: &Call, id: &str, what: &str) -> Result<Reply, Refusal> {
        let most = usize::MAX >> 1;
        let number = |name: &str| call.query.number(name, 0..=most).map(|n| n.map(|n| n as u64));
        match what {
            "series" => {
                if let (Some(first), Some(last)) = (number("first")?, number("last")?) {
                    let wanted = self.with(id, |run| detail::Part::of(run, first, last))?;
                    return Ok(Reply::json(&wanted.read()));
                }
                let reading = number("reading")?.unwrap_or(u64::MAX);
                let (from, width) = (number("from")?.unwrap_or(0), number("width")?.unwrap_or(0));
                let series =
                    self.with(id, |run| views::series(run, reading, from as usize, width))?;
                Ok(Reply::json(&series))
            }
            "gradients" => {
                let step = number("step")?;
                let wanted = self.with(id, |run| Wanted::looks(run, step))?;
                Ok(Reply::json(&Gradients::read(&wanted)))
            }
            "predictions" => {
                let wanted = self.with(id, Wanted::predictions)?;
                Ok(Reply::json(&Predictions::read(&wanted)))
            }
            "pictures.png" => {
                let path = self.with(id, |run| run.root.join(resnet::train::PICTURES))?;
                let none = || Refusal::unknown(format!("`{id}` has no small pictures"));
                let length = std::fs::metadata(&path).map_err(|_| none())?.len();
                if length > PICTURES {
                    return Err(none());
                }
                let bytes = std::fs::read(&path).map_err(|_| none())?;
                Ok(Reply::bytes("image/png", bytes))
            }
            _ => Err(Refusal::unknown("there is no such address here")),
        }
    }

    /// Does something with a run.
    fn with<T>(&self, id: &str, work: impl FnOnce(&Run) -> T) -> Result<T, Refusal> {
        match self.runs().runs.get(id) {
            Some(run) => Ok(work(run)),
            None => Err(Refusal::unknown(format!("there is no run `{id}`"))),
        }
    }

    fn recipes(&self) -> Reply {
        let runs = self.runs();
        let roots = runs.runs.iter().map(|(id, run)| (id.clone(), run.root.as_path()));
        Reply::json(&Recipes::read(roots))
    }

    fn stream(self: &Arc<Self>) -> Reply {
        let (sender, reply) = Reply::parts("text/event-stream");
        tokio::spawn(stream::send(self.clone(), sender));
        reply
    }

    fn act(&self, call: &Call, id: &str, what: &str) -> Result<Reply, Refusal> {
        if call.method != Method::POST {
            return Err(Refusal::method(&call.method, "POST"));
        }
        self.guard.origin(call)?;
        let Some(resume) = &self.resume else {
            return Err(Refusal::forbidden("runs can only be looked at on this board"));
        };
        let mut runs = self.runs();
        // What is not yet known of the run must not decide.
        runs.follow();
        match what {
            "stop" => act::stop(&mut runs, id)?,
            _ => self.children().push(act::resume(&mut runs, id, resume)?),
        }
        drop(runs);
        self.announce();
        let mut reply = Reply::json(&serde_json::json!({ "asked": what }));
        reply.status = StatusCode::ACCEPTED;
        Ok(reply)
    }
}

/// Answers a request that only reads.
fn read(call: &Call, answer: impl FnOnce() -> Result<Reply, Refusal>) -> Result<Reply, Refusal> {
    reads(call)?;
    answer()
}

fn reads(call: &Call) -> Result<(), Refusal> {
    match call.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::method(&call.method, "GET")),
    }
}

impl App for Site {
    fn call(self: Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(self.answer(call))
    }
}

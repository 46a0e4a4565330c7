//! What all calls of a server share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::log::Log;
use super::model::Loaded;
use super::models::{Models, Outcome};
use super::options::Options;
use super::queue::Client;
use super::work::{Job, Workshop};
use crate::http::{Call, Refusal};
use crate::wire::{Picture, Seen, Stages};
use resnet::measure::predict::Ask;

/// A server's state.
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) models: Models,
    pub(crate) shop: Workshop,
    pub(crate) log: Log,
    /// Whether it is about to stop.
    pub(crate) stopping: AtomicBool,
    /// Connections that are open.
    pub(crate) open: Arc<AtomicUsize>,
    /// Where loading is asked for.
    pub(crate) loader: mpsc::Sender<Order>,
    /// The next request's number, beginning anywhere.
    ids: AtomicU64,
}

/// What the thread that loads models is to do.
pub(crate) enum Order {
    /// Load a model, or all, also what has not changed, and tell what came of it.
    Load(Option<String>, oneshot::Sender<Outcome>),
    /// End.
    End,
}

/// What pictures are to be found out about, for whom.
pub(crate) struct Batch<'a> {
    pub(crate) model: &'a Arc<Loaded>,
    pub(crate) client: Client,
    pub(crate) ask: Ask,
    pub(crate) top: usize,
    pub(crate) priority: u64,
    /// How long the caller waits, where it says so.
    pub(crate) timeout: Option<Duration>,
}

impl State {
    pub(crate) fn new(
        options: Options,
        models: Models,
        shop: Workshop,
        log: Log,
        loader: mpsc::Sender<Order>,
    ) -> State {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        State {
            options,
            models,
            shop,
            log,
            stopping: AtomicBool::new(false),
            open: Arc::default(),
            loader,
            ids: AtomicU64::new(seed.unwrap_or_default().as_nanos() as u64),
        }
    }

    /// Whether it answers: all models are there, and it is not about to stop.
    pub(crate) fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::SeqCst) && self.models.all_ready()
    }

    /// A name for a request that has none.
    pub(crate) fn next_id(&self) -> String {
        // Numbers one after another, spread over all digits (Knuth, multiplicative hashing).
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Who calls.
    ///
    /// # Errors
    /// There are tokens, and the call has none of them.
    pub(crate) fn client(&self, call: &Call) -> Result<Client, Refusal> {
        match &self.options.tokens {
            None => Ok(Client::Address(call.peer)),
            Some(tokens) => {
                tokens.find(&call.headers).map(Client::Token).ok_or_else(Refusal::unknown_caller)
            }
        }
    }

    /// When a call that may say how long it waits is too late.
    pub(crate) fn deadline(&self, began: Instant, asked: Option<Duration>) -> Instant {
        began + asked.map_or(self.options.timeout, |asked| asked.min(self.options.timeout))
    }

    /// Has the pictures of a call computed. One that is refused does not keep the others from it.
    ///
    /// # Errors
    /// There is no room for them.
    pub(crate) async fn see(
        &self,
        call: &Call,
        batch: Batch<'_>,
        pictures: Vec<(String, Picture)>,
    ) -> Result<Vec<Result<Seen, Refusal>>, Refusal> {
        let arrived = Instant::now();
        let Batch { model, client, ask, top, priority, timeout } = batch;
        let (deadline, share) = (self.deadline(call.began, timeout), call.share());
        let (jobs, answers): (Vec<Job>, Vec<_>) = pictures
            .into_iter()
            .map(|(name, picture)| {
                let (reply, answer) = oneshot::channel();
                let model = model.clone();
                let job = Job {
                    name,
                    picture,
                    model,
                    ask,
                    top,
                    client,
                    priority,
                    arrived,
                    deadline,
                    _share: share.clone(),
                    reply,
                };
                (job, answer)
            })
            .unzip();
        self.shop.queue.push(jobs)?;
        let mut seen = Vec::with_capacity(answers.len());
        for answer in answers {
            let answered = tokio::time::timeout_at(deadline.into(), answer).await;
            seen.push(match answered {
                Ok(Ok(seen)) => seen,
                Ok(Err(_)) => Err(Refusal::fault("a thread that computes has ended")),
                Err(_) => Err(Refusal::late(format!(
                    "there is no answer after {:.3} s, when the deadline passed",
                    arrived.elapsed().as_secs_f64()
                ))),
            });
        }
        Ok(seen)
    }

    /// Has a model, or all, loaded, and waits for what comes of it.
    pub(crate) async fn load(&self, name: Option<&str>) -> Result<Outcome, Refusal> {
        let (send, outcome) = oneshot::channel();
        let gone = || Refusal::busy("stopping", "the server is stopping", Duration::from_secs(1));
        self.loader.send(Order::Load(name.map(String::from), send)).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())
    }
}

/// What errors call a picture of several, counted from 0.
pub(crate) fn place(i: usize) -> String {
    format!("picture {}", i + 1)
}

/// Refuses all pictures where one was refused.
pub(crate) fn none_refused(seen: &[Result<Seen, Refusal>]) -> Result<(), Refusal> {
    seen.iter().try_for_each(|seen| seen.as_ref().map(|_| ()).map_err(Refusal::clone))
}

/// The stages of pictures, summed up.
pub(crate) fn sum(seen: &[Result<Seen, Refusal>]) -> Stages {
    seen.iter().flatten().fold(Stages::default(), |sum, seen| Stages {
        queue: sum.queue + seen.stages.queue,
        decode: sum.decode + seen.stages.decode,
        compute: sum.compute + seen.stages.compute,
    })
}

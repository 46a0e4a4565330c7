//! Training on several ranks: the same bits as one process, whoever computes which shard.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use resnet::data::Memory;
use resnet::ranks::{Calls, Ranks, RanksError, Work, threads};
use resnet::train::event::Event;
use resnet::train::{Flow, Observer, Tick, TrainError};
use resnet::{Shape, Trained, Trainer};

type Changes<'a> = &'a [(&'a str, &'a str)];

/// So many pictures of stripes that lie, stand or are crossed, with noise.
fn pictures(count: usize) -> Memory {
    let pixel = |i: usize, p: usize| {
        let (y, x) = (p / 12, p % 12);
        let stripe = [y / 2 % 2, x / 2 % 2, (x / 2 + y / 2) % 2][i % 3];
        (stripe * 180 + (i * 31 + p * 17) % 60) as u8
    };
    let pixels = (0..count).flat_map(|i| (0..144).map(move |p| pixel(i, p))).collect();
    let labels = (0..count as u32).map(|i| i % 3).collect();
    let classes = ["lying", "standing", "crossed"].map(String::from).to_vec();
    Memory::new("stripes", Shape::new(1, 12, 12), pixels, labels, classes).unwrap()
}

/// A trainer of a small run.
fn trainer<'a>(changes: Changes) -> Trainer<'a> {
    let small = on_pictures(Trainer::new("resnet8"))
        .set("batch", 24)
        .set("steps", 4)
        .set("precision", "f32")
        .set("threads", 1)
        .set("workers", 1)
        .set("eval_every", "2it")
        .set("checkpoint_every", "1it");
    changes.iter().fold(small, |trainer, (key, value)| trainer.set(key, value))
}

fn on_pictures(trainer: Trainer) -> Trainer {
    trainer.data(pictures(110)).evaluate_on(pictures(37))
}

/// Runs `of` on each of so many ranks; what each returned, by rank.
fn on<T: Send + 'static>(
    count: usize,
    of: impl Fn(Arc<dyn Ranks>) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let of = Arc::new(of);
    let each = threads(count).into_iter().map(|ranks| {
        let of = of.clone();
        thread::spawn(move || of(ranks))
    });
    let each: Vec<_> = each.collect();
    each.into_iter().map(|rank| rank.join().unwrap()).collect()
}

/// The tensors of a model as bytes, with their names.
fn bits(trained: &Trained) -> Vec<(String, Vec<u32>)> {
    let entries = trained.model.tensors.entries.iter();
    let numbers = entries.map(|(name, array)| {
        let numbers = array.as_f32().unwrap();
        (name.clone(), numbers.iter().map(|x| x.to_bits()).collect())
    });
    numbers.collect()
}

fn owned(changes: Changes) -> Vec<(String, String)> {
    changes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn apply<'a>(trainer: Trainer<'a>, changes: &[(String, String)]) -> Trainer<'a> {
    changes.iter().fold(trainer, |trainer, (key, value)| trainer.set(key, value))
}

/// Trains on so many ranks, and checks that all end alike.
fn trained(count: usize, changes: Changes) -> Trained {
    let changes = owned(changes);
    let mut each =
        on(count, move |ranks| apply(trainer(&[]), &changes).ranks(ranks).run().unwrap());
    let first = each.remove(0);
    for other in &each {
        assert_eq!(bits(other), bits(&first));
        assert_eq!(other.ended.top1, first.ended.top1);
    }
    first
}

#[test]
fn the_weights_are_the_same_for_any_number_of_ranks() {
    let cases: [(&str, &[usize], Changes); 5] = [
        ("f32", &[2, 4], &[("shards", "4")]),
        ("six shards", &[2, 3], &[("shards", "6"), ("ema", "0.9")]),
        ("bf16", &[2, 4], &[("shards", "4"), ("precision", "bf16")]),
        ("mixed", &[4], &[("shards", "4"), ("mixup", "0.2"), ("class_weights", "balanced")]),
        ("frozen", &[2], &[("shards", "4"), ("freeze", "2it"), ("keep", "best")]),
    ];
    for (what, counts, changes) in cases {
        let alone = trainer(changes).run().unwrap();
        for &count in counts {
            let together = trained(count, changes);
            assert_eq!(bits(&together), bits(&alone), "{what} on {count}");
            let values = |trained: &Trained| trained.evaluation.clone().unwrap().values;
            assert_eq!(values(&together), values(&alone), "{what} on {count}");
        }
    }
    // Shards have statistics of their own: their number is part of the result.
    let of = |shards: &str| bits(&trainer(&[("shards", shards)]).run().unwrap());
    assert_ne!(of("1"), of("4"));
}

#[test]
fn shards_left_open_are_one_for_each_rank() {
    let open = trained(2, &[]);
    assert_eq!(bits(&open), bits(&trainer(&[("shards", "2")]).run().unwrap()));
}

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ranks-{name}"));
    let _ = std::fs::remove_dir_all(&root);
    root
}

/// Stops a run after so many steps.
struct StopAt(u64);

impl Observer for StopAt {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, tick: &Tick) -> Flow {
        if tick.step >= self.0 { Flow::Stop } else { Flow::Go }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    const CHANGES: Changes = &[("shards", "4"), ("steps", "8")];
    let whole = trainer(CHANGES).run().unwrap();
    let root = folder("resume");
    // Any rank may ask; all stop after the same step.
    let out = root.clone();
    let stopped = on(4, move |ranks| {
        let mut observer = StopAt(if ranks.rank() == 2 { 2 } else { 100 });
        let trainer = trainer(CHANGES).out(&out).ranks(ranks).observer(&mut observer);
        trainer.run().unwrap().ended
    });
    let steps: Vec<u64> = stopped.iter().map(|ended| ended.steps).collect();
    assert!(steps.iter().all(|&step| step == steps[0] && step < 8), "{steps:?}");
    let out = root.clone();
    let further = on(2, move |ranks| {
        let mut observer = StopAt(if ranks.rank() == 0 { 5 } else { 100 });
        let trainer = on_pictures(Trainer::resume(&out)).ranks(ranks).observer(&mut observer);
        trainer.run().unwrap().ended
    });
    assert!(further[0].steps > steps[0] && further[0].steps < 8, "{further:?}");
    let ended = on_pictures(Trainer::resume(&root)).run().unwrap();
    assert_eq!(bits(&ended), bits(&whole));
    let events = std::fs::read_to_string(root.join("events.jsonl")).unwrap();
    assert!(events.contains("\"ranks\":4") && events.contains("\"shards\":4"), "{events}");
    // Three ranks have no equal parts of four shards.
    let refused =
        on(3, move |ranks| on_pictures(Trainer::resume(&root)).ranks(ranks).run().unwrap_err());
    let text = refused[0].to_string();
    assert!(text.contains("3 processes cannot share 4 shards evenly"), "{text}");
}

/// Ranks whose messages end after so many sums.
struct Failing {
    ranks: Arc<dyn Ranks>,
    left: Arc<AtomicUsize>,
}

impl Ranks for Failing {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn count(&self) -> usize {
        self.ranks.count()
    }

    fn about(&self) -> String {
        self.ranks.about()
    }

    fn start(&self, work: Work) {
        let left = self.left.clone();
        self.ranks
            .start(Box::new(move |calls| work(&mut FailingCalls { calls, left, began: false })));
    }

    fn set_patience(&self, _: Option<Duration>) {}
}

struct FailingCalls<'a> {
    calls: &'a mut dyn Calls,
    left: Arc<AtomicUsize>,
    /// Whether this work has begun a sum, which then comes to its end.
    began: bool,
}

impl Calls for FailingCalls<'_> {
    fn all_to_all(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => {
                self.began = true;
                self.calls.all_to_all(send, recv)
            }
            Err(_) => Err(RanksError::Lost("a cable was pulled".into())),
        }
    }

    fn all_gather(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        match self.left.load(Ordering::Relaxed) {
            0 if !self.began => Err(RanksError::Lost("a cable was pulled".into())),
            _ => self.calls.all_gather(send, recv),
        }
    }

    fn all_gather_bytes(&mut self, send: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        self.calls.all_gather_bytes(send)
    }
}

#[test]
fn who_loses_others_saves_and_the_run_goes_on_from_there() {
    const CHANGES: Changes = &[("shards", "2"), ("steps", "7"), ("checkpoint_every", "100it")];
    let whole = trainer(CHANGES).run().unwrap();
    // In a step, and in the evaluation after step 2.
    for (sums, at) in [(None, 1..7), (Some(2), 2..3)] {
        let root = folder(&format!("lost-{}", sums.is_some()));
        let out = root.clone();
        let errors = on(2, move |ranks| {
            let step = trainer(CHANGES).set("steps", 1);
            let counted = Arc::new(AtomicUsize::new(usize::MAX));
            let counting = Failing { ranks: ranks.clone(), left: counted.clone() };
            step.ranks(Arc::new(counting)).run().unwrap();
            let each = usize::MAX - counted.load(Ordering::Relaxed);
            let left = sums.map_or(each * 5 / 2, |steps| each * steps);
            let ranks = Failing { ranks, left: Arc::new(AtomicUsize::new(left)) };
            trainer(CHANGES).out(&out).ranks(Arc::new(ranks)).run().unwrap_err().to_string()
        });
        assert!(errors.iter().all(|error| error.contains("a cable was pulled")), "{errors:?}");
        let (_, after) = errors[0].split_once("saved after step ").unwrap();
        let step: u64 = after.split(' ').next().unwrap().parse().unwrap();
        assert!(at.contains(&step), "{errors:?}");
        let ended = on_pictures(Trainer::resume(&root)).run().unwrap();
        assert_eq!(bits(&ended), bits(&whole));
    }
}

#[test]
fn one_rank_alone_is_one_process() {
    let mut observer = StopAt(2);
    let alone = threads(1).remove(0);
    let stopped = trainer(&[]).ranks(alone).observer(&mut observer).run().unwrap();
    assert_eq!((stopped.interrupted(), stopped.ended.steps), (true, 2));
}

#[test]
fn what_ranks_do_not_have_in_common_is_refused() {
    let errors = on(3, |ranks| {
        let seed = if ranks.rank() == 2 { 8 } else { 7 };
        trainer(&[("shards", "3")]).set("seed", seed).ranks(ranks).run().unwrap_err()
    });
    for error in errors {
        let text = error.to_string();
        assert!(text.starts_with("rank 2 on "), "{text}");
        assert!(text.contains("another recipe") && text.contains("seed = 8"), "{text}");
    }
    // What one cannot do, none does; each is told by whom.
    let errors = on(2, |ranks| {
        let source = if ranks.rank() == 1 { "folder:not-there" } else { "builtin" };
        let trainer = Trainer::new("resnet8").set("steps", 1).set("data.source", source);
        trainer.ranks(ranks).run().unwrap_err()
    });
    for error in errors {
        assert!(matches!(&error, TrainError::Ranks(_)), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("rank 1 on ") && text.contains("not-there"), "{text}");
    }
}

#[test]
fn divergence_is_told_by_all_with_the_layer() {
    let errors = on(2, |ranks| {
        trainer(&[("shards", "2"), ("lr", "1000"), ("norm", "none"), ("steps", "60")])
            .set("warmup", "0it")
            .ranks(ranks)
            .run()
            .unwrap_err()
    });
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("diverged at step") && texts[0].contains("not finite"), "{texts:?}");
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn a_batch_that_has_no_equal_shards_is_refused() {
    let error = trainer(&[("shards", "5")]).run().unwrap_err().to_string();
    assert!(error.contains("a batch of 24") && error.contains("20 or 25"), "{error}");
    let error = trainer(&[("shards", "2"), ("accumulate", "2")]).run().unwrap_err().to_string();
    assert!(error.contains("train.accumulate"), "{error}");
}

//! The events there are.

use serde::{Deserialize, Serialize};

use crate::measure::probe::Measurement;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Training begins; once a run, also when it is resumed later, unless with another budget.
    RunStarted(Box<RunStarted>),
    /// A training step, or the last of several that are told of together.
    Step(Step),
    /// The network was evaluated.
    Evaluated(Evaluated),
    /// What the evaluated network takes a few pictures for.
    Predicted(Predicted),
    /// The network was looked into.
    Monitored(Monitored),
    /// A checkpoint is on disk.
    Saved {
        /// Its path inside the run directory.
        path: String,
        /// Steps done when it was made.
        step: u64,
    },
    /// Something that was planned begins, such as a phase.
    Entered {
        /// What changes, in a sentence.
        message: String,
        /// The first step of it, or the last before it.
        step: u64,
    },
    /// Something that the user should know.
    Warned {
        /// What, and what to do.
        message: String,
        /// Steps done by then.
        step: u64,
    },
    /// Training ended.
    RunEnded(RunEnded),
}

impl Event {
    /// Steps done when it happened; 0 before training, `None` for the end of a run, which no
    /// checkpoint comes after.
    pub fn step(&self) -> Option<u64> {
        match self {
            Event::RunStarted(_) => Some(0),
            Event::Step(step) => Some(step.step),
            Event::Evaluated(evaluated) => Some(evaluated.step),
            Event::Predicted(predicted) => Some(predicted.step),
            Event::Monitored(monitored) => Some(monitored.step),
            Event::Saved { step, .. }
            | Event::Entered { step, .. }
            | Event::Warned { step, .. } => Some(*step),
            Event::RunEnded(_) => None,
        }
    }
}

/// What a run is about to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The network, options included.
    pub arch: String,
    /// Its learned numbers.
    pub params: u64,
    /// Multiply-accumulates for one image, forward.
    pub macs: u64,
    /// The data's source.
    pub data: String,
    /// Images it learns from.
    pub train_images: u64,
    /// Images it is evaluated on.
    pub test_images: u64,
    /// Passes over the training images, the last one perhaps cut short by the step budget.
    pub epochs: u64,
    /// Steps.
    pub steps: u64,
    /// Images a step.
    pub batch: u64,
    /// The seed of all randomness.
    pub seed: u64,
    /// Threads that compute.
    pub threads: u64,
    /// The instruction set that the kernels use.
    pub isa: String,
    /// Classes that it tells apart; 0 in logs that do not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub classes: u64,
    /// The model that it starts from; empty for random weights.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// What its steps cost, where that changes on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pace: Vec<Pace>,
    /// How maps are stored: `f32` or `bf16`.
    #[serde(default = "f32_name")]
    pub precision: String,
    /// Why, where that was left to this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision_why: Option<String>,
    /// What computes: `cpu`, or what the GPU is called.
    #[serde(default = "cpu_name", skip_serializing_if = "is_cpu")]
    pub device: String,
    /// Why, where there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_why: Option<String>,
    /// How pictures of different sizes become inputs of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<String>,
    /// Processes that train it together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: u64,
    /// What carries their messages, where there are several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub carrier: String,
    /// Shards of a batch.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: u64,
    /// The run directory.
    pub out: String,
}

/// About what a step costs from some step on, next to others of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The first such step, the run's first being 0.
    pub from: u64,
    /// The cost: of an image forward is 1, of all three passes 3.
    pub cost: f64,
}

/// For logs that do not say what computed.
fn cpu_name() -> String {
    "cpu".into()
}

/// For fields that are left out.
fn is_cpu(name: &String) -> bool {
    name == "cpu"
}

/// For fields that are left out.
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// For fields that are left out at 1.
fn is_one(n: &u64) -> bool {
    *n == 1
}

/// What such fields are then.
fn one() -> u64 {
    1
}

/// The precision of runs that do not say.
fn f32_name() -> String {
    "f32".into()
}

/// Progress of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Steps done.
    pub step: u64,
    /// The epoch this step belongs to; the first is 1.
    pub epoch: u64,
    /// Mean loss since the last such event.
    #[serde(with = "crate::base::number")]
    pub loss: f64,
    /// Top-1 accuracy of the steps since the last such event, on augmented images.
    #[serde(with = "crate::base::number", default = "crate::base::number::none")]
    pub top1: f64,
    /// The learning rate of this step.
    #[serde(with = "crate::base::number")]
    pub lr: f64,
    /// Images trained per second since the last such event.
    #[serde(with = "crate::base::number")]
    pub images_per_s: f64,
    /// Fraction of that time spent waiting for images.
    #[serde(with = "crate::base::number")]
    pub wait: f64,
    /// Fraction of that time spent waiting for the other processes of the run, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<f64>,
}

/// The outcome of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Epochs done, the last perhaps cut short.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// The part of the data: `val` or `test`.
    pub split: String,
    /// Its images.
    pub count: u64,
    /// Top-1 accuracy, a fraction.
    #[serde(with = "crate::base::number")]
    pub top1: f64,
    /// Top-5 accuracy, a fraction.
    #[serde(with = "crate::base::number")]
    pub top5: f64,
    /// Mean cross-entropy.
    #[serde(with = "crate::base::number")]
    pub loss: f64,
    /// Mean loss of the training steps since the last evaluation, label smoothing included.
    #[serde(with = "crate::base::number")]
    pub train_loss: f64,
    /// Top-1 accuracy of those steps, on augmented images.
    #[serde(with = "crate::base::number")]
    pub train_top1: f64,
    /// The learning rate of the last step.
    #[serde(with = "crate::base::number")]
    pub lr: f64,
    /// Seconds since training began, earlier parts of a resumed run included.
    #[serde(with = "crate::base::number")]
    pub seconds: f64,
}

/// What the network takes a few pictures for, always the same ones of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Steps done.
    pub step: u64,
    /// The part of the data that they are of: `val` or `test`.
    pub split: String,
    /// The pictures; one that cannot be read is not among them.
    pub pictures: Vec<PredictedPicture>,
}

/// What the network takes a picture for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedPicture {
    /// Its place in the strip of small pictures that the run directory holds, the first being 0.
    pub place: usize,
    /// Its index in the data.
    pub index: u32,
    /// The name of its class.
    pub label: String,
    /// Names of the likeliest classes, three at most, with their probabilities to four decimals,
    /// the likeliest first; none if the network's outputs were not numbers.
    pub top: Vec<(String, f64)>,
}

/// What a look into the network found, always at the same training pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitored {
    /// Steps done; 0 before training.
    pub step: u64,
    /// Pictures looked at.
    pub pictures: u64,
    /// What was measured.
    #[serde(flatten)]
    pub measurement: Measurement,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnded {
    /// Top-1 accuracy of the last evaluation, a fraction; `null` before any.
    pub top1: Option<f64>,
    /// Top-5 accuracy of the last evaluation, a fraction.
    pub top5: Option<f64>,
    /// The best top-1 accuracy of the run.
    pub best_top1: Option<f64>,
    /// Seconds since training began, earlier parts of a resumed run included.
    #[serde(with = "crate::base::number")]
    pub seconds: f64,
    /// The model's file; `null` if the run ended without one.
    pub model: Option<String>,
    /// Steps done when the model's weights were the best, where they are not the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_step: Option<u64>,
    /// Evaluations without a better top-1 after which the run ended before its budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_spent: Option<u64>,
    /// Steps done.
    pub steps: u64,
    /// Why the run ended before its budget; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn step(step: u64) -> Event {
        Event::Step(Step {
            step,
            epoch: 1 + step / 10,
            loss: 2.25,
            top1: 0.25,
            lr: 0.1,
            images_per_s: 512.5,
            wait: 0.015625,
            sync: None,
        })
    }

    pub(crate) fn evaluated(step: u64) -> Event {
        Event::Evaluated(Evaluated {
            epoch: step / 10,
            step,
            split: "test".into(),
            count: 2000,
            top1: 0.875,
            top5: 0.984375,
            loss: 0.5,
            train_loss: 0.75,
            train_top1: 0.8125,
            lr: 0.1,
            seconds: 12.5,
        })
    }

    pub(crate) fn predicted(step: u64) -> Event {
        let top = vec![("dog".into(), 0.75), ("cat".into(), 0.25)];
        let picture = PredictedPicture { place: 0, index: 125, label: "cat".into(), top };
        Event::Predicted(Predicted { step, split: "test".into(), pictures: vec![picture] })
    }

    pub(crate) fn ended(steps: u64) -> Event {
        Event::RunEnded(RunEnded {
            top1: Some(0.875),
            top5: Some(0.984375),
            best_top1: Some(0.875),
            seconds: 25.0,
            model: Some("model.safetensors".into()),
            kept_step: None,
            patience_spent: None,
            steps,
            stopped: None,
        })
    }

    pub(crate) fn started() -> Event {
        Event::RunStarted(Box::new(RunStarted {
            arch: "resnet20".into(),
            params: 269_722,
            macs: 31_000_000,
            data: "builtin".into(),
            train_images: 12_000,
            test_images: 2_000,
            epochs: 5,
            steps: 940,
            batch: 64,
            seed: 1,
            threads: 2,
            isa: "avx2".into(),
            classes: 0,
            start: String::new(),
            pace: Vec::new(),
            precision: "f32".into(),
            precision_why: None,
            device: "cpu".into(),
            device_why: None,
            sizes: None,
            ranks: 1,
            carrier: String::new(),
            shards: 1,
            out: "runs/1".into(),
        }))
    }

    #[test]
    fn the_cpu_needs_no_words_and_a_gpu_is_named() {
        let Event::RunStarted(mut run) = started() else { panic!("not a start") };
        let plain = serde_json::to_string(&run).unwrap();
        assert!(!plain.contains("device"), "{plain}");
        assert_eq!(serde_json::from_str::<RunStarted>(&plain).unwrap(), *run);
        run.device = "Fake 9".into();
        run.device_why = Some("it is there".into());
        let named = serde_json::to_string(&run).unwrap();
        assert!(named.contains(r#""device":"Fake 9","device_why":"it is there""#), "{named}");
        assert_eq!(serde_json::from_str::<RunStarted>(&named).unwrap(), *run);
    }

    #[test]
    fn the_json_is_this() {
        let cases = [
            (
                started(),
                r#"{"event":"run_started","arch":"resnet20","params":269722,"macs":31000000,"data":"builtin","train_images":12000,"test_images":2000,"epochs":5,"steps":940,"batch":64,"seed":1,"threads":2,"isa":"avx2","precision":"f32","out":"runs/1"}"#,
            ),
            (
                step(10),
                r#"{"event":"step","step":10,"epoch":2,"loss":2.25,"top1":0.25,"lr":0.1,"images_per_s":512.5,"wait":0.015625}"#,
            ),
            (
                evaluated(20),
                r#"{"event":"evaluated","epoch":2,"step":20,"split":"test","count":2000,"top1":0.875,"top5":0.984375,"loss":0.5,"train_loss":0.75,"train_top1":0.8125,"lr":0.1,"seconds":12.5}"#,
            ),
            (
                predicted(20),
                r#"{"event":"predicted","step":20,"split":"test","pictures":[{"place":0,"index":125,"label":"cat","top":[["dog",0.75],["cat",0.25]]}]}"#,
            ),
            (
                Event::Saved { path: "checkpoints/last.safetensors".into(), step: 20 },
                r#"{"event":"saved","path":"checkpoints/last.safetensors","step":20}"#,
            ),
            (
                Event::Entered { message: "all layers are trained".into(), step: 5 },
                r#"{"event":"entered","message":"all layers are trained","step":5}"#,
            ),
            (
                Event::Warned { message: "a \"quoted\"\nline".into(), step: 0 },
                r#"{"event":"warned","message":"a \"quoted\"\nline","step":0}"#,
            ),
            (
                ended(940),
                r#"{"event":"run_ended","top1":0.875,"top5":0.984375,"best_top1":0.875,"seconds":25.0,"model":"model.safetensors","steps":940}"#,
            ),
        ];
        for (event, json) in cases {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        for loss in [f64::NAN, f64::INFINITY] {
            let Event::Step(step) = step(1) else { unreachable!() };
            let json = serde_json::to_string(&Event::Step(Step { loss, ..step })).unwrap();
            assert!(json.contains(r#""loss":null"#), "{json}");
            match serde_json::from_str(&json).unwrap() {
                Event::Step(step) => assert!(step.loss.is_nan()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_run_that_stopped_early_says_why() {
        let stopped = RunEnded {
            top1: None,
            top5: None,
            best_top1: None,
            seconds: 1.0,
            model: None,
            kept_step: None,
            patience_spent: None,
            steps: 3,
            stopped: Some("interrupted".into()),
        };
        let json = serde_json::to_string(&Event::RunEnded(stopped)).unwrap();
        assert_eq!(
            json,
            r#"{"event":"run_ended","top1":null,"top5":null,"best_top1":null,"seconds":1.0,"model":null,"steps":3,"stopped":"interrupted"}"#
        );
    }
}

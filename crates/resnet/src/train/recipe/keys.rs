//! Every key of a recipe: one row a key. The structs, the TOML, the overrides, the errors and the
//! help come from the rows.
//!
//! A row is `name: type, "range in words", range as code, "help";`. A key without a range has `""`
//! and `any`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::phase::Phase;
use super::value::{
    BadFiles, ClassWeights, Field, Keep, Normalize, Precision, Sampling, Setting, UpdateRule,
};
use crate::data;
use crate::device::Wanted;
use crate::net::{ArchOption, OPTIONS};
use crate::train::schedule::{Course, Duration};
use toml::Value;

/// A key of a recipe.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its section and name, `train.batch`.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    access: Access,
}

/// Where a key's value is.
#[derive(Clone, Copy)]
enum Access {
    Field {
        kind: fn() -> String,
        range: &'static str,
        set: fn(&mut Recipe, &Value) -> Option<()>,
        get: fn(&Recipe) -> Value,
    },
    /// Among the options of the network.
    Network(&'static ArchOption),
}

impl Key {
    /// The values it takes, in words.
    pub fn expected(&self) -> String {
        match &self.access {
            Access::Field { kind, range, .. } => {
                format!("{} {range}", kind()).trim_end().to_owned()
            }
            Access::Network(option) => format!("`auto` or {}", option.values),
        }
    }

    /// Its value in a recipe, as TOML.
    pub fn value(&self, recipe: &Recipe) -> String {
        self.get(recipe).to_string()
    }

    /// The part of its name before the dot.
    pub(crate) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part of its name after the dot.
    pub(crate) fn last(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, last)| last)
    }

    /// Sets it; `None` where the value is of another kind or out of range.
    pub(super) fn set(&self, recipe: &mut Recipe, value: &Value) -> Option<()> {
        match &self.access {
            Access::Field { set, .. } => {
                set(recipe, value)?;
                // A recipe is written and shown in many places; a signature belongs in none.
                recipe.data.source = data::without_secrets(&recipe.data.source).into_owned();
                Some(())
            }
            Access::Network(option) => {
                match <Option<Setting> as Field>::parse(value)? {
                    Some(setting) => recipe.network.insert(option.key, setting),
                    None => recipe.network.remove(option.key),
                };
                Some(())
            }
        }
    }

    pub(super) fn get(&self, recipe: &Recipe) -> Value {
        match &self.access {
            Access::Field { get, .. } => get(recipe),
            Access::Network(option) => recipe.network.get(option.key).cloned().write(),
        }
    }
}

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident: $type:ident {
        $($key:ident: $kind:ty, $range:literal, $accepts:expr, $help:literal;)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $type { $(#[doc = $help] pub $key: $kind,)* }
        )*

        /// How to train a network: every choice, with its value.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Recipe {
            $($(#[$doc])* pub $section: $type,)*
            /// `[model]`: options of the network that are set, by the names in
            /// [`OPTIONS`]; any other is as the network's name says.
            pub network: BTreeMap<&'static str, Setting>,
            /// `[[phase]]`: parts of the run that differ from the rest, in order.
            pub phase: Vec<Phase>,
            /// Whether `train.batch` is nobody's wish, but a built-in recipe's or one that was
            /// chosen for the data: fewer images than that make it smaller.
            pub batch_follows: Follows,
        }

        impl Recipe {
            pub(super) fn blank() -> Recipe {
                Recipe {
                    $($section: $type { $($key: <$kind as Field>::blank(),)* },)*
                    network: BTreeMap::new(),
                    phase: Vec::new(),
                    batch_follows: Follows(true),
                }
            }
        }

        /// The keys that are fields of [`Recipe`].
        const FIELDS: &[Key] = &[$($(
            Key {
                name: concat!(stringify!($section), ".", stringify!($key)),
                help: $help,
                access: Access::Field {
                    kind: <$kind as Field>::kind,
                    range: $range,
                    set: |recipe, value| {
                        let accepts: fn(&$kind) -> bool = $accepts;
                        let value = <$kind as Field>::parse(value)?;
                        if !accepts(&value) {
                            return None;
                        }
                        recipe.$section.$key = value;
                        Some(())
                    },
                    get: |recipe| recipe.$section.$key.write(),
                },
            },
        )*)*];
    };
}

/// Whether a value gives way to the data. It says where the value came from and is no part of it:
/// recipes that differ in this alone are equal.
#[derive(Clone, Copy, Debug)]
pub struct Follows(pub bool);

impl PartialEq for Follows {
    fn eq(&self, _: &Follows) -> bool {
        true
    }
}

/// Every key, in the order of `config.toml`: the network's options behind its name.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let options = OPTIONS.iter().map(|option| Key {
        name: format!("model.{}", option.key).leak(),
        help: sentence(option.help).leak(),
        access: Access::Network(option),
    });
    let (model, rest): (Vec<&Key>, Vec<&Key>) =
        FIELDS.iter().partition(|key| key.section() == "model");
    let before = model.into_iter().copied();
    before.chain(options).chain(rest.into_iter().copied()).chain([PHASE]).collect()
});

/// A phrase as a sentence.
fn sentence(phrase: &str) -> String {
    let (first, rest) = phrase.split_at(phrase.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

/// The key of all phases; it has no section, and is written as `[[phase]]`.
const PHASE: Key = Key {
    name: "phase",
    help: "Changes in the course of a run, each `from` some point on: the `side` of the square that \
           the network sees (small pictures first are faster), images a `batch`, a factor on the \
           rate (`lr`), whether only the last layer is trained (`freeze`). One that changes side or \
           batch begins with the epoch nearest to its `from`.",
    access: Access::Field {
        kind: <Vec<Phase> as Field>::kind,
        range: "",
        set: |recipe, value| {
            recipe.phase = Field::parse(value)?;
            Some(())
        },
        get: |recipe| recipe.phase.write(),
    },
};

fn any<T>(_: &T) -> bool {
    true
}

sections! {
    /// `[model]`: the network.
    model: Model {
        arch: String, "", |text| !text.is_empty(),
            "The network's name. Options may follow a colon: `resnet20:shortcut=B`; `auto` leaves one as the name says.";
        start: String, "", any,
            "A model file that training starts from; it decides the network and its normalising. Empty: random weights. For other classes than the file's, the last layer starts at zero.";
    }
    /// `[data]`: the images.
    data: Data {
        source: String, "", any,
            "`builtin`, `cifar10:DIR`, `cifar100:DIR`, `mnist:DIR`, `folder:DIR`, `list:FILE`, `tar:PLACE`, `zip:PLACE`, or a bare folder or file whose kind is recognised.";
        val_fraction: f64, "above 0 and below 1", |x| *x > 0.0 && *x < 1.0,
            "The part of the training images held out for evaluation when the data has no second split.";
        bad_files: BadFiles, "", any, "What happens to an image that cannot be read; it is named either way.";
        resize: Option<usize>, "from 0 to 4096", |x| x.is_none_or(|x| x <= 4096),
            "The length that an image's shorter side is brought to, in pixels; 0 leaves images as they are. `auto` does so for images of one size, and takes 8/7 of `crop` for others.";
        crop: Option<usize>, "from 0 to 4096", |x| x.is_none_or(|x| x <= 4096),
            "The side of the square that the network sees, in pixels, cut from the middle for evaluation; 0 takes the whole image. `auto` does so for images of one size, and takes 224 (or 7/8 of `resize`) for others.";
        sampling: Sampling, "", any,
            "`natural` takes each training image once an epoch; `balanced` takes every class equally often, images of rare classes several times.";
    }
    /// `[augment]`: how training images are varied.
    augment: Augment {
        pad: Option<usize>, "from 0 to 256", |x| x.is_none_or(|x| x <= 256),
            "Pixels of black rim before a crop of the old size at a random place; 0 does neither. `auto` is an eighth of the side for images of one size, 0 for others.";
        flip: bool, "", any, "Whether every second image is mirrored left to right; wrong for digits and letters.";
        random_resized_crop: Option<bool>, "", any,
            "Whether a random part of random shape is scaled to the crop. `auto` does so for images of different sizes.";
        least_area: f64, "above 0, at most 1", |x| *x > 0.0 && *x <= 1.0,
            "The smallest part of an image that `random_resized_crop` takes.";
        mixup: f64, "from 0 to 100", |x| (0.0..=100.0).contains(x),
            "Mixes pairs of images and their labels in proportions drawn from Beta(mixup, mixup) (Zhang et al. 2018); 0 does not.";
        normalize: Normalize, "", any, "How images are brought to mean zero.";
    }
    /// `[train]`: the budget and the machine.
    train: Train {
        epochs: Option<u64>, "from 1 to 1000000", |x| x.is_none_or(|x| (1..=1_000_000).contains(&x)),
            "The budget in passes over the training images. Setting it unsets `steps`.";
        steps: Option<u64>, "from 1 to 1000000000000", |x| x.is_none_or(|x| (1..=1_000_000_000_000).contains(&x)),
            "The budget in steps. Setting it unsets `epochs`.";
        batch: usize, "from 1 to 65536", |x| (1..=65_536).contains(x), "Images a batch.";
        accumulate: usize, "from 1 to 4096", |x| (1..=4096).contains(x),
            "Batches a step: their gradients are averaged before the weights change, as if the batch were that much larger, in the memory of one.";
        shards: Option<usize>, "from 1 to 65536", |x| x.is_none_or(|x| (1..=65_536).contains(&x)),
            "Equal parts of a batch that have batch norms and a gradient of their own; processes share them evenly. Results depend on it, not on how many processes there are. `auto` is one for each process.";
        label_smoothing: f64, "from 0 to below 1", |x| (0.0..1.0).contains(x),
            "The part of a label's weight that is spread over all classes.";
        class_weights: ClassWeights, "", any,
            "`balanced` weighs the loss of each image by the inverse of its class's share of the training images.";
        ema: f64, "from 0 to below 1", |x| (0.0..1.0).contains(x),
            "The part of a running average of the weights that stays at each step; the average is evaluated and saved. 0 keeps none.";
        freeze: Duration, "", any,
            "How long, from the start, only the last layer is trained; all before it takes part as in inference.";
        freeze_norm: bool, "", any, "Whether batch norms keep their statistics, gamma and beta throughout.";
        seed: u64, "from 0 to 9223372036854775807", |x| i64::try_from(*x).is_ok(), "The seed of all randomness.";
        precision: Precision, "", any, "How maps and their gradients are stored: `bf16` takes half the memory; sums, weights and updates are f32 either way. `auto` is what is faster here.";
        workers: Option<usize>, "from 0 to 1024", |x| x.is_none_or(|x| x <= 1024),
            "Threads that prepare images; 0 prepares them between steps. Results do not depend on it.";
        threads: usize, "from 0 to 1024", |x| *x <= 1024,
            "Threads that compute; 0 is one for each fast core. Results do not depend on it.";
        device: Wanted, "", any,
            "What computes: `cpu`; `gpu`, or one of several by number or name, `gpu:1`; `auto` is a GPU that is faster than the CPU, where there is one. Last digits depend on it.";
        checkpoint_every: Duration, "above 0", |x| !x.is_zero(),
            "How far apart checkpoints are; a killed run loses at most this.";
        eval_every: Duration, "above 0", |x| !x.is_zero(),
            "How far apart evaluations are; the last step is always followed by one.";
        keep: Keep, "", any,
            "The weights that the run leaves: of its `best` evaluation by top-1, or its `last`; `auto` is `best` with a validation split, `last` with a test split, which must not choose.";
        patience: u64, "from 0 to 1000000", |x| *x <= 1_000_000,
            "Evaluations without a better top-1 after which the run ends; 0 spends the whole budget.";
        monitor_every: Option<Duration>, "", any,
            "How far apart looks at the gradients and responses of every layer are; `0it` never looks, `auto` looks at the start, at the end, and between them as often as 2 % of the time allows.";
    }
    /// `[optimizer]`: stochastic gradient descent, in PyTorch's form: v = momentum v + g, w = w -
    /// lr v; or LARS: v = momentum v + lr local g, w = w - v.
    optimizer: Optimizer {
        rule: UpdateRule, "", any,
            "How weights change: `sgd`, or `lars`, which fits the rate to the lengths of each weight matrix and of its gradient, for very large batches (You et al. 2017); norms and biases take `lr` as it is.";
        lr: f64, "above 0, at most 1000", |x| *x > 0.0 && *x <= 1000.0, "The base learning rate.";
        momentum: f64, "from 0 to below 1", |x| (0.0..1.0).contains(x), "The part of the last update that stays.";
        nesterov: bool, "", any, "Whether the gradient is taken ahead: w = w - lr (g + momentum v).";
        trust: f64, "above 0, at most 1", |x| *x > 0.0 && *x <= 1.0, "For `lars`: the part of its length that a weight matrix moves at a rate of 1.";
        weight_decay: f64, "from 0 to 1", |x| (0.0..=1.0).contains(x), "The factor of the weights that is added to their gradient.";
        decay_norm_bias: bool, "", any, "Whether gamma, beta and biases decay as well.";
        backbone_lr: f64, "from 0 to 1", |x| (0.0..=1.0).contains(x), "Factor on the learning rate of all layers before the last.";
        stage_lr: f64, "from 0 to 1", |x| (0.0..=1.0).contains(x),
            "A further factor for each stage between a layer and the last stage, so that early ones change less.";
    }
    /// `[schedule]`: the learning rate's course.
    schedule: ScheduleKeys {
        kind: Course, "", any, "The course after warm-up.";
        milestones: Vec<Duration>, "of at most 1000", |list| list.len() <= 1000,
            "For `step`: when the rate is multiplied by `gamma`. Percentages follow the budget when it changes.";
        gamma: f64, "above 0, at most 1", |x| *x > 0.0 && *x <= 1.0, "For `step`: the factor at each milestone.";
        warmup: Duration, "", any, "How long the rate rises in a line from `warmup_lr` to `lr`; `0it` starts with `lr`.";
        warmup_lr: f64, "from 0 to 1000", |x| (0.0..=1000.0).contains(x),
            "Where the rise starts; with `warmup_until_train_error`, the rate until then.";
        warmup_until_train_error: f64, "from 0 to 1", |x| (0.0..=1.0).contains(x),
            "The rate stays at `warmup_lr` until the training error is below this fraction; 0 turns it off.";
        warmup_min_depth: usize, "of at least 0", any,
            "`warmup_until_train_error` counts only for networks of at least this many layers.";
    }
}

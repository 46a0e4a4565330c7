//! The types that recipe keys have, each with its reading and writing as TOML.

use crate::device::Wanted;
use crate::train::schedule::{Course, Duration};
use resnet_engine::step;
use toml::Value;

/// A key's type.
pub(super) trait Field: Sized {
    /// What a value looks like, for errors: "an integer".
    fn kind() -> String;

    /// Some value, before a recipe sets it.
    fn blank() -> Self;

    /// Reads a value.
    fn parse(value: &Value) -> Option<Self>;

    /// Writes a value that [`Field::parse`] reads.
    fn write(&self) -> Value;
}

/// Stands for a value that is chosen from the data or the network.
pub(super) const AUTO: &str = "auto";

/// An option of a network, handed to it as text; numbers and booleans become text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting(pub String);

/// Gives an enum without fields its texts.
macro_rules! named {
    ($type:ident { $first:ident = $first_text:literal $(, $choice:ident = $text:literal)* $(,)? }) => {
        impl Field for $type {
            fn kind() -> String {
                [concat!("`", $first_text, "`") $(, concat!("`", $text, "`"))*].join(" or ")
            }

            fn blank() -> $type {
                $type::$first
            }

            fn parse(value: &Value) -> Option<$type> {
                match value.as_str() {
                    Some($first_text) => Some($type::$first),
                    $(Some($text) => Some($type::$choice),)*
                    _ => None,
                }
            }

            fn write(&self) -> Value {
                Value::from(match self {
                    $type::$first => $first_text,
                    $($type::$choice => $text,)*
                })
            }
        }
    };
}

/// How maps and their gradients are stored, and what convolutions multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Their upper halves, which the fastest kernels multiply so; sums, weights and their updates
    /// stay 32-bit floats.
    Bf16,
    /// Whichever is faster on this machine.
    Auto,
}

impl Precision {
    /// What is asked for; `None` leaves it to the machine.
    pub fn asked(self) -> Option<step::Precision> {
        match self {
            Precision::F32 => Some(step::Precision::F32),
            Precision::Bf16 => Some(step::Precision::Bf16),
            Precision::Auto => None,
        }
    }
}

impl From<step::Precision> for Precision {
    fn from(precision: step::Precision) -> Precision {
        match precision {
            step::Precision::F32 => Precision::F32,
            step::Precision::Bf16 => Precision::Bf16,
        }
    }
}

named! { Precision { F32 = "f32", Bf16 = "bf16", Auto = "auto" } }

/// What happens to an image that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFiles {
    /// It is told of by name and left out.
    Skip,
    /// It is told of by name and nothing is trained.
    Refuse,
}

named! { BadFiles { Skip = "skip", Refuse = "refuse" } }

/// Which weights a run leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The best where they are chosen on a validation split, the last where all there is is a test
    /// split, whose pictures must not choose.
    Auto,
    /// Those of the evaluation with the highest top-1, of several the first.
    Best,
    /// Those after the last step.
    Last,
}

named! { Keep { Auto = "auto", Best = "best", Last = "last" } }

/// How images are brought to mean zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// Mean and standard deviation of each channel.
    Channel,
    /// The mean image is subtracted, as in He et al. 2015.
    Pixel,
}

named! { Normalize { Channel = "channel", Pixel = "pixel" } }

/// How often each class is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// As often as the data has images of it.
    Natural,
    /// As often as every other.
    Balanced,
}

named! { Sampling { Natural = "natural", Balanced = "balanced" } }

/// How much an image's loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassWeights {
    /// As much as any other's.
    None,
    /// In inverse proportion to its class's images.
    Balanced,
}

named! { ClassWeights { None = "none", Balanced = "balanced" } }

/// How a gradient changes its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateRule {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// The same with a rate that is fitted to each weight matrix (You, Gitman & Ginsburg 2017).
    Lars,
}

named! { UpdateRule { Sgd = "sgd", Lars = "lars" } }

named! { Course { Step = "step", Cosine = "cosine", Constant = "constant", Linear = "linear" } }

macro_rules! integers {
    ($($type:ident),*) => { $(
        impl Field for $type {
            fn kind() -> String {
                "an integer".into()
            }

            fn blank() -> $type {
                0
            }

            fn parse(value: &Value) -> Option<$type> {
                let integer = value.as_integer()?;
                $type::try_from(integer).ok()
            }

            fn write(&self) -> Value {
                // Ranges of keys end at i64::MAX or before: TOML has no larger integers.
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )* };
}

integers!(u64, usize);

impl Field for f64 {
    fn kind() -> String {
        "a number".into()
    }

    fn blank() -> f64 {
        0.0
    }

    fn parse(value: &Value) -> Option<f64> {
        match value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }

    fn write(&self) -> Value {
        Value::Float(*self)
    }
}

impl Field for bool {
    fn kind() -> String {
        "`true` or `false`".into()
    }

    fn blank() -> bool {
        false
    }

    fn parse(value: &Value) -> Option<bool> {
        value.as_bool()
    }

    fn write(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl Field for String {
    fn kind() -> String {
        "a text".into()
    }

    fn blank() -> String {
        String::new()
    }

    fn parse(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    fn write(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Field for Wanted {
    fn kind() -> String {
        Wanted::EXPECTED.into()
    }

    fn blank() -> Wanted {
        Wanted::Auto
    }

    fn parse(value: &Value) -> Option<Wanted> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> Value {
        Value::from(self.to_string())
    }
}

impl Field for Setting {
    fn kind() -> String {
        "a text, a number or a boolean".into()
    }

    fn blank() -> Setting {
        Setting(String::new())
    }

    fn parse(value: &Value) -> Option<Setting> {
        match value {
            Value::String(text) => Some(Setting(text.clone())),
            Value::Integer(number) => Some(Setting(number.to_string())),
            Value::Float(number) => Some(Setting(number.to_string())),
            Value::Boolean(truth) => Some(Setting(truth.to_string())),
            _ => None,
        }
    }

    fn write(&self) -> Value {
        Value::from(self.0.as_str())
    }
}

impl Field for Duration {
    fn kind() -> String {
        "a text with a number and its unit (`32000it`, `90ep`, `50%`)".into()
    }

    fn blank() -> Duration {
        Duration::Steps(0)
    }

    fn parse(value: &Value) -> Option<Duration> {
        let text = value.as_str()?;
        text.parse().ok()
    }

    fn write(&self) -> Value {
        Value::from(self.to_string())
    }
}

impl Field for Vec<Duration> {
    fn kind() -> String {
        "a list of texts with a number and its unit (`32000it`, `90ep`, `50%`)".into()
    }

    fn blank() -> Vec<Duration> {
        Vec::new()
    }

    /// Also takes one text with commas, as shells make it: `50%,75%` or `[50%, 75%]`.
    fn parse(value: &Value) -> Option<Vec<Duration>> {
        match value {
            Value::Array(values) => values.iter().map(Duration::parse).collect(),
            Value::String(text) => {
                let bare = text.trim();
                let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let inner = inner.unwrap_or(bare);
                let parts = inner.split(',').filter(|_| !inner.trim().is_empty());
                parts.map(|part| part.parse().ok()).collect()
            }
            _ => None,
        }
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(Duration::write).collect())
    }
}

impl<T: Field> Field for Option<T> {
    fn kind() -> String {
        format!("`{AUTO}` or {}", T::kind())
    }

    fn blank() -> Option<T> {
        None
    }

    fn parse(value: &Value) -> Option<Option<T>> {
        if value.as_str() == Some(AUTO) {
            return Some(None);
        }
        T::parse(value).map(Some)
    }

    fn write(&self) -> Value {
        self.as_ref().map_or_else(|| Value::from(AUTO), T::write)
    }
}

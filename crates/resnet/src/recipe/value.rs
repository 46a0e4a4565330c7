//! The types that recipe keys have, each with its reading and writing as TOML.

use crate::schedule::{Course, Duration};
use toml::Value;

/// A key's type.
pub(super) trait Field: Sized {
    /// What a value looks like, for errors: "an integer".
    fn kind() -> String;

    /// Some value, before a recipe sets it.
    fn blank() -> Self;

    /// Reads a value.
    fn parse(value: &Value) -> Result<Self, Refusal>;

    /// Writes a value that [`Field::parse`] reads.
    fn write(&self) -> Value;
}

/// Why a value is not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is of another kind or out of range.
    Kind,
    /// It is understood, but cannot be had.
    Reason(&'static str),
}

/// Stands for a value that is chosen from the data or the network.
pub(super) const AUTO: &str = "auto";

/// An option of a network, handed to it as text; numbers and booleans become text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting(pub String);

/// Gives an enum without fields its texts; after `refuses`, texts that are understood but cannot be had, each with why.
macro_rules! named {
    ($type:ident { $first:ident = $first_text:literal $(, $choice:ident = $text:literal)* $(,)? }
     $(refuses { $($refused:literal = $reason:literal),* })?) => {
        impl Field for $type {
            fn kind() -> String {
                [concat!("`", $first_text, "`") $(, concat!("`", $text, "`"))*].join(" or ")
            }

            fn blank() -> $type {
                $type::$first
            }

            fn parse(value: &Value) -> Result<$type, Refusal> {
                match value.as_str() {
                    Some($first_text) => Ok($type::$first),
                    $(Some($text) => Ok($type::$choice),)*
                    $($(Some($refused) => Err(Refusal::Reason($reason)),)*)?
                    _ => Err(Refusal::Kind),
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

/// The numbers that training computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// The fastest that is exact enough; 32-bit floats for now.
    Auto,
}

named! {
    Precision { F32 = "f32", Auto = "auto" }
    refuses { "bf16" = "this version has no bf16 kernels; use `f32`, or `auto` for the fastest there is" }
}

/// What happens to an image that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFiles {
    /// It is told of by name and left out.
    Skip,
    /// It is told of by name and nothing is trained.
    Refuse,
}

named! { BadFiles { Skip = "skip", Refuse = "refuse" } }

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

            fn parse(value: &Value) -> Result<$type, Refusal> {
                let integer = value.as_integer().ok_or(Refusal::Kind)?;
                $type::try_from(integer).map_err(|_| Refusal::Kind)
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

    fn parse(value: &Value) -> Result<f64, Refusal> {
        match value {
            Value::Float(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as f64),
            _ => Err(Refusal::Kind),
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

    fn parse(value: &Value) -> Result<bool, Refusal> {
        value.as_bool().ok_or(Refusal::Kind)
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

    fn parse(value: &Value) -> Result<String, Refusal> {
        value.as_str().map(str::to_owned).ok_or(Refusal::Kind)
    }

    fn write(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Field for Setting {
    fn kind() -> String {
        "a text, a number or a boolean".into()
    }

    fn blank() -> Setting {
        Setting(String::new())
    }

    fn parse(value: &Value) -> Result<Setting, Refusal> {
        match value {
            Value::String(text) => Ok(Setting(text.clone())),
            Value::Integer(number) => Ok(Setting(number.to_string())),
            Value::Float(number) => Ok(Setting(number.to_string())),
            Value::Boolean(truth) => Ok(Setting(truth.to_string())),
            _ => Err(Refusal::Kind),
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

    fn parse(value: &Value) -> Result<Duration, Refusal> {
        let text = value.as_str().ok_or(Refusal::Kind)?;
        text.parse().map_err(|_| Refusal::Kind)
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
    fn parse(value: &Value) -> Result<Vec<Duration>, Refusal> {
        match value {
            Value::Array(values) => values.iter().map(Duration::parse).collect(),
            Value::String(text) => {
                let bare = text.trim();
                let inner = bare
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                let inner = inner.unwrap_or(bare);
                let parts = inner.split(',').filter(|_| !inner.trim().is_empty());
                parts
                    .map(|part| part.parse().map_err(|_| Refusal::Kind))
                    .collect()
            }
            _ => Err(Refusal::Kind),
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

    fn parse(value: &Value) -> Result<Option<T>, Refusal> {
        if value.as_str() == Some(AUTO) {
            return Ok(None);
        }
        T::parse(value).map(Some)
    }

    fn write(&self) -> Value {
        self.as_ref().map_or_else(|| Value::from(AUTO), T::write)
    }
}

//! What the parts of data are called, by people and by other programs. Everything that reads the
//! name of a split asks this table.

/// What a part of the data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// To learn from.
    Train,
    /// To choose by.
    Val,
    /// To report on.
    Test,
}

/// The names, of which the first are preferred.
const NAMES: [(Role, &[&str]); 3] = [
    (Role::Train, &["train", "training"]),
    (Role::Val, &["val", "valid", "validation", "dev", "development"]),
    (Role::Test, &["test", "testing", "eval", "evaluation", "holdout"]),
];
/// Words that may follow a name: `training_set`, `TestData`.
const ENDINGS: [&str; 4] = ["set", "data", "split", "images"];

/// What a folder of this name is for, and how far from the first of the names its own is. Case and
/// the signs between words do not count.
pub(super) fn role(name: &str) -> Option<(Role, usize)> {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.'));
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    let find = |word: &str| {
        NAMES.iter().find_map(|&(role, names)| {
            names.iter().position(|known| *known == word).map(|at| (role, at))
        })
    };
    let ending = |word: &&str| plain.strip_suffix(*word).and_then(find);
    find(&plain).or_else(|| {
        let (role, at) = ENDINGS.iter().find_map(ending)?;
        Some((role, at + 100))
    })
}

/// What the name of a split means: `train`, `val` or `test`; `None` if it is not known as one.
///
/// ```
/// use resnet::data::split_name;
/// assert_eq!(split_name("Validation_Set"), Some("val"));
/// assert_eq!(split_name("photos"), None);
/// ```
pub fn split_name(name: &str) -> Option<&'static str> {
    Some(names_of(role(name)?.0)[0])
}

/// Whether a split of this name is there to report on, so that nothing may be chosen by it.
pub(crate) fn is_test(name: &str) -> bool {
    matches!(role(name), Some((Role::Test, _)))
}

/// Whether one of the words in a name is that of a split: `train2017`, `my-val`.
pub(super) fn mentions_role(name: &str) -> bool {
    name.split(|c: char| !c.is_alphabetic()).any(|word| role(word).is_some())
}

/// The names of a role, for messages.
pub(super) fn names(wanted: Role) -> String {
    names_of(wanted).join("/, ") + "/"
}

fn names_of(wanted: Role) -> &'static [&'static str] {
    let row = NAMES.iter().find(|(role, _)| *role == wanted);
    row.expect("each role has a row").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_splits_are_known_in_any_spelling() {
        let of = |name| role(name).map(|(role, _)| role);
        for name in ["train", "Train", "TRAINING", "training_set", "train-set", "TrainData"] {
            assert_eq!(of(name), Some(Role::Train), "{name}");
        }
        for name in ["val", "Val", "Validation", "valid", "dev", "validation_set", "DEV"] {
            assert_eq!(of(name), Some(Role::Val), "{name}");
        }
        for name in ["test", "Testing", "eval", "holdout", "hold-out", "Hold_Out", "test images"] {
            assert_eq!(of(name), Some(Role::Test), "{name}");
        }
        for name in ["trainer", "tests", "cat", "set", "", "data", "trainers_set", "value"] {
            assert_eq!(of(name), None, "{name}");
        }
        let rank = |name| role(name).map(|(_, rank)| rank);
        assert!(rank("val") < rank("valid") && rank("dev") < rank("val_set"));
        assert!(mentions_role("train2017") && mentions_role("my_val"));
        assert!(!mentions_role("terrain") && !mentions_role("evaluator"));
    }
}

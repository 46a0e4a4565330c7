//! Flags and `key=value` as changes to a recipe.

use resnet::train::recipe::split_override;

use crate::exit::Usage;

/// Flags that were given, as changes to a recipe.
pub(super) fn changes(flags: &[(&str, &Option<String>)]) -> Vec<(String, String)> {
    let given = flags.iter();
    let given = given.filter_map(|(key, value)| Some((key.to_string(), value.as_ref()?.clone())));
    given.collect()
}

/// Adds `[ARCH] [key=value ...]` to the changes.
pub(super) fn add_changes(
    changes: &mut Vec<(String, String)>,
    words: &[String],
) -> anyhow::Result<()> {
    for text in words {
        // `resnet20:shortcut=B` is a network: its `=` stands behind a colon.
        let is_key = text.split_once('=').is_some_and(|(key, _)| !key.contains(':'));
        let named = changes.iter().any(|(key, _)| key == "model.arch");
        match (is_key, named) {
            (true, _) => changes.push(split_override(text)?),
            (false, false) => changes.push(("model.arch".into(), text.clone())),
            (false, true) => {
                return Err(Usage(format!(
                    "`{text}`: a network was named already; changes look like key=value"
                ))
                .into());
            }
        }
    }
    Ok(())
}

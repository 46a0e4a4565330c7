//! Names of classes in a file of their own.

use std::path::Path;

use serde_json::Value;

use super::{DataError, remote};

/// Files that name classes by label, beside pictures or in their archive.
pub(super) const FILES: [&str; 2] = ["classes.txt", "classes.json"];
/// Bytes of the longest.
pub(super) const MOST: u64 = 1 << 23;

/// The names of classes beside `folder`'s pictures, with their file, if there is one.
///
/// # Errors
/// It cannot be read or understood.
pub(super) fn beside(
    folder: &Path,
) -> Result<Option<(std::path::PathBuf, Vec<String>)>, DataError> {
    let mut files = FILES.iter().map(|name| folder.join(name));
    if remote::is_remote(folder) {
        for file in files {
            let found = remote::small(&file, MOST).map_err(|error| DataError::io(&file, error))?;
            if let Some(bytes) = found {
                let names = parse(&file, &bytes)?;
                return Ok(Some((file, names)));
            }
        }
        return Ok(None);
    }
    let Some(file) = files.find(|file| file.is_file()) else { return Ok(None) };
    let bytes = crate::base::files::read_bounded(&file, MOST).map_err(|error| {
        DataError::content(&file, "names of classes", error.to_string(), "check the file")
    })?;
    let names = parse(&file, &bytes)?;
    Ok(Some((file, names)))
}

/// One name a line; or in JSON a list of names, or an object from labels to names or from names to
/// labels.
///
/// # Errors
/// The bytes are none of these.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Vec<String>, DataError> {
    let wrong = |found: String| {
        let expected = "names of classes: one a line, or a JSON list, or labels and names in JSON";
        DataError::content(file, expected, found, "correct the file, or remove it")
    };
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(wrong("other bytes".into())) };
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with(['[', '{']) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        return Ok(lines.map(String::from).collect());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let pairs: Option<Vec<(usize, String)>> = match value {
        Value::Array(names) => {
            let name = |(at, name): (usize, Value)| Some((at, name.as_str()?.to_string()));
            names.into_iter().enumerate().map(name).collect()
        }
        Value::Object(pairs) => {
            let pair = |(key, value): (String, Value)| match value {
                Value::String(name) => Some((key.parse().ok()?, name)),
                Value::Number(label) => Some((label.as_u64()? as usize, key)),
                _ => None,
            };
            pairs.into_iter().map(pair).collect()
        }
        _ => None,
    };
    let mut pairs = pairs.ok_or_else(|| wrong("other JSON".into()))?;
    pairs.sort_unstable();
    match pairs.iter().enumerate().find(|(at, (label, _))| at != label) {
        Some((at, _)) => Err(wrong(format!("no name, or two, of the label {at}"))),
        None => Ok(pairs.into_iter().map(|(_, name)| name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        let read = |text: &str| parse(Path::new("classes"), text.as_bytes());
        for text in [
            "a\r\n\n b \nc",
            "[\"a\", \"b\", \"c\"]",
            "{\"0\": \"a\", \"2\": \"c\", \"1\": \"b\"}",
            "{\"c\": 2, \"a\": 0, \"b\": 1}",
        ] {
            assert_eq!(read(text).unwrap(), ["a", "b", "c"], "{text}");
        }
        for text in [
            "[1]",
            "{\"0\": \"a\", \"2\": \"b\"}",
            "{\"a\": 0, \"b\": 0}",
            "{\"a\": -1}",
            "[",
            "{\"x\": \"y\"}",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("classes: expected names of classes"), "{error}");
        }
        assert!(parse(Path::new("classes"), b"\xff").is_err());
    }
}

//! What the answers must say.

use std::path::Path;

use serde_json::Value;

/// Two probabilities that differ by less are the same.
const TOLERANCE: f64 = 1e-6;

/// The most probable class of a picture.
#[derive(Debug, PartialEq)]
pub(crate) struct Top {
    label: String,
    probability: f64,
}

/// Reads what is right for each of `bodies` bodies.
pub(crate) fn read(path: &Path, bodies: usize) -> Result<Vec<Top>, String> {
    let named = |text: String| format!("{}: {text}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let value = value.map_err(|error| named(error.to_string()))?;
        let top = top(&value).ok_or_else(|| {
            let place = found.len() + 1;
            named(format!("value {place}: expected an answer with `top`, a label and probability"))
        })?;
        found.push(top);
    }
    if found.len() != bodies {
        let has = found.len();
        return Err(named(format!("expected {bodies} values, one for each body, found {has}")));
    }
    Ok(found)
}

/// The most probable class in an answer of `/classify`, or in a line of `resnet predict --json`.
fn top(value: &Value) -> Option<Top> {
    let picture = value.get("pictures").map_or(Some(value), |pictures| pictures.get(0))?;
    let first = picture.get("top")?.get(0)?;
    Some(Top {
        label: first.get("label")?.as_str()?.to_owned(),
        probability: first.get("probability")?.as_f64()?,
    })
}

impl Top {
    /// Whether an answer's body says the same.
    pub(crate) fn is_in(&self, body: &[u8]) -> bool {
        let found = serde_json::from_slice(body).ok().and_then(|value| top(&value));
        found.is_some_and(|found| {
            found.label == self.label && (found.probability - self.probability).abs() < TOLERANCE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_compared_by_label_and_probability() {
        let line = r#"{"file":"a.jpg","top":[{"class":3,"label":"cat","probability":0.75}]}"#;
        let want = top(&serde_json::from_str(line).unwrap()).unwrap();
        let answer = |label: &str, probability: f64| {
            let top = serde_json::json!([{"class": 3, "label": label, "probability": probability}]);
            serde_json::json!({"model": "m", "pictures": [{"name": null, "top": top}]}).to_string()
        };
        assert!(want.is_in(answer("cat", 0.750_000_5).as_bytes()));
        assert!(!want.is_in(answer("dog", 0.75).as_bytes()));
        assert!(!want.is_in(answer("cat", 0.7501).as_bytes()));
        assert!(!want.is_in(br#"{"model":"m","pictures":[{"name":null,"error":"damaged"}]}"#));
        assert!(!want.is_in(b"not JSON"));
    }
}

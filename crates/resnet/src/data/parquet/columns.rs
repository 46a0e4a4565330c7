//! Which columns hold pictures and labels.

use std::path::Path;

use resnet_formats::parquet::{Column, Footer, Kind};
use serde_json::Value;

use super::super::DataError;

/// Names of columns, the first preferred.
const PICTURES: &[&str] =
    &["image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes"];
const LABELS: &[&str] = &[
    "label",
    "labels",
    "class",
    "target",
    "cls",
    "category",
    "class_name",
    "class_id",
    "label_id",
    "fine_label",
    "name",
];
/// Columns that are named in a message.
const NAMED: usize = 10;

/// The columns of a file that count.
pub(super) struct Columns {
    pub(super) picture: usize,
    /// Names of pictures.
    pub(super) path: Option<usize>,
    pub(super) label: usize,
    /// What labels are called.
    pub(super) names: Option<Vec<String>>,
    /// What else might have been meant.
    pub(super) notes: Vec<String>,
}

/// Chooses among a file's columns.
///
/// # Errors
/// There are none that fit, or several of which none has a usual name.
pub(super) fn choose(file: &Path, footer: &Footer) -> Result<Columns, DataError> {
    let features = features(footer);
    let mut notes = Vec::new();
    let all = || (0..).zip(&footer.columns);
    let pictures: Vec<usize> =
        all().filter(|(_, column)| is_picture(column)).map(|(at, _)| at).collect();
    let usual = Usual { what: "pictures", kind: "Image", names: PICTURES, any: true };
    let picture = one(file, footer, &features, pictures, &usual, &mut notes)?;
    let labels: Vec<usize> =
        all().filter(|(_, column)| is_label(column)).map(|(at, _)| at).collect();
    let usual = Usual { what: "labels", kind: "ClassLabel", names: LABELS, any: false };
    let label = one(file, footer, &features, labels, &usual, &mut notes)?;
    let around = &footer.columns[picture].path;
    let is_path = |column: &Column| {
        let beside = column.path.len() == 2 && column.path[0] == around[0];
        beside && column.path[1] == "path" && column.kind == Kind::Bytes && !column.repeated
    };
    let path = footer.columns.iter().position(is_path).filter(|_| around.len() == 2);
    let names = features.get(&footer.columns[label].path[0]).and_then(|feature| {
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(String::from)).collect()
    });
    Ok(Columns { picture, path, label, names, notes })
}

fn is_picture(column: &Column) -> bool {
    let shape = match column.path.as_slice() {
        [_] => !column.text,
        [_, last] => last == "bytes",
        _ => false,
    };
    shape && column.kind == Kind::Bytes && !column.repeated
}

fn is_label(column: &Column) -> bool {
    let kind = match column.kind {
        Kind::Int32 | Kind::Int64 => true,
        Kind::Bytes => column.text,
        Kind::Other => false,
    };
    kind && column.path.len() == 1 && !column.repeated
}

/// What a column is looked for by.
struct Usual {
    what: &'static str,
    /// The kind that `datasets` gives it.
    kind: &'static str,
    names: &'static [&'static str],
    /// Whether any name will do where there is one such column.
    any: bool,
}

fn one(
    file: &Path,
    footer: &Footer,
    features: &serde_json::Map<String, Value>,
    mut found: Vec<usize>,
    usual: &Usual,
    notes: &mut Vec<String>,
) -> Result<usize, DataError> {
    let name = |at: usize| footer.columns[at].path[0].as_str();
    let declared = |at: &usize| {
        let kind = features.get(name(*at)).and_then(|feature| feature.get("_type"));
        kind.and_then(Value::as_str) == Some(usual.kind)
    };
    let any = usual.any || found.iter().any(declared);
    if found.iter().any(declared) {
        found.retain(declared);
    }
    let rank = |at: &usize| {
        let lower = name(*at).to_lowercase();
        usual.names.iter().position(|known| *known == lower)
    };
    let best = found.iter().copied().filter(|at| rank(at).is_some()).min_by_key(rank);
    let chosen = match (best, found.as_slice()) {
        (Some(best), _) => best,
        (None, [only]) if any => *only,
        _ => {
            let expected = format!("a column of {}, such as `{}`", usual.what, usual.names[0]);
            let found = match any && found.len() > 1 {
                true => format!("several: {}", shown(footer, found)),
                false => format!("columns {}", shown(footer, (0..footer.columns.len()).collect())),
            };
            let hint = format!(
                "a picture is a column of bytes, or a struct of bytes and path, and a label a \
                 column of whole numbers or texts, neither a list: rename the column to `{}`, and \
                 write the file again",
                usual.names[0]
            );
            return Err(DataError::content(file, expected, found, hint));
        }
    };
    let others: Vec<usize> =
        found.into_iter().filter(|&at| at != chosen && (any || rank(&at).is_some())).collect();
    if !others.is_empty() {
        let (what, others, used) = (usual.what, shown(footer, others), name(chosen));
        notes.push(format!("has other columns of {what} too ({others}); `{used}` is used"));
    }
    Ok(chosen)
}

/// Names of columns.
fn shown(footer: &Footer, columns: Vec<usize>) -> String {
    let mut names: Vec<&str> =
        columns.iter().map(|&at| footer.columns[at].path[0].as_str()).collect();
    names.dedup();
    let more = if names.len() > NAMED { ", ..." } else { "" };
    let quoted = |name: &&str| format!("`{}`", resnet_formats::shorten(name));
    let few: Vec<String> = names.iter().take(NAMED).map(quoted).collect();
    match few.is_empty() {
        true => "none".into(),
        false => few.join(", ") + more,
    }
}

/// What `datasets` says of the columns.
fn features(footer: &Footer) -> serde_json::Map<String, Value> {
    let text = footer.metadata.iter().find(|(name, _)| name == "huggingface");
    let value: Option<Value> = text.and_then(|(_, text)| serde_json::from_str(text).ok());
    match value.and_then(|mut value| Some(value.get_mut("info")?.get_mut("features")?.take())) {
        Some(Value::Object(features)) => features,
        _ => serde_json::Map::new(),
    }
}

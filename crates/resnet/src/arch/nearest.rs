//! Names that look like a misspelt one.

/// Longest name that is compared.
const MAX_LEN: usize = 64;
/// Most names returned.
const MAX_NAMES: usize = 3;

/// Up to three of `names` within a third of `name`'s length in edits (insert, delete, replace; letter case is free),
/// nearest first. A name that begins with `name` counts as one edit away.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(MAX_LEN).collect();
    let allowed = (wanted.len() / 3).max(1);
    let score = |other: &str| {
        let other: Vec<char> = other.to_lowercase().chars().take(MAX_LEN).collect();
        let begins = wanted.len() > 2 && other.len() > wanted.len() && other.starts_with(&wanted);
        if begins { 1 } else { distance(&wanted, &other) }
    };
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .map(|other| (score(other), other))
        .filter(|&(d, _)| d <= allowed)
        .collect();
    scored.sort_by_key(|&(d, _)| d);
    scored
        .into_iter()
        .take(MAX_NAMES)
        .map(|(_, name)| name.to_string())
        .collect()
}

/// Edits between two names (Wagner & Fischer 1974), one row of the table at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, y) in b.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &x) in a.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[a.len()]
}

//! The runs of one network under one recipe: seeds.

use super::record::{Outcome, Record, differences};

/// Runs that differ in their seed only.
pub struct Group<'a> {
    /// The network, and where recipes differ, what is special about this one.
    pub label: String,
    /// Layers with weights.
    pub depth: usize,
    /// Whether it has shortcuts.
    pub residual: bool,
    /// Its runs, by seed.
    pub runs: Vec<&'a Record>,
}

/// Mean and standard deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean; NaN of nothing.
    pub mean: f64,
    /// The sample's standard deviation, of at least two.
    pub deviation: Option<f64>,
}

impl Mean {
    fn of(values: &[f64]) -> Mean {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Mean {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
        }
    }
}

impl Group<'_> {
    /// Final training error.
    pub fn train_error(&self) -> Mean {
        Mean::of(&self.values(|run| run.train_error))
    }

    /// Error at the last evaluation.
    pub fn test_error(&self) -> Mean {
        Mean::of(&self.values(|run| run.test_error))
    }

    /// Seconds of a run.
    pub fn seconds(&self) -> f64 {
        Mean::of(&self.values(|run| run.seconds)).mean
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> usize {
        let runs = self.runs.iter();
        runs.filter(|run| run.outcome != Outcome::Finished).count()
    }

    fn values(&self, of: fn(&Record) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| of(run)).collect()
    }
}

/// Joins runs into groups: plain networks first, then residual ones, each by depth.
pub fn groups(records: &[Record]) -> Vec<Group<'_>> {
    let same = |a: &Record, b: &Record| {
        let differ = differences(&a.recipe, &b.recipe);
        differ.iter().all(|(key, ..)| *key == "train.seed")
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for record in records {
        match groups.iter_mut().find(|group| same(group.runs[0], record)) {
            Some(group) => group.runs.push(record),
            None => groups.push(Group {
                label: record.arch.name(),
                depth: record.arch.depth(),
                residual: record.arch.is_residual(),
                runs: vec![record],
            }),
        }
    }
    for group in &mut groups {
        group.runs.sort_by_key(|run| run.recipe.train.seed);
    }
    groups.sort_by_key(|group| (group.residual, group.depth));
    name_differences(&mut groups);
    groups
}

/// Where two groups are of the same network, each says the keys that make it special.
fn name_differences(groups: &mut [Group<'_>]) {
    let names: Vec<String> = groups.iter().map(|group| group.label.clone()).collect();
    let recipes: Vec<_> = groups.iter().map(|g| g.runs[0].recipe.clone()).collect();
    for (i, group) in groups.iter_mut().enumerate() {
        let mut special: Vec<String> = Vec::new();
        for (j, name) in names.iter().enumerate() {
            if i == j || *name != names[i] {
                continue;
            }
            for (key, mine, _) in differences(&recipes[i], &recipes[j]) {
                let last = key.rsplit('.').next().unwrap_or(key);
                let text = format!("{last}={}", mine.trim_matches('"'));
                if key != "train.seed" && !special.contains(&text) {
                    special.push(text);
                }
            }
        }
        if !special.is_empty() {
            group.label = format!("{} ({})", group.label, special.join(", "));
        }
    }
}

//! The runs of one network under one recipe: seeds.

use super::record::{Outcome, Record, differences};
use crate::net::Arch;
use crate::page::charts::format::percent;

/// Runs that differ in their seed only.
pub struct Group<'a> {
    /// The network, and where recipes differ, what is special about this one.
    pub label: String,
    /// The network's name without its depth: what networks of several depths have in common.
    pub family: String,
    /// Layers with weights.
    pub depth: usize,
    /// Whether it has shortcuts.
    pub residual: bool,
    /// Its runs, by seed.
    pub runs: Vec<&'a Record>,
}

/// Mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean; NaN of nothing.
    pub mean: f64,
    /// The sample's standard deviation, of at least two seeds.
    pub deviation: Option<f64>,
    /// The mean's standard error: by the number of pictures, or by the deviation where that says
    /// more. Seeds that happen to agree leave the pictures as few as they are.
    pub error: f64,
}

impl Mean {
    /// Of errors, each over so many pictures.
    fn of(values: &[(f64, u64)]) -> Mean {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| v.0).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v.0 - mean) * (v.0 - mean)).sum();
        let pictures: f64 = values.iter().map(|v| v.1 as f64).sum();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        let by_pictures = (mean * (1.0 - mean) / pictures.max(1.0)).sqrt();
        let by_seeds = deviation.map_or(0.0, |deviation| deviation / n.sqrt());
        Mean { mean, deviation, error: by_pictures.max(by_seeds) }
    }

    /// Whether the difference to another mean is more than its uncertainty: two standard errors.
    pub fn differs(&self, other: &Mean) -> bool {
        (self.mean - other.mean).abs() > 2.0 * self.error.hypot(other.error)
    }

    /// The mean as a percentage, with the deviation if there is one.
    pub fn text(&self) -> String {
        match self.deviation {
            Some(deviation) => {
                format!("{} ± {:.2}", percent(self.mean, 2), deviation * 100.0)
            }
            None => percent(self.mean, 2),
        }
    }
}

impl Group<'_> {
    /// Final training error of the runs that did not diverge.
    pub fn train_error(&self) -> Mean {
        Mean::of(&self.values(|run| (run.train_error, run.train_count)))
    }

    /// Error at the last evaluation of the runs that did not diverge.
    pub fn test_error(&self) -> Mean {
        Mean::of(&self.values(|run| (run.test_error, run.started.test_images)))
    }

    /// Seconds of a run.
    pub fn seconds(&self) -> f64 {
        self.runs.iter().map(|run| run.seconds).sum::<f64>() / self.runs.len() as f64
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> usize {
        let runs = self.runs.iter();
        runs.filter(|run| run.outcome != Outcome::Finished).count()
    }

    /// An error as a table shows it, with what diverged.
    pub fn text(&self, error: Mean) -> String {
        match (self.diverged(), self.runs.len()) {
            (0, _) => error.text(),
            (diverged, all) if diverged == all => "diverged".into(),
            (diverged, all) => format!("{} ({diverged} of {all} diverged)", error.text()),
        }
    }

    /// Whether nothing but network and seed tells the runs of two groups apart.
    pub fn same_recipe(&self, other: &Group<'_>) -> bool {
        let differ = differences(&self.runs[0].recipe, &other.runs[0].recipe);
        let mut keys = differ.iter().map(|(key, ..)| *key);
        keys.all(|key| key == "model.arch" || key == "train.seed")
    }

    /// The keys in which the recipes of two groups differ, with both values.
    pub fn recipe_differences(&self, other: &Group<'_>) -> String {
        let differ = differences(&self.runs[0].recipe, &other.runs[0].recipe);
        let keys = differ.iter().filter(|(key, ..)| *key != "model.arch" && *key != "train.seed");
        let texts: Vec<String> = keys.map(|(key, a, b)| format!("{key} ({a} and {b})")).collect();
        texts.join(", ")
    }

    /// Whether this is the plain twin of a residual group: the same layers without the shortcuts.
    pub fn is_plain_twin_of(&self, residual: &Group<'_>) -> bool {
        let graph = |arch: &Arch| arch.graph(arch.default_input(), arch.default_classes());
        let twin = graph(&residual.runs[0].arch.plain_twin());
        !self.residual && residual.residual && twin == graph(&self.runs[0].arch)
    }

    fn values(&self, of: fn(&Record) -> (f64, u64)) -> Vec<(f64, u64)> {
        let runs = self.runs.iter();
        let finished = runs.filter(|run| run.outcome == Outcome::Finished);
        finished.map(|run| of(run)).collect()
    }
}

/// A network's name without its depth: `resnet56:shortcut=B` is `resnet:shortcut=B`.
fn family(arch: &Arch) -> String {
    let name = arch.name();
    let (base, options) = name.split_once(':').unwrap_or((&name, ""));
    let base = base.replacen(&arch.depth().to_string(), "", 1);
    match options {
        "" => base,
        options => format!("{base}:{options}"),
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
                family: family(&record.arch),
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

//! What the numbers say, in sentences that follow from them and nothing else.

use super::figures::Look;
use super::group::Group;
use super::record::Outcome;
use crate::measure::probe::Verdict;
use crate::page::charts::format::{number, percent};
use crate::study::inspect::Inspection;

/// Runs that saw each picture fewer times are short.
const SHORT: f64 = 20.0;

/// What a conclusion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// What depth does to a family of networks, with or without shortcuts.
    Depth {
        /// Whether the networks have shortcuts.
        residual: bool,
    },
    /// What shortcuts do to a deep network.
    Shortcuts,
    /// What the gradients of the deepest plain network do.
    Gradients,
    /// The comparison itself: runs that ended early, are short or not alike.
    Runs,
}

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub about: About,
    /// Whether it is what He et al. 2015 found.
    pub as_published: bool,
    /// The sentence, with its numbers.
    pub text: String,
}

/// Every conclusion, about errors and about gradients.
pub fn conclusions(groups: &[Group<'_>], look: &Look) -> Vec<Finding> {
    let mut all = findings(groups);
    all.extend(about_gradients(groups, look));
    all.extend(about_length(groups));
    all
}

/// What runs cannot show that saw each picture only a few times.
pub(super) fn about_length(groups: &[Group<'_>]) -> Option<Finding> {
    let seen = |group: &Group<'_>| {
        let run = &group.runs[0].started;
        run.steps as f64 * run.batch as f64 / run.train_images.max(1) as f64
    };
    let depths = groups.iter().map(|g| g.depth);
    if depths.clone().min() == depths.max() {
        return None;
    }
    let most = groups.iter().map(seen).fold(0.0, f64::max);
    (most < SHORT).then(|| Finding {
        about: About::Runs,
        as_published: false,
        text: format!(
            "These runs saw each picture about {} times. That shows who falls behind while learning, not who is best in the end: \
             the paper's saw each picture of CIFAR-10 more than 160 times (He et al. 2015, section 4.2).",
            number((10.0 * most).round() / 10.0)
        ),
    })
}

/// Conclusions about depth and shortcuts: where a comparison has one family at several depths, or
/// plain and residual twins, trained by one recipe. A difference within its uncertainty is none.
pub(super) fn findings(groups: &[Group<'_>]) -> Vec<Finding> {
    let whole: Vec<&Group<'_>> = groups.iter().filter(|g| g.diverged() == 0).collect();
    let mut found = Vec::new();
    for residual in [false, true] {
        if residual {
            found.extend(repaired(&whole));
        }
        let mut families: Vec<&str> = Vec::new();
        for group in whole.iter().filter(|g| g.residual == residual) {
            if !families.contains(&group.family.as_str()) {
                families.push(&group.family);
            }
        }
        for family in families {
            let members = whole.iter().filter(|g| g.family == family);
            found.extend(with_depth(&members.copied().collect::<Vec<_>>(), &whole));
        }
    }
    for group in groups.iter().filter(|group| group.diverged() > 0) {
        let reason = group.runs.iter().find_map(|run| match &run.outcome {
            Outcome::Diverged { step, reason } => Some(format!("after {step} steps ({reason})")),
            Outcome::Finished => None,
        });
        found.push(Finding {
            about: About::Runs,
            as_published: false,
            text: format!(
                "{} diverged in {} of {} runs, {}; it counts in no other sentence.",
                group.label,
                group.diverged(),
                group.runs.len(),
                reason.unwrap_or_default()
            ),
        });
    }
    if let Some(first) = whole.first()
        && let Some(other) = whole.iter().find(|g| !g.same_recipe(first))
    {
        found.push(Finding {
            about: About::Runs,
            as_published: false,
            text: format!(
                "Not all runs were trained alike: {} and {} differ in {}. No conclusion is drawn from runs of different recipes.",
                first.label,
                other.label,
                first.recipe_differences(other)
            ),
        });
    }
    found
}

/// What depth does to one family: its shallowest and deepest members of one recipe.
fn with_depth(family: &[&Group<'_>], all: &[&Group<'_>]) -> Option<Finding> {
    let shallow = family.iter().min_by_key(|g| g.depth)?;
    let alike = family.iter().filter(|g| g.same_recipe(shallow));
    let deep = alike.max_by_key(|g| g.depth)?;
    if shallow.depth == deep.depth {
        return None;
    }
    let (a, b) = (shallow.train_error(), deep.train_error());
    let (worse, differ) = (b.mean > a.mean, b.differs(&a));
    let what = match (deep.residual, differ, worse) {
        (false, true, true) => {
            "Degradation: the deeper plain network learns its own training pictures worse".into()
        }
        (false, true, false) => {
            "No degradation here: the deeper plain network learns better".into()
        }
        (true, true, false) => "Depth pays with shortcuts".into(),
        (true, true, true) => {
            let cost = b.mean - a.mean;
            let less = plain_cost(all, shallow, deep).filter(|plain| cost < *plain);
            let less = less.map_or(String::new(), |plain| {
                format!(", by {} points and not by {}", points(cost), points(plain))
            });
            format!(
                "With shortcuts, too, the deeper network is behind after so much training{less}"
            )
        }
        (_, false, _) => "Depth makes no difference here beyond chance".into(),
    };
    Some(Finding {
        about: About::Depth { residual: deep.residual },
        as_published: differ && worse != deep.residual,
        text: format!(
            "{what}. {} ends at {} training error, {} at {}.",
            deep.label,
            p(b.mean),
            shallow.label,
            p(a.mean)
        ),
    })
}

/// What depth costs the plain twins of two residual networks: training error, as a fraction.
fn plain_cost(all: &[&Group<'_>], shallow: &Group<'_>, deep: &Group<'_>) -> Option<f64> {
    let twin = |of: &Group<'_>| {
        all.iter().find(|g| g.is_plain_twin_of(of) && g.same_recipe(of)).map(|g| g.train_error())
    };
    let (a, b) = (twin(shallow)?, twin(deep)?);
    b.differs(&a).then_some(b.mean - a.mean)
}

/// A difference of fractions in percentage points.
fn points(difference: f64) -> String {
    format!("{:.1}", 100.0 * difference)
}

/// What shortcuts do to the deepest pair of twins.
fn repaired(groups: &[&Group<'_>]) -> Option<Finding> {
    let pairs = groups.iter().flat_map(|plain| {
        let twins = groups.iter().filter(|g| plain.is_plain_twin_of(g) && plain.same_recipe(g));
        twins.map(move |residual| (plain, residual))
    });
    let (plain, residual) = pairs.max_by_key(|(plain, _)| plain.depth)?;
    let (without, with) = (plain.train_error(), residual.train_error());
    let (better, differ) = (with.mean < without.mean, with.differs(&without));
    let (what, as_published) = match (differ, better) {
        (true, true) => repair(groups, plain, residual),
        (true, false) => ("The shortcut does harm here".into(), false),
        (false, _) => ("The shortcut makes no difference here beyond chance".into(), false),
    };
    Some(Finding {
        about: About::Shortcuts,
        as_published,
        text: format!(
            "{what}: with shortcuts the same {} layers end at {} training error ({}), without them at {} ({}).",
            residual.depth,
            p(with.mean),
            residual.label,
            p(without.mean),
            plain.label
        ),
    })
}

/// How much of what depth did to a plain network its shortcuts undo: all, where the residual
/// network is no worse than the shallowest of either kind; and whether it is that.
fn repair(groups: &[&Group<'_>], plain: &Group<'_>, residual: &Group<'_>) -> (String, bool) {
    let shallowest = |of: &Group<'_>| {
        let family = groups.iter().filter(|g| g.family == of.family && g.same_recipe(of));
        family.min_by_key(|g| g.depth).filter(|g| g.depth < of.depth).map(|g| g.train_error())
    };
    let (Some(before), Some(beside)) = (shallowest(plain), shallowest(residual)) else {
        return ("The shortcut helps".into(), true);
    };
    let (without, with) = (plain.train_error(), residual.train_error());
    let degraded = without.differs(&before) && without.mean > before.mean;
    let behind = |other: &_| with.differs(other) && with.mean > other.mean;
    if !degraded {
        return ("The shortcut helps".into(), true);
    }
    if !behind(&before) && !behind(&beside) {
        return ("The shortcut repairs it".into(), true);
    }
    let undone = (without.mean - with.mean) / (without.mean - before.mean.min(beside.mean));
    (format!("The shortcut repairs {} of it", percent(undone, 0)), false)
}

/// Whether the deepest plain network's gradients explain its error: what they do before and after
/// training.
fn about_gradients(groups: &[Group<'_>], look: &Look) -> Option<Finding> {
    let plain = groups.iter().enumerate().filter(|(_, g)| !g.residual);
    let (index, group) = plain.max_by_key(|(_, g)| g.depth)?;
    let arch = group.runs[0].arch.name();
    let before = look.initial.iter().find(|s| s.inspection.arch == arch)?;
    let before = &before.inspection;
    let (_, after) = look.trained.iter().find(|(of, _)| *of == index)?;
    let vanished = [before, after].iter().any(|i| i.verdict == Verdict::Vanishing);
    let tell = |inspection: &Inspection| {
        format!(
            "{} (x {} from the last layer to the first, by the fitted line)",
            inspection.verdict.word(),
            number(inspection.trend.end_to_end())
        )
    };
    Some(Finding {
        about: About::Gradients,
        as_published: !vanished,
        text: format!(
            "The gradients of {} {}: they are {} before training and {} after it.",
            group.label,
            if vanished { "vanish" } else { "do not vanish" },
            tell(before),
            tell(after)
        ),
    })
}

fn p(error: f64) -> String {
    percent(error, 1)
}

//! The texts that stand in the story's places: numbers, tables, and sentences that follow from
//! what was measured.

use super::Words;
use super::error::ExplainError;
use super::figures::{BRANCHES, FACTORS, TOLD, branch_text, product};
use super::measured::Measured;
use crate::measure::feature::Learned;
use crate::measure::summary::summary;
use crate::net::Arch;
use crate::page::charts::format::{compact, number, percent, thousands};
use crate::study::compare::{About, Finding, Group, conclusions};

/// The heading of a column of words.
const CALLED: &str = "called";

/// A name and what stands in its place.
type Told = (&'static str, String);

/// All that the text names.
pub(super) fn all(measured: &Measured<'_>, words: &Words) -> Result<Vec<Told>, ExplainError> {
    let found = conclusions(measured.groups, measured.look);
    let about = |what: About| sentences(&found, what);
    let classic = &measured.classic.started;
    let deepest = |residual: bool| {
        let family =
            measured.groups.iter().enumerate().filter(move |(_, g)| g.residual == residual);
        family.max_by_key(|(_, g)| g.depth).map(|(index, _)| index)
    };
    let pair = (deepest(false), deepest(true));
    Ok(vec![
        ("machine", measured.machine.clone()),
        ("train_images", thousands(classic.train_images)),
        ("classic_layers", measured.classic.arch.depth().to_string()),
        ("classic_params", thousands(classic.params)),
        ("classic_right", percent(1.0 - measured.classic.test_error, 1)),
        ("test_images", thousands(classic.test_images)),
        ("finding_plain", about(About::Depth { residual: false })),
        ("finding_residual", about(About::Depth { residual: true })),
        ("finding_shortcuts", about(About::Shortcuts)),
        ("training", training(&found)),
        ("vanishing", vanishing(&found)),
        ("finding_length", about(About::Runs)),
        ("chain_table", chain_table()),
        ("shortcut_table", shortcut_table()),
        ("gradient_table", gradient_table(measured)),
        ("results_table", results_table(measured)),
        ("macs_152", macs("resnet152_v1")?),
        ("macs_vgg", macs("vgg19")?),
        ("finding_probes", probes(measured)),
        ("finding_lesions", lesions(measured, pair)),
        ("next", words.next.to_owned()),
    ])
}

fn sentences(found: &[Finding], about: About) -> String {
    let texts = found.iter().filter(|finding| finding.about == about);
    texts.map(|finding| finding.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn is_as_published(found: &[Finding], about: About) -> bool {
    found.iter().any(|finding| finding.about == about && finding.as_published)
}

/// What it means that the deeper plain network learns worse, where it did.
fn training(found: &[Finding]) -> String {
    match is_as_published(found, About::Depth { residual: false }) {
        true => "The word to notice is *training*. A network that knows its pictures by heart does well on them and badly on others. Here the \
                 deeper network does worse on the very pictures that it learns from. Good weights exist, for the further layers could hand on \
                 what they get; training does not find them."
            .into(),
        false => "These runs do not show what longer ones do: that the deeper plain network does worse on the very pictures that it learns from."
            .into(),
    }
}

/// What the derivatives of the deep plain network do.
fn vanishing(found: &[Finding]) -> String {
    let measured = sentences(found, About::Gradients);
    let published = "\"neither forward nor backward signals vanish\" (2015, section 4.1)";
    match is_as_published(found, About::Gradients) {
        true => format!(
            "The usual story is that deep plain networks fail because their derivatives vanish. Measured here: {measured} He et al. found of theirs, \
             too, that {published}. Products like those of the table kept networks shallow before the two inventions; that deep plain networks \
             learn badly even with both is a matter of *finding* good weights, and not explained in full to this day."
        ),
        false => format!(
            "Measured here: {measured} He et al. found otherwise of theirs: {published}. They leave open why deep plain networks learn badly even then."
        ),
    }
}

fn macs(name: &str) -> Result<String, ExplainError> {
    let arch = Arch::parse(name)?;
    let summary = summary(&arch, arch.default_input(), arch.default_classes())?;
    Ok(compact(summary.macs))
}

/// A table in Markdown; all columns are numbers but the first and one of words.
fn table(headings: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = |heading: &String| if heading == CALLED { "---|" } else { "---:|" };
    let rule = format!("|---|{}\n", headings[1..].iter().map(rule).collect::<String>());
    let rows: String = rows.iter().map(|row| line(row)).collect();
    (line(headings) + &rule + &rows).trim_end().to_owned()
}

fn behind(first: &str, what: &str) -> Vec<String> {
    let columns = TOLD.iter().map(|n| format!("behind {n} {what}"));
    std::iter::once(first.to_owned()).chain(columns).collect()
}

fn powers(name: String, factors: &[f64]) -> Vec<String> {
    let text = |power: f64| match power.fract() == 0.0 && (1e3..1e7).contains(&power) {
        true => thousands(power as u64),
        false => number(power),
    };
    let powers = TOLD.iter().map(|&n| text(product(factors, n)));
    std::iter::once(name).chain(powers).collect()
}

fn chain_table() -> String {
    let rows: Vec<Vec<String>> =
        FACTORS.iter().map(|&factor| powers(number(factor), &[factor])).collect();
    table(&behind("factor of a layer", "layers"), &rows)
}

fn shortcut_table() -> String {
    let mut rows = vec![powers("F′ = 0.1, no shortcut".into(), &[0.1])];
    rows.extend(BRANCHES.iter().map(|branch| {
        let factors = branch.map(|f| 1.0 + f);
        powers(format!("F′ = {}, shortcut", branch_text(branch)), &factors)
    }));
    table(&behind("each block", "blocks"), &rows)
}

fn gradient_table(measured: &Measured<'_>) -> String {
    let rows = measured.look.initial.iter();
    let rows = rows.map(|start| {
        let trend = &start.inspection.trend;
        let (factor, all) = (format!("{:.3}", trend.per_layer()), number(trend.end_to_end()));
        vec![start.label.clone(), factor, all, trend.verdict.word().to_owned()]
    });
    let headings = ["before training", "factor a layer", "from end to end", CALLED];
    table(&headings.map(str::to_owned), &rows.collect::<Vec<_>>())
}

fn results_table(measured: &Measured<'_>) -> String {
    let row = |g: &Group<'_>| {
        let params = thousands(g.runs[0].started.params);
        vec![g.label.clone(), params, g.text(g.train_error()), g.text(g.test_error())]
    };
    let rows: Vec<Vec<String>> = measured.groups.iter().map(row).collect();
    let headings = ["network", "weights", "training error", "test error"];
    table(&headings.map(str::to_owned), &rows)
}

/// What was learned by the deepest plain and residual networks.
fn of_both<'a>(
    measured: &'a Measured<'_>,
    (plain, residual): (Option<usize>, Option<usize>),
) -> Vec<(&'a str, &'a Learned)> {
    let of = |index: usize| {
        let learned = measured.look.learned.iter().find(|(of, _)| *of == index)?;
        Some((measured.groups[index].label.as_str(), &learned.1))
    };
    [plain, residual].into_iter().flatten().filter_map(of).collect()
}

fn probes(measured: &Measured<'_>) -> String {
    let told = measured.look.learned.iter().filter_map(|(index, learned)| {
        let (first, last) = (learned.told.first()?, learned.told.last()?);
        let (first, last) = (percent(first.share, 1), percent(last.share, 1));
        Some(format!("from {first} to {last} in {}", measured.groups[*index].label))
    });
    let told: Vec<String> = told.collect();
    format!("From the first layer to the last block it rises {}.", told.join(", "))
}

fn lesions(measured: &Measured<'_>, pair: (Option<usize>, Option<usize>)) -> String {
    let both = of_both(measured, pair);
    let pictures = both.first().map_or(0, |(_, learned)| learned.lesions.pictures);
    let told = both.into_iter().filter_map(|(label, learned)| {
        let lesions = &learned.lesions;
        let total = lesions.pictures.max(1) as f64;
        let scores = lesions.blocks.iter().filter_map(|lesion| lesion.score.as_ref()?.wrong);
        let wrong: Vec<f64> = scores.map(|wrong| wrong as f64 / total).collect();
        let whole = lesions.whole.wrong? as f64 / total;
        let mean = wrong.iter().sum::<f64>() / wrong.len().max(1) as f64;
        let worst = wrong.iter().copied().fold(0.0, f64::max);
        (!wrong.is_empty()).then(|| {
            format!(
                "{label} puts {} into a wrong class with all blocks, {} without one (the mean of {} blocks), and {} without the one that it \
                 needs most.",
                percent(whole, 1),
                percent(mean, 1),
                wrong.len(),
                percent(worst, 1)
            )
        })
    });
    let told: Vec<String> = told.collect();
    format!("Of {} test pictures, {}", thousands(pictures), told.join(" "))
}

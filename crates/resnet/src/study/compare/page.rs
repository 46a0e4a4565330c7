//! The page of a comparison.

use super::figures::Look;
use super::group::Group;
use super::learned;
use super::published;
use super::verdict::conclusions;
use crate::measure::probe::LIMIT;
use crate::page::charts::figure::Figure;
use crate::page::charts::format::{self, percent};
use crate::page::charts::page::{Cell, Page, Tone};

/// Where the figures of each section are, by the beginning of their names.
const SECTIONS: &[(&str, &str, &str, &[&str])] = &[
    (
        "depth",
        "What depth did",
        "Error: the share of pictures whose first guess is wrong. Lower is better.",
        &["expectation", "curves"],
    ),
    (
        "gradients",
        "Where the gradient went",
        "The derivative of the loss reaches a layer through the product of the derivatives of all layers behind it.",
        &["gradient"],
    ),
    (
        "inside",
        "What the shortcuts carry, and what the layers answer",
        "Measured in the trained networks, one seed each.",
        &["shortcut", "responses"],
    ),
    (
        "learned",
        "What was learned",
        "What the blocks of the trained networks are good for, one seed each.",
        &["learned"],
    ),
    (
        "networks",
        "The networks",
        "From left to right: VGG-19, a plain network of 34 layers, and its residual twin (He et al. 2015, figure 3).",
        &["networks"],
    ),
];

/// The page, one HTML file that needs nothing else.
pub fn render(groups: &[Group<'_>], look: &Look, figures: &[Figure], command: &str) -> String {
    let first = groups.first().map(|g| g.runs[0]);
    let lead = first.map_or(String::new(), |run| {
        let s = &run.started;
        format!(
            "{}: {} pictures to learn from, {} to test on; {} steps of {}",
            s.data,
            format::thousands(s.train_images),
            format::thousands(s.test_images),
            format::thousands(s.steps),
            s.batch
        )
    });
    let mut page = Page::new("Depth, with and without shortcuts", "Comparison", &lead);
    for finding in conclusions(groups, look) {
        let tone = if finding.as_published { Tone::Good } else { Tone::Plain };
        page.banner(tone, &finding.text);
    }
    results(&mut page, groups);
    for (id, heading, lead, names) in SECTIONS {
        let of_section = figures.iter().filter(|f| names.iter().any(|n| f.name.starts_with(n)));
        let of_section: Vec<&Figure> = of_section.collect();
        if of_section.is_empty() {
            continue;
        }
        page.section(id, heading, lead);
        for figure in of_section {
            figure.add_to(&mut page);
        }
        if *id == "gradients" {
            verdicts(&mut page, groups, look);
        }
        if *id == "learned" {
            learned::classes(&mut page, groups, look);
        }
    }
    page.section("reproduce", "How to repeat it", "");
    page.listing(command);
    if let Some(run) = first {
        page.details("The recipe of the first run");
        page.listing(run.recipe.to_toml().trim_end());
        page.end_details();
    }
    page.finish(&format!("Written by resnet {}. 1 MAC is 2 FLOPs.", env!("CARGO_PKG_VERSION")))
}

fn results(page: &mut Page, groups: &[Group<'_>]) {
    page.section("results", "Results", "");
    let published = |g: &Group<'_>| published::of(&g.runs[0].arch.name(), &g.runs[0].started.data);
    let any = groups.iter().any(|g| published(g).is_some());
    let rows: Vec<Vec<Cell>> = groups
        .iter()
        .map(|g| {
            let s = &g.runs[0].started;
            let mut row = vec![
                Cell::Head(g.label.clone()),
                Cell::Number(format::thousands(s.params)),
                Cell::Number(format!("{}MACs", format::compact(s.macs) + " ")),
                Cell::Number(g.text(g.train_error())),
                Cell::Number(g.text(g.test_error())),
                Cell::Number(format::duration(g.seconds())),
                Cell::Number(g.runs.len().to_string()),
            ];
            if any {
                row.push(Cell::Number(
                    published(g).map_or(format::NONE.into(), |p| percent(p.test_error, 2)),
                ));
            }
            row
        })
        .collect();
    let mut headings = vec![
        "network",
        "parameters",
        "work per image",
        "training error",
        "test error",
        "time of a run",
        "seeds",
    ];
    if any {
        headings.push("test error in the paper");
    }
    page.table("Final errors", &headings, &rows);
    page.paragraph(
        "Training error: of the pictures as they were trained on, augmented, since the evaluation before the last. With several seeds: \
         mean and standard deviation.",
    );
    let sources: Vec<String> = groups.iter().filter_map(|g| published(g).map(|p| p.source)).fold(
        Vec::new(),
        |mut all: Vec<String>, source| {
            if !all.iter().any(|s| s == source) {
                all.push(source.into());
            }
            all
        },
    );
    if any {
        page.paragraph(&format!(
            "The paper's numbers are of 64,000 steps of 128 pictures, about 164 epochs ({}). Plain networks have no entry there.",
            sources.join("; ")
        ));
    }
}

fn verdicts(page: &mut Page, groups: &[Group<'_>], look: &Look) {
    let before = look.initial.iter().map(|s| (&s.label, "before", &s.inspection));
    let after = look.trained.iter().map(|(index, i)| (&groups[*index].label, "after", i));
    let rows: Vec<Vec<Cell>> = before
        .chain(after)
        .map(|(label, when, inspection)| {
            let trend = &inspection.trend;
            vec![
                Cell::Head(label.clone()),
                Cell::Text(when.into()),
                Cell::Text(trend.verdict.word().into()),
                Cell::Number(format!("{:.3}", trend.per_layer())),
                Cell::Number(format::number(trend.end_to_end())),
            ]
        })
        .collect();
    let headings = [
        "network",
        "training",
        "gradient",
        "factor from a layer to the one before",
        "from the last to the first",
    ];
    page.table("What the gradient does over depth", &headings, &rows);
    page.paragraph(&format!(
        "The factors are of the line through the logarithms of the lengths of dL/dy, all convolutions of the main path. Healthy: less than a \
         factor of {LIMIT} from end to end."
    ));
}

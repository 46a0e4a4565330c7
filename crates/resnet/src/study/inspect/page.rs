//! The page about an inspected network.

use super::figures::{self, Line};
use super::{Inspection, describe};
use crate::measure::probe::{LIMIT, Verdict};
use crate::page::charts::chart::Style;
use crate::page::charts::figure::Figure;
use crate::page::charts::format;
use crate::page::charts::page::{Cell, Page, Stat, Tone};
use crate::train::event::Monitored;

/// What stands under every map.
const MAP: &str = "The first layer on top. The looks at the start stand at 0, 1, 2, 4, ... steps, then at equal distances.";

/// The figures of an inspection; `history` is what a monitored run saw, empty for any other
/// network.
pub(super) fn figures(inspection: &Inspection, history: &[Monitored]) -> Vec<Figure> {
    let line = |style| Line {
        label: String::new(),
        colour: 0,
        style,
        measurement: &inspection.measurement,
    };
    let one = [line(Style::Bold)];
    let mut all = vec![
        Figure::chart(
            "gradient-activations",
            figures::gradients("Gradient of the loss with respect to each response", &one),
            "y: what the layer gives, after the batch norm that follows it, before addition and ReLU. The first layer is at the right, where the gradient arrives last.",
        ),
        Figure::chart(
            "gradient-weights",
            figures::weight_gradients("Gradient of the loss with respect to each weight", &one),
            "",
        ),
        Figure::chart(
            "responses",
            figures::responses("Standard deviation of each response", &one),
            "After batch norm, before addition and ReLU.",
        ),
        Figure::chart("responses-sorted", figures::sorted_responses("The same, sorted", &one), ""),
    ];
    if !inspection.measurement.blocks.is_empty() {
        all.insert(
            2,
            Figure::chart(
                "shortcut-share",
                figures::shares("What arrives through the shortcuts", &one),
                "Of each block's dL/dx, the part of the term that came through the shortcut: its projection on dL/dx over the length \
                 of dL/dx. What is missing to 100 % came through the branch; above 100 %, the branch's term points the other way.",
            ),
        );
    }
    if let Some(decades) = figures::decades(&[history]) {
        let map = figures::gradient_map("Gradient over training", history, decades);
        all.push(Figure::grid("gradient-heatmap", map, MAP));
    }
    let maps = figures::maps(history).into_iter();
    all.extend(maps.map(|(name, map)| Figure::grid(name, map, MAP)));
    all
}

/// The page.
pub(super) fn render(inspection: &Inspection, figures: &[Figure], command: &str) -> String {
    let Inspection { trend, .. } = inspection;
    let lead =
        format!("{}; {} pictures of {}", inspection.weights, inspection.pictures, inspection.data);
    let mut page = Page::new(&inspection.arch, "Inspection", &lead);
    let tone = match trend.verdict {
        Verdict::Healthy => Tone::Good,
        _ => Tone::Bad,
    };
    let sentence = describe(trend);
    let (first, rest) = sentence.split_at(1);
    page.banner(tone, &format!("{}{rest}.", first.to_uppercase()));
    let stat = |name: &str, value: String, note: &str| Stat {
        name: name.into(),
        value,
        note: note.into(),
    };
    page.stats(&[
        stat(
            "Gradient, a layer",
            format!("x {:.3}", trend.per_layer()),
            "change of |dL/dy| from a layer to the one before it, by a fitted line",
        ),
        stat(
            "Gradient, end to end",
            format!("x {}", format::number(trend.end_to_end())),
            &format!(
                "by the same line, over {} convolutions; healthy is less than {LIMIT}-fold",
                trend.layers
            ),
        ),
        stat(
            "Loss",
            format::number(inspection.measurement.loss),
            "cross-entropy in nats, batch statistics",
        ),
    ]);
    page.section("figures", "Over depth", "Measured on one batch, forward and backward.");
    for figure in figures {
        figure.add_to(&mut page);
    }
    tables(&mut page, inspection);
    if !command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn tables(page: &mut Page, inspection: &Inspection) {
    page.section("numbers", "In numbers", "");
    let number = |value: f64| Cell::Number(format::number(value));
    let option = |value: Option<f64>, text: fn(f64) -> String| {
        Cell::Number(value.map_or(format::NONE.to_owned(), text))
    };
    let rows: Vec<Vec<Cell>> = inspection
        .measurement
        .layers
        .iter()
        .map(|l| {
            vec![
                Cell::Head(l.name.clone()),
                number(l.activation_gradient_norm),
                number(l.gradient_norm),
                number(l.weight_norm),
                option(l.update_ratio, format::number),
                number(l.response_std),
                option(l.dead, |dead| format::percent(dead, 1)),
            ]
        })
        .collect();
    let headings =
        ["layer", "|dL/dy|", "|dL/dw|", "|w|", "update / w", "response std", "dead channels"];
    page.table("Layers with weights", &headings, &rows);
    page.paragraph(
        "Update: of a network before training, the first one at the recipe's base rate, without warm-up; of a monitored run, the last one \
         that was looked at. Dead: zero everywhere, for every picture looked at.",
    );
    let rows: Vec<Vec<Cell>> = inspection
        .measurement
        .blocks
        .iter()
        .map(|b| {
            vec![
                Cell::Head(b.name.clone()),
                number(b.gradient_norm),
                number(b.shortcut_norm),
                number(b.branch_norm),
                Cell::Number(format::percent(b.shortcut_share, 1)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let headings =
            ["block", "|dL/dx|", "through the shortcut", "through the branch", "shortcut's part"];
        page.table("Residual blocks", &headings, &rows);
    }
}

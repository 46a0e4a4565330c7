//! What the compared networks have learned: what each block's maps tell, what is lost without a
//! block, and which classes gained by depth.

use super::figures::Look;
use super::group::Group;
use crate::measure::feature::Learned;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::Figure;
use crate::page::charts::format::{self, percent};
use crate::page::charts::page::{Cell, Page};

/// Pictures that classifiers are fitted to, and as many that they are measured on.
pub(super) const PICTURES: usize = 1000;
/// Most classes in the list of those that gained.
const CLASSES: usize = 5;

/// A network of one seed, by index of its group.
pub(super) type Of = (usize, Learned);

/// The figures.
pub(super) fn figures(groups: &[Group<'_>], learned: &[Of]) -> Vec<Figure> {
    let mut depths: Vec<usize> = groups.iter().map(|g| g.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let style = |group: &Group<'_>| {
        let colour = depths.iter().position(|&d| d == group.depth).unwrap_or(0);
        (if group.residual { Style::Bold } else { Style::Dashed }, colour)
    };
    let mut all = Vec::new();
    if learned.iter().any(|(_, of)| !of.told.is_empty()) {
        let x = Axis::new("convolutions before the maps").count().from_zero();
        let y = Axis::new("pictures that a linear classifier tells").percent();
        let chart = LineChart::new("What a linear classifier tells from the maps", x, y);
        let chart = learned.iter().fold(chart, |chart, (index, of)| {
            let (style, colour) = style(&groups[*index]);
            let points = of.told.iter().map(|told| (told.depth as f64, told.share));
            chart.line(&*groups[*index].label, style, colour, points)
        });
        let caption = format!(
            "Each point: the end of a block of a trained network. A classifier without hidden layers, fitted to the mean of each channel over \
             {} training pictures and measured on as many others: what the layers before have made easy to tell. Dashed: plain networks; colour: depth.",
            format::thousands(PICTURES as u64)
        );
        all.push(Figure::chart("learned-probes", chart, caption));
    }
    let chart = LineChart::new(
        "Error without one block",
        Axis::new("block removed, from the image").count(),
        Axis::new("error").percent().from_zero(),
    );
    let chart = learned.iter().fold(chart, |chart, (index, of)| {
        let (style, colour) = style(&groups[*index]);
        let total = of.lesions.pictures.max(1) as f64;
        let blocks = (1u32..).map(f64::from).zip(&of.lesions.blocks);
        let points = blocks.map(|(x, lesion)| {
            let wrong = lesion.score.as_ref().and_then(|score| score.wrong);
            (x, wrong.map_or(f64::NAN, |wrong| wrong as f64 / total))
        });
        let points: Vec<(f64, f64)> = points.filter(|point| point.1.is_finite()).collect();
        chart.line(&*groups[*index].label, style, colour, points)
    });
    if chart.series.iter().any(|series| !series.points.is_empty()) {
        all.push(Figure::chart(
            "learned-lesions",
            chart,
            "One block is taken out of the trained network and nothing is trained again: of a residual block the branch, the shortcut stays; of \
             a plain network the layers, where what is left fits together (Veit et al. 2016, section 4.1). Dashed: plain networks; colour: depth.",
        ));
    }
    all
}

/// The classes of which the deepest residual network tells more than the shallowest.
pub(super) fn classes(page: &mut Page, groups: &[Group<'_>], look: &Look) {
    let residual = || look.learned.iter().filter(|(index, _)| groups[*index].residual);
    let (Some((few, shallow)), Some((many, deep))) = (
        residual().min_by_key(|(index, _)| groups[*index].depth),
        residual().max_by_key(|(index, _)| groups[*index].depth),
    ) else {
        return;
    };
    if groups[*few].depth == groups[*many].depth {
        return;
    }
    let share = |[right, of]: [u64; 2]| right as f64 / of.max(1) as f64;
    let pairs = shallow.lesions.classes.iter().zip(&deep.lesions.classes).zip(&look.classes);
    let mut gains: Vec<(f64, f64, &str)> = pairs
        .filter(|((_, deep), _)| deep[1] > 0)
        .map(|((a, b), name)| (share(*a), share(*b), name.as_str()))
        .collect();
    gains.sort_by(|a, b| (b.1 - b.0).total_cmp(&(a.1 - a.0)));
    let rows: Vec<Vec<Cell>> = gains
        .iter()
        .take_while(|(before, after, _)| after > before)
        .take(CLASSES)
        .map(|&(before, after, name)| {
            vec![
                Cell::Head(name.into()),
                Cell::Number(percent(before, 1)),
                Cell::Number(percent(after, 1)),
                Cell::Number(format!("{:+.1} points", (after - before) * 100.0)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let headings = ["class", &*groups[*few].label, &*groups[*many].label, "gained"];
        page.table("Classes that gained most by depth", &headings, &rows);
        page.paragraph(&format!(
            "Share of each class's pictures that are told, of {} pictures not trained on; one seed of each network.",
            format::thousands(deep.lesions.pictures)
        ));
    }
}

//! The figures of a comparison.

use super::error::CompareError;
use super::group::Group;
use super::learned;
use super::record::Outcome;
use super::record::Record;
use crate::measure::feature::{self, Learned};
use crate::model::Model;
use crate::net::Arch;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::{Drawing, Figure};
use crate::page::draw::{Network, draw, embed};
use crate::study::inspect::figures::{self as depth, Line};
use crate::study::inspect::{InspectError, Inspection, inspect};
use crate::train::task::Task;

/// Colours of plain and residual networks in the palette.
const PLAIN: usize = 1;
const RESIDUAL: usize = 0;
/// Points of a training curve, about: single steps are noise.
const CURVE: usize = 80;
/// Gains of the plain network without batch norm whose gradients are shown.
const GAINS: [&str; 3] = ["0.5", "1", "2"];

/// A network as it starts.
pub struct Start {
    /// Its name in figures.
    pub label: String,
    /// Whether batch norm was taken out to show what it does.
    pub bare: bool,
    /// What was found.
    pub inspection: Inspection,
}

/// What was seen inside the compared networks.
pub struct Look {
    /// Networks as they start.
    pub initial: Vec<Start>,
    /// Networks as they ended, of one seed each, by index of their group.
    pub trained: Vec<(usize, Inspection)>,
    /// What those have learned.
    pub learned: Vec<(usize, Learned)>,
    /// Names of the classes, by label.
    pub classes: Vec<String>,
}

impl Look {
    /// Looks into the deepest plain and residual networks as they start, the plain one also without
    /// batch norm at several gains, and into every network as it ended. `go_on` is asked before
    /// each of them; `None` where it said no.
    ///
    /// # Errors
    /// [`CompareError`].
    pub fn into(
        task: &Task,
        groups: &[Group<'_>],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Look>, CompareError> {
        let deepest = |residual: bool| {
            let family = groups.iter().filter(|g| g.residual == residual);
            family.max_by_key(|g| g.depth).map(|g| g.runs[0].arch.clone())
        };
        let (plain, residual) = (deepest(false), deepest(true));
        let mut networks: Vec<(String, bool, Arch)> = Vec::new();
        if let Some(plain) = &plain {
            for gain in GAINS {
                let mut bare = plain.clone();
                let set = bare.set("norm", "none");
                if set.and_then(|()| bare.set("gain", gain)).is_ok() {
                    let label = format!("{}, gain {gain}, no norm", plain.name());
                    networks.push((label, true, bare));
                }
            }
        }
        for arch in plain.iter().chain(&residual) {
            networks.push((arch.name(), false, arch.clone()));
        }
        let mut initial = Vec::new();
        for (label, bare, arch) in networks {
            if !go_on() {
                return Ok(None);
            }
            let inspection = inspect(&task.with_network(&arch.name())?, None, None)?;
            initial.push(Start { label, bare, inspection });
        }
        let (mut trained, mut learned) = (Vec::new(), Vec::new());
        for (index, group) in groups.iter().enumerate() {
            let run = group.runs[0];
            let Some(path) = run.model().filter(|_| run.outcome == Outcome::Finished) else {
                continue;
            };
            if !go_on() {
                return Ok(None);
            }
            let model = Model::load(&path)?;
            let task = task.with_model(&model)?;
            trained.push((index, inspect(&task, Some(&model), None)?));
            let device = task.device.as_ref();
            let most = learned::PICTURES;
            let of = feature::learned(&model, &task.train, &task.eval, most, device);
            learned.push((index, of.map_err(InspectError::from)?));
        }
        let classes = task.classes.clone();
        Ok(Some(Look { initial, trained, learned, classes }))
    }
}

fn error_axis() -> Axis {
    Axis::new("error").percent().from_zero()
}

/// The names of all figures, whether a comparison has the numbers for them or not.
pub(super) const NAMES: &[&str] = &[
    "curves-plain",
    "curves-residual",
    "expectation-reality",
    "gradient-depth",
    "gradient-heatmap-plain",
    "gradient-heatmap-residual",
    "learned-lesions",
    "learned-probes",
    "networks",
    "responses",
    "responses-sorted",
    "shortcut-share",
];

/// Every figure that the comparison has the numbers for.
pub fn figures(groups: &[Group<'_>], look: &Look) -> Vec<Figure> {
    let mut all = Vec::new();
    all.extend(expectation(groups));
    all.extend(curves(groups));
    all.extend(gradients(look));
    all.extend(maps(groups));
    all.extend(inside(groups, look));
    all.extend(learned::figures(groups, &look.learned));
    all.extend(networks());
    all
}

/// Figure 3 of He et al. 2015.
fn networks() -> Option<Figure> {
    let drawn: Vec<Network> = ["vgg19", "plain34", "resnet34"]
        .into_iter()
        .filter_map(|name| {
            let arch = Arch::parse(name).ok()?;
            Network::of(&arch, arch.default_input(), arch.default_classes()).ok()
        })
        .collect();
    Some(Figure {
        name: "networks".into(),
        caption: "Figure 3 of He et al. 2015; any network can be drawn so.".into(),
        drawing: Drawing::Done {
            element: embed(&drawn, "networks").ok()?,
            file: draw(&drawn).ok()?,
            widths: (760.0, f64::INFINITY),
        },
    })
}

/// Final errors over depth, a pair of lines for each family that has several depths.
fn expectation(groups: &[Group<'_>]) -> Option<Figure> {
    let mut families: Vec<(&str, Vec<&Group<'_>>)> = Vec::new();
    for group in groups.iter().filter(|g| g.diverged() == 0) {
        let same = |members: &[&Group<'_>]| {
            members[0].family == group.family && members[0].same_recipe(group)
        };
        match families.iter_mut().find(|(_, members)| same(members)) {
            Some((_, members)) => members.push(group),
            None => families.push((&group.family, vec![group])),
        }
    }
    families.retain(|(_, members)| members.len() > 1);
    let first = families.first()?;
    let of_kind = |residual: bool| {
        let kind = families.iter().filter(|f| f.1[0].residual == residual);
        kind.count()
    };
    let twins = of_kind(false) <= 1 && of_kind(true) <= 1;
    let mut chart = LineChart::new(
        "Expectation and reality: final error over depth",
        Axis::new("layers with weights").count(),
        error_axis(),
    );
    for (index, (name, members)) in families.iter().enumerate() {
        let colour = match (twins, members[0].residual) {
            (true, true) => RESIDUAL,
            (true, false) => PLAIN,
            (false, _) => index,
        };
        let points = |of: fn(&Group<'_>) -> f64| -> Vec<(f64, f64)> {
            members.iter().map(|g| (g.depth as f64, of(g))).collect()
        };
        let train = points(|g| g.train_error().mean);
        let test = points(|g| g.test_error().mean);
        chart = chart.line(format!("{name}, train"), Style::Thin, colour, train).line(
            format!("{name}, test"),
            Style::Bold,
            colour,
            test,
        );
    }
    if let Some(shallowest) = first.1.iter().min_by_key(|g| g.depth) {
        chart = chart
            .reference(shallowest.train_error().mean, format!("a copy of {}", shallowest.label));
    }
    Some(Figure::chart(
        "expectation-reality",
        chart,
        "The expectation: a deeper network can copy a shallower one and let its further layers pass everything on, so its training \
         error should lie on the dotted line or below. Thin: training error; bold: error on pictures not trained on. Only the dots are measured.",
    ))
}

/// Errors over steps, one chart for each family.
fn curves(groups: &[Group<'_>]) -> Vec<Figure> {
    let top = groups.iter().flat_map(|g| {
        let run = g.runs[0];
        let train = binned(run).into_iter().map(|p| p.1);
        train.chain(run.evaluations.iter().map(|e| 1.0 - e.top1))
    });
    let top = top.filter(|e| e.is_finite()).fold(0.0, f64::max);
    let mut depths: Vec<usize> = groups.iter().map(|g| g.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let families =
        [(false, "Plain networks", "curves-plain"), (true, "Residual networks", "curves-residual")];
    let figures = families.into_iter().filter_map(|(residual, title, name)| {
        let family: Vec<&Group<'_>> = groups.iter().filter(|g| g.residual == residual).collect();
        if family.is_empty() {
            return None;
        }
        // Twins of one depth share a colour; several networks of one depth need one each.
        let distinct = family.iter().all(|a| family.iter().filter(|b| b.depth == a.depth).count() == 1);
        let mut chart = LineChart::new(
            format!("{title}: error over training"),
            Axis::new("steps").count().from_zero(),
            error_axis().range(0.0, top.max(0.1)),
        );
        for (index, group) in family.iter().enumerate() {
            let colour = match depths.iter().position(|&d| d == group.depth) {
                Some(rank) if distinct => rank,
                _ => index,
            };
            let run = group.runs[0];
            chart = chart.line("", Style::Thin, colour, binned(run));
            let test = run.evaluations.iter().map(|e| (e.step as f64, 1.0 - e.top1));
            chart = chart.line(&*group.label, Style::Bold, colour, test);
        }
        Some(Figure::chart(
            name,
            chart,
            "Thin: error on training pictures as they are trained on, a mean over neighbouring steps. Bold: error on pictures not \
             trained on. One seed of each network.",
        ))
    });
    figures.collect()
}

/// Training error over steps, averaged so that about [`CURVE`] points are left.
fn binned(run: &Record) -> Vec<(f64, f64)> {
    let steps: Vec<(u64, f64)> = run.steps.iter().map(|s| (s.step, 1.0 - s.top1)).collect();
    let chunks = steps.chunks(steps.len().div_ceil(CURVE).max(1));
    let mean = |chunk: &[(u64, f64)]| {
        let n = chunk.len() as f64;
        let step = chunk.iter().map(|s| s.0 as f64).sum::<f64>() / n;
        (step, chunk.iter().map(|s| s.1).sum::<f64>() / n)
    };
    chunks.map(mean).collect()
}

/// Gradients over depth as networks start.
fn gradients(look: &Look) -> Option<Figure> {
    let lines: Vec<Line<'_>> = look
        .initial
        .iter()
        .enumerate()
        .map(|(i, start)| {
            let (colour, style) = match (start.inspection.residual, start.bare) {
                (true, _) => (RESIDUAL, Style::Bold),
                (false, false) => (PLAIN, Style::Bold),
                (false, true) => (2 + i % 3, Style::Thin),
            };
            // The network of those without norm is the plain one, which stands beside them.
            let (_, bare) = start.label.split_once(", ").unwrap_or(("", &start.label));
            Line {
                label: if start.bare { bare.to_owned() } else { start.label.clone() },
                colour,
                style,
                measurement: &start.inspection.measurement,
            }
        })
        .collect();
    (!lines.is_empty()).then(|| {
        Figure::chart(
            "gradient-depth",
            depth::gradients("Gradient over depth, before training", &lines),
            "Length of the loss's gradient with respect to each layer's response: after the batch norm that follows it, if one does, before addition \
             and ReLU. The first layer is at the right, where the gradient arrives last; the number at a line's end is the length there.",
        )
    })
}

/// Gradient maps of the deepest monitored network of each family, on one scale.
fn maps(groups: &[Group<'_>]) -> Vec<Figure> {
    let deepest = |residual: bool| {
        let family = groups.iter().filter(|g| g.residual == residual);
        let monitored = family.filter(|g| !g.runs[0].monitored.is_empty());
        monitored.max_by_key(|g| g.depth)
    };
    let shown: Vec<(&Group<'_>, &str)> =
        [(deepest(false), "gradient-heatmap-plain"), (deepest(true), "gradient-heatmap-residual")]
            .into_iter()
            .filter_map(|(group, name)| Some((group?, name)))
            .collect();
    let histories: Vec<_> = shown.iter().map(|(g, _)| &g.runs[0].monitored[..]).collect();
    let Some(decades) = depth::decades(&histories) else {
        return Vec::new();
    };
    let figures = shown.iter().map(|(group, name)| {
        let title = format!("{}: gradient over training", group.label);
        let map = depth::gradient_map(&title, &group.runs[0].monitored, decades);
        Figure::grid(
            name,
            map,
            "The first layer on top. Always on the same training pictures. The looks at the start stand at 0, 1, 2, 4, ... steps.",
        )
    });
    figures.collect()
}

/// What the trained networks look like inside.
fn inside(groups: &[Group<'_>], look: &Look) -> Vec<Figure> {
    let mut depths: Vec<usize> = groups.iter().map(|g| g.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let lines: Vec<Line<'_>> = look
        .trained
        .iter()
        .map(|(index, inspection)| {
            let group = &groups[*index];
            let rank = depths.iter().position(|&d| d == group.depth).unwrap_or(0);
            Line {
                label: group.label.clone(),
                colour: rank,
                style: if group.residual { Style::Bold } else { Style::Dashed },
                measurement: &inspection.measurement,
            }
        })
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let mut all = Vec::new();
    if lines.iter().any(|line| !line.measurement.blocks.is_empty()) {
        all.push(Figure::chart(
            "shortcut-share",
            depth::shares("What arrives through the shortcuts, after training", &lines),
            "The gradient at each block's input is a sum of two terms: one came through the shortcut, one through the branch. Shown is the shortcut's \
             part; above 100 % the branch's term points the other way. Colour: depth.",
        ));
    }
    all.push(Figure::chart(
        "responses",
        depth::responses("Standard deviation of the responses, after training", &lines),
        "After batch norm, before addition and ReLU. Dashed: plain networks.",
    ));
    all.push(Figure::chart(
        "responses-sorted",
        depth::sorted_responses("The same, sorted", &lines),
        "",
    ));
    all
}

//! The figures of the explanation.

use super::error::ExplainError;
use super::measured::Measured;
use super::story::Shown;
use super::{Request, Words};
use crate::measure::predict::Guess;
use crate::net::Arch;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::{Drawing, Figure};
use crate::page::charts::format::{number, percent, plural};
use crate::page::charts::strips::{Strip, Strips};
use crate::page::charts::tile::Tile;
use crate::page::draw::{Network, block, family};
use crate::study::compare;
use crate::study::features::ChannelSeen;

/// Layers after which chains of numbers are told.
pub(super) const TOLD: [u32; 3] = [5, 19, 50];
/// The factors of the chain without shortcuts, largest first.
pub(super) const FACTORS: [f64; 5] = [2.0, 1.1, 1.0, 0.9, 0.5];
/// The derivatives of the branches of the chain with shortcuts: each block's, or those of two
/// blocks in turn.
pub(super) const BRANCHES: [[f64; 2]; 3] = [[0.1, 0.1], [0.1, -0.1], [-0.1, -0.1]];
/// The family on ImageNet.
const FAMILY: [&str; 5] = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"];
/// The block that is drawn, as in figure 2 of He et al. 2015.
const BLOCK: [&str; 2] = ["resnet34", "layer1.1"];
/// Figures of the comparison that the text shows.
const COMPARED: [&str; 7] = [
    "expectation-reality",
    "curves-plain",
    "curves-residual",
    "gradient-depth",
    "shortcut-share",
    "learned-probes",
    "learned-lesions",
];

/// All figures that the text names.
pub(super) fn all(measured: &Measured<'_>, request: &Request) -> Result<Vec<Shown>, ExplainError> {
    let compared = compare::figures(measured.groups, measured.look);
    let compared = compared.into_iter().filter(|f| COMPARED.contains(&f.name.as_str()));
    let live = [cnn(measured), chain(), shortcut_chain(), features(measured)];
    let live = live.into_iter().chain(compared);
    let mut all: Vec<Shown> =
        live.map(|figure| Shown { figure, command: request.command.clone() }).collect();
    all.push(one_block(&request.words)?);
    all.push(whole_family(&request.words)?);
    Ok(all)
}

/// What each layer of the classical network makes of a picture.
fn cnn(measured: &Measured<'_>) -> Figure {
    let mut strips = Vec::new();
    let seen = measured.seen;
    if let Some(shown) = &seen.shown {
        let side = |t: &Tile| format!("{} x {}", t.height, t.width);
        strips.push(Strip {
            text: format!("The picture, {} numbers", side(&shown.picture)),
            tiles: vec![(shown.picture.clone(), shown.name.clone())],
            rows: 1,
        });
        let filters = seen.filters.iter().map(|tile| (tile.clone(), "filter".to_owned()));
        strips.push(Strip {
            text: format!(
                "Filters of the first convolution, {} each; there are {}",
                seen.filters.first().map_or(String::new(), side),
                seen.filters.len()
            ),
            tiles: filters.collect(),
            rows: 1,
        });
        for (point, maps) in &shown.maps {
            let point = &seen.points[*point];
            let tiles = maps.iter().map(|(channel, tile)| (tile.clone(), format!("map {channel}")));
            strips.push(Strip {
                text: format!(
                    "After {} and ReLU, the strongest of {} maps of {} x {}",
                    plural(point.depth as u64, "convolution"),
                    point.channels,
                    point.height,
                    point.width
                ),
                tiles: tiles.collect(),
                rows: 1,
            });
        }
        let guess = |g: &Guess| format!("{} {}", g.label, percent(f64::from(g.probability), 1));
        let guesses: Vec<String> = measured.guesses.iter().map(guess).collect();
        strips.push(Strip {
            text: format!("After the fully connected layers: {}", guesses.join(", ")),
            tiles: Vec::new(),
            rows: 0,
        });
    }
    Figure {
        name: "cnn".into(),
        caption: "From the picture to its class. Filters: white is the largest weight, black the least. Maps: one filter's answers each, white \
                  where it answers most; max pooling halves them between. The first convolution's own maps are left out.".into(),
        drawing: Drawing::Strips(Strips { title: "A classical network at work".into(), strips }),
    }
}

fn depth_axis(what: &str) -> Axis {
    Axis::new(what).count().from_zero()
}

fn marked(chart: LineChart) -> LineChart {
    // The last is the end of the axis.
    TOLD[..2].iter().fold(chart, |chart, &n| chart.mark(f64::from(n), n.to_string()))
}

/// What is left of a 1 behind `n` layers whose factors are these in turn.
pub(super) fn product(factors: &[f64], n: u32) -> f64 {
    factors.iter().cycle().take(n as usize).product()
}

fn points(factors: &[f64]) -> Vec<(f64, f64)> {
    (0..=50).map(|n| (f64::from(n), product(factors, n))).collect()
}

/// One number multiplied by a factor in each layer.
fn chain() -> Figure {
    let y = Axis::new("what is left of a 1").log();
    let chart = LineChart::new(
        "One number, multiplied again and again",
        depth_axis("layers that it came through"),
        y,
    );
    let chart = FACTORS.iter().enumerate().fold(marked(chart), |chart, (i, &factor)| {
        chart.line(format!("times {factor}"), Style::Bold, i, points(&[factor]))
    });
    let caption = "Powers, no measurement. The axis counts in powers of ten.";
    Figure::chart("chain", chart, caption)
}

/// The same where each block adds what it is given.
fn shortcut_chain() -> Figure {
    let y = Axis::new("what is left of a 1").log();
    let chart = LineChart::new(
        "The same with and without shortcuts",
        depth_axis("blocks that it came through"),
        y,
    );
    let chart = marked(chart).line("0.1 alone:", Style::Dashed, 1, points(&[0.1]));
    let chart = BRANCHES.iter().enumerate().fold(chart, |chart, (i, branch)| {
        let factors = branch.map(|f| 1.0 + f);
        let colour = [0, 2, 3][i];
        let label = ["1 + 0.1", "1 ± 0.1", "1 − 0.1"][i];
        chart.line(label, Style::Bold, colour, points(&factors))
    });
    let caption = "Powers, no measurement. F′ is the derivative of each block's layers: without shortcuts a block's factor is F′, with them \
                   1 + F′, here with F′ = 0.1, 0.1 and −0.1 in turn, and −0.1.";
    Figure::chart("chain-shortcut", chart, caption)
}

pub(super) fn branch_text([a, b]: &[f64; 2]) -> String {
    let text = |x: f64| number(x).replace('-', "−");
    if a == b { text(*a) } else { format!("{} and {} in turn", text(*a), text(*b)) }
}

fn one_block(words: &Words) -> Result<Shown, ExplainError> {
    let [name, of] = BLOCK;
    let network = network(name)?;
    let (element, width) = block::embed(&network, of, true, "block")?;
    let figure = Figure {
        name: "block".into(),
        caption: "One block (figure 2 of He et al. 2015, with the batch norm that it leaves out and the ReLU behind the sum). The numbers go down. \
                  Coloured: the derivative g comes back two ways, unchanged through the shortcut, and through the branch multiplied by F′, for many \
                  numbers written (∂F/∂x)ᵀ; both are added."
            .into(),
        drawing: Drawing::Done {
            element,
            file: block::draw(&network, of, true)?,
            widths: (width.min(330.0), width * 1.2),
        },
    };
    Ok(Shown { figure, command: (words.block)(name, of) })
}

fn whole_family(words: &Words) -> Result<Shown, ExplainError> {
    let networks = FAMILY.map(network).into_iter().collect::<Result<Vec<_>, _>>()?;
    let (element, width) = family::embed(&networks, "family")?;
    let figure = Figure {
        name: "family".into(),
        caption: "One line a layer, its length the number of channels (each doubling is the same step), its colour the size of the maps. Arcs \
                  are shortcuts. All five to one scale; from 50 layers on as libraries build them (v1.5), with a few more multiply-adds (MACs) than the \
                  paper's."
            .into(),
        drawing: Drawing::Done {
            element,
            file: family::draw(&networks)?,
            widths: (width.min(330.0), width * 1.6),
        },
    };
    Ok(Shown { figure, command: (words.skyline)(&FAMILY) })
}

fn network(name: &str) -> Result<Network, ExplainError> {
    let arch = Arch::parse(name)?;
    Ok(Network::of(&arch, arch.default_input(), arch.default_classes())?)
}

/// What channels of each stage answer to.
fn features(measured: &Measured<'_>) -> Figure {
    let mut strips = Vec::new();
    let seen = measured.deep.points.iter().filter(|point| !point.seen.is_empty());
    for point in seen {
        for channel in &point.seen {
            strips.push(Strip {
                text: format!(
                    "{}, channel {}, {} convolutions deep",
                    point.name, channel.channel, point.depth
                ),
                tiles: tiles(channel),
                rows: 1,
            });
        }
    }
    Figure {
        name: "features".into(),
        caption: "First of each row: made from noise. Then the parts of test pictures that the channel answers to most, dark where it does not."
            .into(),
        drawing: Drawing::Strips(Strips { title: "What channels of resnet56 answer to".into(), strips }),
    }
}

fn tiles(channel: &ChannelSeen) -> Vec<(Tile, String)> {
    let made = channel.made.iter().map(|made| (made.tile.clone(), "made from noise".to_owned()));
    let top = channel.top.iter().map(|patch| (patch.tile.clone(), patch.picture.clone()));
    made.chain(top).collect()
}

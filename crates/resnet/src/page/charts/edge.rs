//! Triangles at the edge of a plot, where values lie beyond it.

use super::label::width;
use super::markup::{Markup, Px};
use super::palette::COLOURS;
use super::plot::Plot;
use super::svg::{self, TEXT};

/// Values nearer to each other than this many pixels share a triangle.
const NEAR: f64 = 10.0;
const SIDE: f64 = 5.0;

/// Values beyond one place of the edge.
struct Beyond {
    x: f64,
    up: bool,
    colour: usize,
    /// The farthest of them.
    farthest: (f64, f64),
}

/// Draws the triangles; the farthest value of each edge is written beside its own.
pub(super) fn draw(m: &mut Markup, plot: &Plot<'_>) {
    let all = places(plot);
    for up in [true, false] {
        let here = || all.iter().filter(|b| b.up == up);
        let far = |b: &&Beyond| b.farthest.1.abs();
        for beyond in here() {
            let (y, tip) = if up { (plot.top, -SIDE) } else { (plot.bottom, SIDE) };
            let d = format!(
                "M{},{}H{}L{},{}z",
                Px(beyond.x - SIDE),
                Px(y),
                Px(beyond.x + SIDE),
                Px(beyond.x),
                Px(y + 1.4 * tip)
            );
            m.open("path", &[("class", &format!("beyond f{}", beyond.colour)), ("d", &d)]);
            let (x, y) = beyond.farthest;
            let chart = plot.chart;
            m.element("title", &[], format!("{} at {}", chart.y.text(y), chart.x.text(x)));
            m.close();
        }
        if let Some(farthest) = here().max_by(|a, b| far(a).total_cmp(&far(b))) {
            let text = plot.chart.y.text(farthest.farthest.1);
            let y = if up { plot.top + 12.0 } else { plot.bottom - 5.0 };
            if farthest.x + SIDE + 4.0 + width(&text, TEXT) <= plot.right {
                svg::text(m, "note", farthest.x + SIDE + 4.0, y, text);
            } else {
                svg::text(m, "note end", farthest.x - SIDE - 4.0, y, text);
            }
        }
    }
}

/// What lies beyond, neighbours together.
fn places(plot: &Plot<'_>) -> Vec<Beyond> {
    let mut all: Vec<Beyond> = Vec::new();
    let (chart, slack) = (plot.chart, 1e-6);
    for series in &chart.series {
        for point in chart.ordered(series).into_iter().filter(|p| chart.draws(p)) {
            let (x, y) = (plot.x_at(point.0), plot.y_at(point.1));
            let up = y < plot.top - slack;
            if !up && y <= plot.bottom + slack {
                continue;
            }
            match all.iter_mut().find(|b| b.up == up && (b.x - x).abs() < NEAR) {
                Some(there) if there.farthest.1.abs() >= point.1.abs() => {}
                Some(there) => there.farthest = point,
                None => {
                    let colour = series.colour % COLOURS;
                    all.push(Beyond { x, up, colour, farthest: point });
                }
            }
        }
    }
    all
}

//! The classes of a network in a report: confusion matrix, mistakes with their pictures, recall,
//! precision and F1.

use super::chart::Frame;
use super::confusion::Confusion;
use super::figure::{NARROW, WIDE};
use super::format::{self, percent, thousands};
use super::heatmap::{HeatMap, Hue, Note, Ramp, Shade};
use super::page::{Cell, Page};
use super::png::data_uri;
use super::run::{ConfusedPair, Picture};

/// What is known of the classes.
#[derive(Clone, Copy, Debug)]
pub struct ClassReport<'a> {
    /// Their names.
    pub classes: &'a [String],
    /// Counts, row-major: rows the truth, columns the prediction; empty if there are none.
    pub confusion: &'a [u64],
    /// The most frequent mistakes with examples, most frequent first. If empty, they are read from
    /// `confusion`.
    pub confused: &'a [ConfusedPair],
}

/// A mistake to be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The picture, with its name and the probability of the wrong class.
    pub picture: Picture,
    /// Its class.
    pub truth: String,
    /// What it was taken for.
    pub predicted: String,
    /// Its loss, in nats.
    pub loss: f64,
}

/// More classes than this and the matrix has no numbers, the table of classes is folded.
const FEW_CLASSES: usize = 32;
/// Up to this many classes the matrix is readable in a narrow window.
const NARROW_CLASSES: usize = 12;
const MOST_PAIRS: usize = 12;
const MOST_PICTURES: usize = 12;

/// The confusion matrix.
pub fn confusion(page: &mut Page, report: &ClassReport<'_>) {
    let Some(matrix) = Confusion::new(report.confusion, report.classes.len()) else {
        if !report.confusion.is_empty() {
            page.section("confusion", "Confusion matrix", "");
            page.paragraph(&format!(
                "Left out: {} counts do not make a matrix of {} classes.",
                report.confusion.len(),
                report.classes.len()
            ));
        }
        return;
    };
    let n = matrix.classes();
    let wrong_shares =
        (0..n).flat_map(|t| (0..n).filter(move |&p| p != t).map(move |p| matrix.share(t, p)));
    let worst = wrong_shares.fold(0.05, f64::max); // a lone mistake stays pale
    let shade = |truth: usize, predicted: usize| {
        let share = matrix.share(truth, predicted);
        if truth == predicted {
            Shade { hue: Hue::Main, strength: share }
        } else {
            Shade { hue: Hue::Accent, strength: (share / worst).sqrt() }
        }
    };
    let note = |truth: usize, predicted: usize| {
        let count = matrix.count(truth, predicted);
        (count > 0).then(|| Note {
            text: count.to_string(),
            tip: format!(
                "{} taken for {}: {} of {}, {}",
                report.classes[truth],
                report.classes[predicted],
                thousands(count),
                thousands(matrix.images(truth)),
                percent(matrix.share(truth, predicted), 1)
            ),
        })
    };
    let full = percent(worst, 1);
    let map = HeatMap {
        title: "Confusion matrix",
        description: "Rows are true classes, columns predicted ones. The tables below hold the same in words.",
        rows: report.classes,
        columns: report.classes,
        row_title: "truth",
        column_title: "predicted",
        shade: &shade,
        note: &note,
        ramps: &[
            Ramp { hue: Hue::Main, label: "right", none: "0", full: &percent(1.0, 0) },
            Ramp { hue: Hue::Accent, label: "wrong", none: "0", full: &full },
        ],
    };
    let numbers = if n <= FEW_CLASSES { " Numbers count images." } else { "" };
    page.section(
        "confusion",
        "Confusion matrix",
        &format!(
            "A row holds the images of one class; a cell's shade is its share of the row.{numbers}"
        ),
    );
    let wide = map.svg(Frame { id: "confusion-wide", width: WIDE, height: 400.0 });
    if n <= NARROW_CLASSES {
        let narrow = map.svg(Frame { id: "confusion-narrow", width: NARROW, height: 400.0 });
        page.figure(&wide, &narrow, "");
    } else {
        page.scrolling_figure(&wide, (map.least_width().min(WIDE), WIDE), "Confusion matrix", "");
    }
}

/// The pairs of classes confused most often.
pub fn mistakes(page: &mut Page, report: &ClassReport<'_>) {
    let matrix = Confusion::new(report.confusion, report.classes.len());
    let n = report.classes.len();
    let mut pairs: Vec<ConfusedPair> = report
        .confused
        .iter()
        .filter(|p| p.truth < n && p.predicted < n)
        .take(MOST_PAIRS)
        .cloned()
        .collect();
    if let (true, Some(matrix)) = (pairs.is_empty(), matrix) {
        let read = matrix.pairs(MOST_PAIRS).into_iter();
        pairs = read
            .map(|(truth, predicted, count)| ConfusedPair {
                truth,
                predicted,
                count,
                pictures: vec![],
            })
            .collect();
    }
    if pairs.is_empty() {
        return;
    }
    let share = |p: &ConfusedPair| {
        matrix.filter(|m| m.images(p.truth) > 0).map(|m| p.count as f64 / m.images(p.truth) as f64)
    };
    let pictured = pairs.iter().any(|p| !p.pictures.is_empty());
    page.section(
        "mistakes",
        "Most frequent mistakes",
        if pictured {
            "Under a picture: the probability the network gave to its wrong answer."
        } else {
            ""
        },
    );
    if !pictured {
        let rows: Vec<Vec<Cell>> = (pairs.iter())
            .map(|p| {
                vec![
                    Cell::Head(report.classes[p.truth].clone()),
                    Cell::Text(report.classes[p.predicted].clone()),
                    Cell::Number(thousands(p.count)),
                    Cell::Number(share(p).map_or(format::NONE.to_owned(), |s| percent(s, 1))),
                ]
            })
            .collect();
        page.table(
            "The most frequent mistakes",
            &["truth", "taken for", "images", "of the class"],
            &rows,
        );
        return;
    }
    page.markup().open("div", &[("class", &"mistakes")]);
    for pair in &pairs {
        let (truth, predicted) = (&report.classes[pair.truth], &report.classes[pair.predicted]);
        page.markup().open("div", &[]);
        page.heading(&format!("{truth} → {predicted}"));
        let of =
            share(pair).map(|s| format!(", {} of all {truth}", percent(s, 1))).unwrap_or_default();
        page.paragraph(&format!("{}{of}", format::plural(pair.count, "image")));
        if !pair.pictures.is_empty() {
            page.markup().open("ul", &[("class", &"pictures")]);
            for picture in pair.pictures.iter().take(MOST_PICTURES) {
                self::picture(page, picture, truth, predicted, &[]);
            }
            page.markup().close();
        }
        page.markup().close();
    }
    page.markup().close();
}

/// The worst mistakes, each with its picture, its file and both classes.
pub fn worst(page: &mut Page, mistakes: &[Shown]) {
    if mistakes.is_empty() {
        return;
    }
    page.section(
        "worst",
        "Worst mistakes",
        "The pictures with the largest loss: those whose true class was given the least probability. Some may be labelled wrongly.",
    );
    page.markup().open("ul", &[("class", &"pictures worst")]);
    for shown in mistakes {
        let Shown { picture: image, truth, predicted, loss } = shown;
        let name = image.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let notes = [
            format!("{truth} → {predicted}"),
            format!("loss {}", format::number(*loss)),
            name.to_owned(),
        ];
        picture(page, image, truth, predicted, &notes);
    }
    page.markup().close();
}

fn picture(page: &mut Page, picture: &Picture, truth: &str, predicted: &str, notes: &[String]) {
    let m = page.markup();
    let probability = percent(f64::from(picture.probability), 0);
    m.open("li", &[("title", &picture.name)]);
    match data_uri(picture.width, picture.height, picture.channels, &picture.pixels) {
        Ok((uri, w, h)) => {
            // Whole multiples keep small pictures crisp; photos are shown at half their stored size
            // for dense screens.
            let longest = w.max(h);
            let scale = if longest <= 96 { f64::from(96 / longest) } else { 0.6 };
            let side = |s: u32| (f64::from(s) * scale).round().max(1.0);
            let class = if longest <= 96 { "pixels" } else { "photo" };
            let alt = format!(
                "{}: {truth}, taken for {predicted} with probability {probability}",
                picture.name
            );
            m.leaf(
                "img",
                &[
                    ("class", &class),
                    ("src", &uri),
                    ("width", &side(w)),
                    ("height", &side(h)),
                    ("alt", &alt),
                ],
            );
        }
        Err(error) => m.element("span", &[], format!("{}: {error}", picture.name)),
    }
    m.element("span", &[], probability);
    for note in notes {
        m.element("span", &[], note);
    }
    m.close();
}

/// Recall, precision and F1 of each class.
pub fn classes(page: &mut Page, report: &ClassReport<'_>) {
    let Some(matrix) = Confusion::new(report.confusion, report.classes.len()) else {
        return;
    };
    let n = matrix.classes();
    let share = |value: Option<f64>| match value {
        Some(v) => Cell::Share(percent(v, 1), v),
        None => Cell::Number(format::NONE.to_owned()),
    };
    let mut order: Vec<usize> = (0..n).collect();
    let folded = n > FEW_CLASSES;
    if folded {
        let recall = |&c: &usize| matrix.recall(c).unwrap_or(2.0);
        order.sort_by(|a, b| recall(a).total_cmp(&recall(b)).then(a.cmp(b)));
    }
    let rows: Vec<Vec<Cell>> = order
        .into_iter()
        .map(|class| {
            let mistaken =
                matrix.taken_for(class).map_or(format::NONE.to_owned(), |(predicted, count)| {
                    format!("{} ({})", report.classes[predicted], thousands(count))
                });
            vec![
                Cell::Head(report.classes[class].clone()),
                Cell::Number(thousands(matrix.images(class))),
                share(matrix.recall(class)),
                share(matrix.precision(class)),
                share(matrix.f1(class)),
                Cell::Text(mistaken),
            ]
        })
        .collect();
    page.section(
        "classes",
        "Classes",
        "Recall: of the images of a class, the share that was recognised. Precision: of the images taken for the class, the \
         share that belongs to it. F1: the harmonic mean of both.",
    );
    if folded {
        page.details(&format!("All {} classes, the worst recalled first", thousands(n as u64)));
    }
    page.table(
        "Recall and precision of each class",
        &["class", "images", "recall", "precision", "F1", "most often mistaken for"],
        &rows,
    );
    if folded {
        page.end_details();
    }
}

//! The report as a file: well-formed, offline, escaped, the same twice, bounded, and whole for any
//! input.

mod networks;
mod sample;
mod xml;

use resnet::page::charts::chart::{Frame, LineChart, Style};
use resnet::page::charts::{
    ConfusedPair, EpochPoint, Picture, RunReport, Status, StepPoint, axis::Axis, render,
};
use resnet::page::charts::{bars, heatmap, label};
use sample::Sample;
use xml::Element;

/// Checks what holds for every report, and returns its elements.
fn checked(html: &str) -> Vec<Element> {
    let elements = xml::parse(html).unwrap_or_else(|e| panic!("{e}"));
    let mut ids: Vec<&str> = elements.iter().filter_map(|e| e.attribute("id")).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|w| w[0] != w[1]), "an id stands twice: {ids:?}");
    for element in &elements {
        assert!(
            !["script", "iframe", "object", "form"].contains(&element.tag.as_str()),
            "{element:?}"
        );
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on"), "{element:?}");
            match name.as_str() {
                "src" | "href" => assert!(value.starts_with("data:"), "{element:?}"),
                "aria-labelledby" => {
                    assert!(value.split(' ').all(|id| ids.contains(&id)), "{element:?}")
                }
                "clip-path" => {
                    assert!(ids.contains(&value.trim_start_matches("url(#").trim_end_matches(')')))
                }
                "x" | "y" | "width" | "height" | "d" | "r" => {
                    assert!(!value.contains("NaN") && !value.contains("inf"), "{element:?}");
                }
                _ => {}
            }
        }
        if element.tag == "svg" && element.attribute("aria-hidden").is_none() {
            assert!(element.text.len() > 10, "a drawing without title and description");
        }
        if element.tag == "img" {
            assert!(element.attribute("alt").is_some_and(|alt| !alt.is_empty()), "{element:?}");
        }
        if element.tag == "th" {
            assert!(element.attribute("scope").is_some(), "{element:?}");
        }
    }
    let style: String =
        elements.iter().filter(|e| e.tag == "style").map(|e| e.text.as_str()).collect();
    assert!(!style.contains("@import") && !style.contains("url("), "a style that loads something");
    elements
}

fn has(elements: &[Element], id: &str) -> bool {
    elements.iter().any(|e| e.attribute("id") == Some(id))
}

fn text(elements: &[Element]) -> &str {
    &elements.iter().find(|e| e.tag == "html").expect("no html element").text
}

#[test]
fn a_finished_run_has_every_section() {
    let sample = Sample::new(10, 10, 94);
    let html = render(&sample.report());
    let elements = checked(&html);
    for id in ["error", "error-wide-title", "loss", "confusion", "mistakes", "classes", "reproduce"]
    {
        assert!(has(&elements, id), "no {id}");
    }
    let images = elements.iter().filter(|e| e.tag == "img").count();
    assert_eq!(images, sample.confused.iter().map(|p| p.pictures.len()).sum::<usize>());
    let text = text(&elements).replace('\u{a0}', " ");
    for expected in [
        "of 2,000 test images",
        "272,186",
        "31.0 M MACs",
        "62.0 M FLOPs",
        "2 min 41 s",
        "774 images/s",
    ] {
        assert!(text.contains(expected), "no {expected:?}");
    }
    assert!(html.len() < 300_000, "{} bytes", html.len());
}

#[test]
fn equal_runs_give_equal_bytes() {
    assert_eq!(render(&Sample::new(10, 3, 40).report()), render(&Sample::new(10, 3, 40).report()));
}

#[test]
fn every_text_is_escaped() {
    let mut sample = Sample::new(4, 3, 30);
    let nasty = "</title><script>alert(\"1\")</script>&amp;'\u{0}\u{b}]]>";
    sample.classes = (0..4).map(|i| format!("{nasty}{i}")).collect();
    sample.confused[0].pictures[0].name = nasty.to_owned();
    sample.environment = vec![(nasty.to_owned(), nasty.to_owned())];
    let report = RunReport {
        title: nasty,
        arch: nasty,
        data: nasty,
        command: nasty,
        started: Some(nasty),
        config_toml: nasty,
        status: Status::Failed { step: 3, reason: nasty },
        ..sample.report()
    };
    let html = render(&report);
    let elements = checked(&html);
    assert!(!html.contains("<script"));
    // Nothing is lost or escaped twice either; what XML cannot hold is replaced.
    let kept = "</title><script>alert(\"1\")</script>&amp;'\u{fffd}\u{fffd}]]>";
    assert_eq!(elements.iter().find(|e| e.tag == "title").unwrap().text, kept);
    assert!(elements.iter().filter(|e| e.tag == "th" && e.text == format!("{kept}2")).count() >= 1);
    assert!(elements.iter().any(|e| e.tag == "code" && e.text == kept));
}

#[test]
fn runs_that_ended_early_have_a_report() {
    let sample = Sample::new(10, 2, 30);
    let nothing = RunReport {
        status: Status::Stopped { step: 0, resume: Some("resnet train --resume runs/1") },
        headline: None,
        seconds: None,
        images_per_s: None,
        epochs: &[],
        steps: &[],
        confusion: &[],
        confused: &[],
        environment: &[],
        started: None,
        finished: None,
        ..sample.report()
    };
    let elements = checked(&render(&nothing));
    assert!(text(&elements).contains("resnet train --resume runs/1"));
    assert!(text(&elements).contains("not evaluated"));
    assert!(!has(&elements, "error") && !has(&elements, "loss") && !has(&elements, "confusion"));

    for n_steps in [1, 2, 59, 60, 61] {
        let steps =
            (1..=n_steps).map(|step| StepPoint { step, loss: 2.3, lr: 0.1 }).collect::<Vec<_>>();
        let elements = checked(&render(&RunReport { steps: &steps, ..nothing.clone() }));
        assert!(has(&elements, "loss") && !has(&elements, "error"));
    }
    let mut epochs = sample.epochs.clone();
    epochs.truncate(1);
    let elements = checked(&render(&RunReport { epochs: &epochs, ..nothing.clone() }));
    assert!(has(&elements, "error") && has(&elements, "loss"));
    epochs[0].test_top1 = None;
    epochs[0].test_loss = None;
    checked(&render(&RunReport { epochs: &epochs, ..nothing }));
}

#[test]
fn a_diverged_run_says_so_and_is_drawn() {
    let mut sample = Sample::new(10, 4, 50);
    for step in &mut sample.steps[120..] {
        step.loss = f64::NAN;
    }
    sample.steps[110].loss = f64::INFINITY;
    sample.epochs[3] = EpochPoint {
        train_loss: f64::NAN,
        train_top1: f64::NAN,
        test_loss: Some(f64::INFINITY),
        test_top1: Some(f64::NAN),
        lr: f64::NAN,
        seconds: f64::NAN,
        ..sample.epochs[3]
    };
    let reason = "the loss is not finite; the first bad layer is layer2.0.conv1";
    let report = RunReport { status: Status::Failed { step: 120, reason }, ..sample.report() };
    let elements = checked(&render(&report));
    assert!(text(&elements).contains(reason));
    assert!(text(&elements).contains("not finite and not drawn"));
}

#[test]
fn a_run_that_patience_ended_says_so() {
    let sample = Sample::new(4, 2, 10);
    let page = |patience| {
        let report = RunReport { status: Status::Finished { patience }, ..sample.report() };
        text(&checked(&render(&report))).replace('\u{a0}', " ")
    };
    assert!(page(Some(3)).contains("It ended early: 3 evaluations without a better top-1."));
    assert!(page(Some(1)).contains("It ended early: 1 evaluation without"));
    assert!(!page(None).contains("early"));
}

#[test]
fn wrong_input_is_named_and_not_drawn() {
    let mut sample = Sample::new(3, 2, 10);
    sample.confused = vec![
        ConfusedPair { truth: 9, predicted: 0, count: 1, pictures: vec![] },
        ConfusedPair {
            truth: 1,
            predicted: 0,
            count: 7,
            pictures: vec![Picture {
                width: 5,
                height: 5,
                channels: 2,
                name: "odd.png".to_owned(),
                ..Picture::default()
            }],
        },
    ];
    let report = RunReport { confusion: &sample.confusion[..8], ..sample.report() };
    let elements = checked(&render(&report));
    assert!(text(&elements).contains("8 counts do not make a matrix of 3 classes"));
    assert!(text(&elements).contains("odd.png: a picture has 1 or 3 channels, this one has 2"));
}

#[test]
fn long_runs_and_many_classes_stay_small() {
    let sample = Sample::new(100, 400, 391);
    let html = render(&sample.report());
    checked(&html);
    assert!(html.len() < 700_000, "{} bytes", html.len());
    let mut sample = Sample::new(1000, 2, 10);
    sample.confused.clear();
    let html = render(&sample.report());
    let elements = checked(&html);
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    assert!(elements.iter().any(|e| e.tag == "caption" && e.text == "The most frequent mistakes"));
}

#[test]
fn a_class_without_images_has_no_recall() {
    let mut sample = Sample::new(3, 2, 10);
    sample.confusion[3..6].fill(0);
    let report = RunReport { headline: None, ..sample.report() };
    checked(&render(&report));
    let one = Sample::new(1, 2, 10);
    checked(&render(&one.report()));
}

fn chart(lines: &[&[(f64, f64)]]) -> LineChart {
    let axes = (Axis::new("step").count(), Axis::new("loss"));
    lines.iter().enumerate().fold(
        LineChart::new("a chart", axes.0, axes.1),
        |chart, (i, points)| {
            chart.line(format!("line {i}"), Style::Thin, i, points.iter().copied())
        },
    )
}

/// The text that is seen; one that was shortened has its title, a line of its own, before it.
fn shown(element: &Element) -> &str {
    element.text.rsplit('\n').next().unwrap_or_default()
}

/// Boxes of the texts of a drawing: left, top, right, bottom.
fn boxes(elements: &[Element], class: &str) -> Vec<(f64, f64, f64, f64)> {
    let coordinate = |e: &Element, name: &str| e.attribute(name).unwrap().parse::<f64>().unwrap();
    elements
        .iter()
        .filter(|e| e.tag == "text" && e.attribute("class").is_some_and(|c| c.starts_with(class)))
        .map(|e| {
            let (x, y, width) =
                (coordinate(e, "x"), coordinate(e, "y"), label::width(shown(e), 13.0));
            let x = match e.attribute("class") {
                Some(c) if c.contains("end") => x - width,
                Some(c) if c.contains("middle") => x - width / 2.0,
                _ => x,
            };
            (x, y - 10.0, x + width, y + 3.0)
        })
        .collect()
}

#[test]
fn texts_of_a_chart_do_not_overlap_and_stay_inside() {
    let mut rng = resnet::base::rng::Rng::named(3, "chart texts");
    for case in 0..200 {
        let n = 1 + rng.below(14);
        let scale = 10f64.powf(rng.range(-6.0, 8.0));
        let lines: Vec<Vec<(f64, f64)>> = (0..n)
            .map(|_| {
                let last = 1 + rng.below(400);
                (0..last).map(|x| (x as f64 * 100.0, scale * rng.unit())).collect()
            })
            .collect();
        let lines: Vec<&[(f64, f64)]> = lines.iter().map(Vec::as_slice).collect();
        for (id, width) in [("wide", 880.0), ("narrow", 340.0)] {
            let svg = chart(&lines).svg(Frame { id, width, height: 300.0 });
            let elements = checked(&svg);
            let mut all = boxes(&elements, "t");
            assert!(boxes(&elements, "tick").len() >= 4, "case {case}: too few ticks in {svg}");
            all.extend(boxes(&elements, "axis"));
            for (i, a) in all.iter().enumerate() {
                assert!(
                    a.0 >= -0.1 && a.2 <= width + 0.1,
                    "case {case}: {a:?} leaves the drawing {width}"
                );
                for b in &all[i + 1..] {
                    let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
                    assert!(apart, "case {case}: {a:?} overlaps {b:?} in {svg}");
                }
            }
        }
    }
}

#[test]
fn a_spike_is_marked_at_the_edge_and_said_with_its_value() {
    let mut line: Vec<(f64, f64)> =
        (0..300).map(|x| (f64::from(x), 2.0 / (1.0 + 0.1 * f64::from(x)))).collect();
    line[120].1 = 4321.0;
    let spiked = chart(&[&line]);
    let note = "One value, 4321 at 120, lies beyond the axis: a triangle marks it.";
    assert_eq!(spiked.note().unwrap().replace('\u{a0}', " "), note);
    assert_eq!(spiked.beyond(), [(120.0, 4321.0)]);
    let svg = spiked.file(600.0, 300.0);
    let elements = checked(&svg);
    let described = elements.iter().find(|e| e.tag == "desc").unwrap();
    assert!(described.text.replace('\u{a0}', " ").contains(note), "{svg}");
    let triangles = elements.iter().filter(|e| e.attribute("class") == Some("beyond f0")).count();
    assert_eq!(triangles, 1);
    let ticks = elements.iter().filter(|e| e.attribute("class") == Some("tick end"));
    let highest = ticks.filter_map(|e| e.text.parse::<f64>().ok()).fold(0.0, f64::max);
    assert!((1.0..3.0).contains(&highest), "the axis ends near {highest}");
    line[120].1 = 0.2;
    let even = chart(&[&line]);
    assert_eq!(even.note(), None);
    assert!(!even.file(600.0, 300.0).contains("class=\"beyond"));
}

#[test]
fn titles_of_axes_stay_inside_a_phone() {
    let long = "convolutions that the gradient has reached, from the loss to the image";
    let mut chart = chart(&[&[(0.0, 1.0), (9.0, 2.0)]]);
    (chart.x.title, chart.y.title) = (long.to_owned(), long.to_owned());
    for width in [300.0, 340.0, 880.0] {
        let svg = chart.svg(Frame { id: "c", width, height: 200.0 });
        for (left, _, right, _) in boxes(&checked(&svg), "axis") {
            assert!(left >= -0.1 && right <= width + 0.1, "{left} to {right} of {width}");
        }
    }
}

#[test]
fn charts_of_anything_are_well_formed() {
    let awkward =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-310, 1e308, -1e308, 1.0, 1e16];
    let frame = Frame { id: "c", width: 300.0, height: 100.0 };
    checked(&chart(&[]).svg(frame));
    checked(&chart(&[&[]]).svg(frame));
    for a in awkward {
        checked(&chart(&[&[(a, 1.0)], &[(1.0, a)]]).svg(frame));
        for b in awkward {
            for log in [false, true] {
                let mut chart =
                    chart(&[&[(a, b), (b, a), (2.0, 3.0)], &[(a, a)]]).reference(b, "a reference");
                (chart.x.log, chart.y.log) = (log, log);
                chart.y.range = Some((a, b));
                checked(&chart.svg(frame));
                chart.x.range = Some((a, b));
                checked(&chart.svg(Frame { width: 20.0, height: 0.0, ..frame }));
            }
            let bars = bars::BarChart {
                title: "bars of something".to_owned(),
                axis: Axis::new("value"),
                bars: [a, b]
                    .map(|value| bars::Bar { label: "a bar".to_owned(), value, colour: 99 })
                    .into(),
            };
            checked(&bars.svg(frame));
        }
    }
    checked(&chart(&[&[(0.0, 2.0), (9.0, 2.0)]]).file(600.0, 300.0));
}

#[test]
fn heat_maps_of_any_size_are_well_formed_and_bounded() {
    for (n_rows, n_columns) in [(0, 0), (1, 1), (1, 40), (40, 1), (33, 33), (300, 2000)] {
        let names = |n: usize| (0..n).map(|i| format!("name {i}")).collect::<Vec<_>>();
        let (rows, columns) = (names(n_rows), names(n_columns));
        let shade = |r: usize, c: usize| heatmap::Shade {
            hue: if r == c { heatmap::Hue::Main } else { heatmap::Hue::Accent },
            strength: match (r + c) % 5 {
                0 => f64::NAN,
                1 => 9.0,
                k => (r * 7 + c * k) as f64 % 11.0 / 11.0,
            },
        };
        let map = heatmap::HeatMap {
            title: "a map",
            description: "something by something",
            rows: &rows,
            columns: &columns,
            row_title: "rows",
            column_title: "columns",
            shade: &shade,
            note: &|r, c| Some(heatmap::Note { text: format!("{r}"), tip: format!("{r} {c}") }),
            ramps: &[heatmap::Ramp {
                hue: heatmap::Hue::Main,
                label: "strength",
                none: "0",
                full: "1",
            }],
        };
        let svg = map.svg(Frame { id: "map", width: 880.0, height: 300.0 });
        checked(&svg);
        assert!(svg.len() < 2_500_000, "{n_rows} x {n_columns}: {} bytes", svg.len());
    }
}

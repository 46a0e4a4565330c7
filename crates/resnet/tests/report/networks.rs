//! Drawings of networks: complete, inside their frame, readable, the same twice.

use resnet::engine::graph::{Graph, LayerId, Op, Shape, Window};
use resnet::net::{Arch, CATALOG, block_of};
use resnet::page::charts::label;
use resnet::page::draw::{DrawError, MOST_NETWORKS, Network, block, draw, embed, family};

use crate::xml::Element;

fn network(text: &str) -> Network {
    let arch = Arch::parse(text).unwrap_or_else(|e| panic!("{e}"));
    Network::of(&arch, arch.default_input(), arch.default_classes()).unwrap()
}

/// Every row of the catalogue, and what options make of some.
fn all() -> Vec<Network> {
    let options = [
        "resnet8",
        "resnet20:shortcut=B",
        "resnet110:shortcut=C",
        "resnet56:residual=false",
        "resnet50:norm=none",
        "preresnet20:norm=none",
        "preresnet1001:shortcut=A",
        "resnet18:stem=cifar",
        "wrn16_2",
    ];
    let rows = CATALOG.iter().map(|row| network(row.name));
    rows.chain(options.into_iter().map(network)).collect()
}

/// What is drawn of a kind, without the samples in the key, whose classes stand in another order.
fn drawn<'a>(elements: &'a [Element], tag: &str, class: &str) -> Vec<&'a Element> {
    let starts = |e: &&Element| {
        let classes = e.attribute("class").unwrap_or_default();
        e.tag == tag && classes.split(' ').next() == Some(class)
    };
    elements.iter().filter(starts).collect()
}

fn number(element: &Element, name: &str) -> f64 {
    let value = element.attribute(name).unwrap_or_default();
    value.parse().unwrap_or_else(|_| panic!("{name}={value:?} of {element:?}"))
}

/// A rectangle: left, top, right, bottom.
type Area = [f64; 4];

/// What an element covers, letters at their estimated widths.
fn area(element: &Element) -> Option<Area> {
    match element.tag.as_str() {
        "rect" => {
            let (x, y) = (number(element, "x"), number(element, "y"));
            let (width, height) = (number(element, "width"), number(element, "height"));
            Some([x, y, x + width, y + height])
        }
        "text" => {
            let classes: Vec<&str> = element.attribute("class")?.split(' ').collect();
            let has = |class| classes.contains(&class);
            let size = match () {
                () if has("heading") => 16.0 * 1.1,
                () if has("name") => 15.0 * 1.1,
                () if has("map") => 13.0 * 1.1,
                () if has("fact") || has("says") => 12.0,
                () => 11.0,
            };
            let (x, y) = (number(element, "x"), number(element, "y"));
            // What shows when the pointer rests on a shortened text stands before it, on a line of
            // its own.
            let shown = element.text.rsplit('\n').next()?;
            let width = label::width(shown, size);
            let left = match () {
                () if has("middle") => x - width / 2.0,
                () if has("end") => x - width,
                () => x,
            };
            Some([left, y - 0.7 * size, left + width, y + 0.2 * size])
        }
        "path" => {
            // Absolute commands only: M, L and Q take pairs, H and V one number.
            let d = element.attribute("d")?;
            let (mut xs, mut ys) = (Vec::new(), Vec::new());
            for part in
                d.split_inclusive(|c: char| c.is_ascii_alphabetic()).collect::<Vec<_>>().windows(2)
            {
                let command = part[0].chars().next_back()?;
                let numbers: Vec<f64> = part[1]
                    .trim_end_matches(|c: char| c.is_ascii_alphabetic())
                    .split_whitespace()
                    .map(|n| n.parse().unwrap_or_else(|_| panic!("{n} in {d}")))
                    .collect();
                match command {
                    'H' => xs.extend(numbers),
                    'V' => ys.extend(numbers),
                    'M' | 'L' | 'Q' => numbers.chunks(2).for_each(|p| {
                        xs.push(p[0]);
                        ys.push(p[1]);
                    }),
                    other => panic!("{other} in {d}"),
                }
            }
            let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
            let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Some([least(&xs), least(&ys), most(&xs), most(&ys)])
        }
        _ => None,
    }
}

/// Checks what holds for every drawing, and returns its elements.
fn checked(svg: &str, what: &str) -> Vec<Element> {
    let elements = crate::checked(svg);
    let frame = elements.last().unwrap();
    assert_eq!(frame.tag, "svg", "{what}");
    let frame: Vec<f64> =
        frame.attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    let [x, y, width, height] = frame[..] else { panic!("{frame:?}") };
    for element in &elements {
        let Some([left, top, right, bottom]) = area(element) else {
            continue;
        };
        assert!(
            left >= x && top >= y && right <= x + width + 0.1 && bottom <= y + height + 0.1,
            "{what}: {element:?} leaves the frame {frame:?}"
        );
    }
    let texts: Vec<(&Element, Area)> =
        elements.iter().filter(|e| e.tag == "text").map(|e| (e, area(e).unwrap())).collect();
    for (i, (a, one)) in texts.iter().enumerate() {
        for (b, two) in &texts[i + 1..] {
            let apart =
                one[2] <= two[0] || two[2] <= one[0] || one[3] <= two[1] || two[3] <= one[1];
            assert!(apart, "{what}: {:?} touches {:?}", a.text, b.text);
        }
    }
    let boxes: Vec<Area> = ["layer", "more", "mark", "pool"]
        .iter()
        .flat_map(|class| drawn(&elements, "rect", class))
        .filter_map(area)
        .collect();
    for (i, one) in boxes.iter().enumerate() {
        for two in &boxes[i + 1..] {
            let apart =
                one[2] <= two[0] || two[2] <= one[0] || one[3] <= two[1] || two[3] <= one[1];
            assert!(apart, "{what}: the box {one:?} touches {two:?}");
        }
        let inside = |t: &Area| {
            t[0] >= one[0] - 0.1 && t[2] <= one[2] + 0.1 && t[1] >= one[1] && t[3] <= one[3]
        };
        assert!(
            texts.iter().any(|(_, text)| inside(text)),
            "{what}: nothing is readable in the box {one:?}"
        );
    }
    elements
}

/// Sums of `198 more blocks` and of `396 layers`, as they stand in the places of what is left out.
fn left_out(elements: &[Element]) -> (usize, usize) {
    let (mut blocks, mut layers) = (0, 0);
    for text in
        elements.iter().filter(|e| e.tag == "text" && e.attribute("class") == Some("middle"))
    {
        let words: Vec<&str> = text.text.split([' ', '\u{a0}']).collect();
        let count = || words[0].replace(',', "").parse::<usize>().unwrap();
        match words[..] {
            [_, "more", "blocks"] => blocks += count(),
            [_, "more", "layers"] | [_, "layers"] => layers += count(),
            _ => {}
        }
    }
    (blocks, layers)
}

#[test]
fn every_network_is_drawn_whole() {
    for network in all() {
        let svg = draw(std::slice::from_ref(&network)).unwrap_or_else(|e| panic!("{e}"));
        let elements = checked(&svg, &network.name);
        let layers = &network.graph.layers;
        let weights =
            layers.iter().filter(|l| matches!(l.op, Op::Conv2d { .. } | Op::Linear { .. }));
        let (projections, path): (Vec<_>, Vec<_>) =
            weights.partition(|l| l.name.contains("downsample"));
        let additions = layers.iter().filter(|l| l.op == Op::Add).count();
        let (blocks, folded) = left_out(&elements);
        let count = |tag, class| drawn(&elements, tag, class).len();
        let name = &network.name;
        assert_eq!(count("rect", "layer") + folded, path.len(), "{name}: layers");
        assert_eq!(count("path", "shortcut") + blocks, additions, "{name}: shortcuts");
        if folded == 0 {
            assert_eq!(count("rect", "mark"), projections.len(), "{name}: projections");
        }
        let rows = path.len() + layers.iter().filter(|l| l.op == Op::Input).count();
        assert!(folded == 0 || rows > 60, "{name} is small enough to be drawn whole");
        assert!(svg.len() < 50_000, "{name}: {} bytes", svg.len());
        assert_eq!(svg, draw(&[network]).unwrap(), "equal networks, equal bytes");
    }
}

#[test]
fn every_block_is_drawn_whole() {
    for network in all() {
        let layers = &network.graph.layers;
        let mut names: Vec<&str> = layers.iter().filter_map(|l| block_of(&l.name)).collect();
        names.dedup();
        for name in names.iter().take(40) {
            let inside = || layers.iter().filter(|l| block_of(&l.name) == Some(*name));
            for gradient in [false, true] {
                let what = format!("{name} of {}", network.name);
                let svg = block::draw(&network, name, gradient).unwrap_or_else(|e| panic!("{e}"));
                let elements = checked(&svg, &what);
                let convs = inside().filter(|l| matches!(l.op, Op::Conv2d { .. })).count();
                assert_eq!(drawn(&elements, "rect", "layer").len(), convs, "{what}: convolutions");
                let adds = inside().filter(|l| l.op == Op::Add).count();
                assert_eq!(drawn(&elements, "circle", "sum").len(), adds, "{what}: additions");
                let back = if gradient { 1 + adds } else { 0 };
                assert_eq!(drawn(&elements, "path", "back").len(), back, "{what}: ways back");
            }
        }
    }
    let resnet50 = network("resnet50");
    let svg = block::draw(&resnet50, "layer2.0", true).unwrap();
    for text in [
        "x: 256x56x56",
        "1x1 conv, 256 to 128",
        "3x3 conv, 128, /2",
        "147,456 weights",
        "1x1 conv, 256 to 512, /2",
        "y: 512x28x28",
        "∂L/∂x = (∂S/∂x)ᵀ g + (∂F/∂x)ᵀ g",
    ] {
        assert!(svg.contains(text), "{text} is not in the drawing");
    }
    assert!(block::draw(&resnet50, "layer2.1", true).unwrap().contains("∂L/∂x = g + (∂F/∂x)ᵀ g"));
    // What first layers make of x, before the ways part, is what branch and shortcut are of.
    let shared = block::draw(&network("preresnet110"), "layer1.0", true).unwrap();
    assert!(shared.contains("∂L/∂h = g + (∂F/∂h)ᵀ g") && shared.contains("h, as it is"));
    let halved = block::draw(&network("resnet20"), "layer2.0", true).unwrap();
    assert!(halved.contains("∂L/∂x = (∂S/∂x)ᵀ g + (∂F/∂x)ᵀ g") && halved.contains("zeros"));
    let unknown = block::draw(&resnet50, "layer2.9", false).unwrap_err().to_string();
    assert!(unknown.contains("16 blocks") && unknown.contains("layer2.0"), "{unknown}");
    let none = block::draw(&network("classic"), "conv1", false).unwrap_err().to_string();
    assert!(none.contains("no blocks"), "{none}");
}

#[test]
fn skylines_have_one_line_a_layer() {
    for network in all() {
        let layers = &network.graph.layers;
        let on_path = |name: &str| !name.contains("downsample");
        let weights = layers
            .iter()
            .filter(|l| matches!(l.op, Op::Conv2d { .. } | Op::Linear { .. }) && on_path(&l.name));
        let svg = family::draw(std::slice::from_ref(&network)).unwrap_or_else(|e| panic!("{e}"));
        let elements = checked(&svg, &network.name);
        let lines = elements.iter().filter(|e| {
            let class = e.attribute("class").unwrap_or_default();
            // Entries of the key are 10 wide.
            e.tag == "rect" && class.starts_with('f') && e.attribute("width") != Some("10")
        });
        assert_eq!(lines.count(), weights.count(), "{}", network.name);
    }
    let five = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"].map(network);
    let svg = family::draw(&five).unwrap();
    checked(&svg, "the family");
    assert_eq!(svg, family::draw(&five).unwrap());
}

#[test]
fn networks_stand_side_by_side() {
    let together = |names: &[&str]| {
        let networks: Vec<Network> = names.iter().map(|name| network(name)).collect();
        checked(&draw(&networks).unwrap(), &names.join(" "))
    };
    // Figure 3 of the paper: the plain network and the residual one have their layers at the same
    // heights.
    let elements = together(&["vgg19", "plain34", "resnet34"]);
    let boxes = drawn(&elements, "rect", "layer");
    assert_eq!(boxes.len(), 19 + 34 + 34);
    let heights = |range: std::ops::Range<usize>| -> Vec<f64> {
        boxes[range].iter().map(|b| number(b, "y")).collect()
    };
    assert_eq!(heights(19..53), heights(53..87));
    // Bars are linear: the longest, of 1.85 G, against one of 115.6 M.
    let bars: Vec<f64> = elements
        .iter()
        .filter(|e| e.tag == "rect" && e.attribute("class") == Some("f2"))
        .map(|e| number(e, "width"))
        .collect();
    let (longest, shortest) = (bars[1], bars[bars.len() - 1]);
    assert!((longest / shortest - 16.0).abs() < 0.3, "{longest} {shortest}");

    together(&["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]);
    // Whatever is left out, no stage of a deeper network stands shorter.
    let elements = together(&["resnet34", "resnet50", "resnet101", "resnet152"]);
    let boxes = drawn(&elements, "rect", "layer");
    let centre = |b: &Element| (number(b, "x") + number(b, "width") / 2.0).round() as i64;
    let mut columns: Vec<i64> = boxes.iter().map(|b| centre(b)).collect();
    columns.dedup();
    assert_eq!(columns.len(), 4);
    for stage in 1..=6 {
        let class = format!("layer f{stage} l{stage}");
        let end = |column: &i64| {
            let here = boxes
                .iter()
                .filter(|b| centre(b) == *column && b.attribute("class") == Some(&class));
            here.map(|b| number(b, "y")).fold(0.0, f64::max)
        };
        let ends: Vec<f64> = columns.iter().map(end).collect();
        assert!(ends.is_sorted(), "stage {stage} ends at {ends:?}");
    }
    together(&["resnet20", "resnet34"]);
    together(&["plain110", "resnet110", "preresnet110", "preresnet164", "wrn28_10"]);
    let many: Vec<&str> = CATALOG.iter().map(|row| row.name).collect();
    for names in many.chunks(MOST_NETWORKS) {
        together(names);
    }
}

#[test]
fn pictures_of_any_size() {
    let arch = Arch::parse("preresnet29:shortcut=C").unwrap();
    for (input, classes) in [
        (Shape::new(1, 1, 1), 1),
        (Shape::new(1, 28, 28), 10),
        (Shape::new(1024, 7, 9), 1_000_000),
        (Shape::new(3, 16_384, 2), 2),
    ] {
        let network = Network::of(&arch, input, classes).unwrap();
        checked(&draw(&[network]).unwrap(), &format!("{input}, {classes} classes"));
    }
}

fn conv(c_out: usize, kernel: usize, stride: usize) -> Op {
    Op::Conv2d { c_out, kernel, stride, padding: kernel / 2, groups: 1, bias: false }
}

/// A block whose shortcut averages before its convolution (He et al. 2018, ResNet-D), under names
/// that must be escaped.
fn unlisted(name: &str) -> Network {
    let mut graph = Graph::new(Shape::new(3, 8, 8));
    let stem = graph.push(format!("{name}stem"), conv(8, 3, 1), &[LayerId(0)]);
    let branch = graph.push("conv", conv(16, 3, 2), &[stem]);
    let window = Window::Square { kernel: 2, stride: 2 };
    let pool = graph.push("pool", Op::AvgPool2d(window), &[stem]);
    let project = graph.push(format!("{name}project"), conv(16, 1, 1), &[pool]);
    let sum = graph.push("sum", Op::Add, &[branch, project]);
    graph.push("fc", Op::Linear { out: 2 }, &[sum]);
    Network { name: name.to_owned(), depth: 3, graph }
}

#[test]
fn any_graph_is_drawn_and_every_name_escaped() {
    let nasty = "</title><script>alert(\"1\")</script>&amp;'\u{0}]]>";
    let elements = checked(&draw(&[unlisted(nasty)]).unwrap(), nasty);
    assert!(drawn(&elements, "text", "middle").iter().any(|e| e.text == "mean 2x2, /2, 1x1"));
    assert_eq!(drawn(&elements, "path", "shortcut").len(), 1);
    let page = embed(&[unlisted(nasty), network("resnet20")], "left").unwrap()
        + &embed(&[network("resnet20")], "right").unwrap();
    crate::checked(&page);
}

#[test]
fn what_cannot_be_drawn_is_named() {
    assert_eq!(draw(&[]), Err(DrawError::Nothing));
    let many = vec![network("resnet8"); MOST_NETWORKS + 1];
    assert_eq!(draw(&many), Err(DrawError::TooMany { found: MOST_NETWORKS + 1 }));

    let refused = |change: &dyn Fn(&mut Graph), words: &[&str]| {
        let mut network = unlisted("mine");
        change(&mut network.graph);
        let error = draw(&[network]).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    };
    refused(&|g| g.layers[2].op = conv(8, 3, 2), &["mine", "`sum`"]);
    refused(
        &|g| {
            g.layers[4].op = Op::Relu;
            g.layers[4].inputs = vec![LayerId(2)];
            g.layers[5].inputs = vec![LayerId(4), LayerId(2)];
        },
        &["`sum`", "around no convolution"],
    );
    refused(
        &|g| {
            g.layers[5] = resnet::engine::graph::Layer {
                name: "relu".into(),
                op: Op::Relu,
                inputs: vec![LayerId(2)],
            }
        },
        &["`pool`", "logits"],
    );
    // A sum on the shortcut itself.
    refused(
        &|g| {
            let (sum, fc) = (g.layers[5].clone(), g.layers[6].clone());
            g.layers.truncate(5);
            let relu = g.push("relu", Op::Relu, &[LayerId(4)]);
            let inner = g.push("inner", Op::Add, &[relu, LayerId(4)]);
            let outer = g.push(sum.name, Op::Add, &[LayerId(2), inner]);
            g.push(fc.name, fc.op, &[outer]);
        },
        &["`inner`", "shortcut"],
    );
    // A shortcut around the end of another.
    refused(
        &|g| {
            g.layers.truncate(2);
            let mut keep = |name, op, inputs: &[LayerId]| g.push(name, op, inputs);
            let a = keep("a", conv(8, 3, 1), &[LayerId(1)]);
            let b = keep("b", conv(8, 3, 1), &[a]);
            let early = keep("early", Op::Add, &[b, a]);
            let c = keep("c", conv(8, 3, 1), &[early]);
            keep("late", Op::Add, &[c, LayerId(1)]);
        },
        &["`late`", "another shortcut's end"],
    );
}

mod errors;

use super::{Arch, CATALOG, FAMILIES, OPTIONS, Row};
use resnet_engine::graph::{Graph, Init, Op, Shape};
use resnet_engine::op;
use std::collections::HashSet;

fn parse(text: &str) -> Arch {
    Arch::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn default_graph(arch: &Arch) -> Graph {
    arch.graph(arch.default_input(), arch.default_classes()).unwrap_or_else(|e| panic!("{e}"))
}

/// Trained parameters and multiply-adds.
fn size(graph: &Graph) -> (u64, u64) {
    let shapes = op::shapes(graph).unwrap_or_else(|e| panic!("{e}"));
    let params = op::all_params(graph, &shapes);
    let trained = params.iter().filter(|(_, _, p)| p.role.is_trained()).map(|(_, _, p)| p.len());
    let macs = graph.layers.iter().zip(&shapes).filter_map(|(layer, &y)| {
        layer.inputs.first().map(|x| op::macs(&layer.op, shapes[x.0], y))
    });
    (trained.sum::<usize>() as u64, macs.sum())
}

/// Names of every layer with parameters.
fn param_layers(text: &str) -> Vec<String> {
    let graph = default_graph(&parse(text));
    let named =
        |op: &Op| matches!(op, Op::Conv2d { .. } | Op::BatchNorm { .. } | Op::Linear { .. });
    graph.layers.into_iter().filter(|l| named(&l.op)).map(|l| l.name).collect()
}

#[test]
fn every_row_has_the_size_it_says() {
    for Row { name, params, macs, .. } in CATALOG {
        assert_eq!(size(&default_graph(&parse(name))), (*params, *macs), "{name}");
    }
}

#[test]
fn options_have_the_published_sizes() {
    // Parameters, multiply-adds; counted with PyTorch.
    let cases = [
        ("resnet20:shortcut=B", 272_474, 40_813_184),
        ("resnet56:shortcut=B", 855_770, 125_747_840),
        ("resnet18:shortcut=A", 11_515_688, 1_794_805_760),
        ("resnet34:shortcut=A", 21_623_848, 3_644_493_824),
        ("resnet18:residual=false", 11_515_688, 1_794_805_760),
        ("resnet50:stride=v1", 25_557_032, 3_857_973_248),
        ("vgg16_bn:norm=none", 138_357_544, 15_470_264_320),
        ("vgg19:norm=batch", 143_678_248, 19_632_062_464),
        ("preresnet29", 312_218, 43_960_832),
        ("preresnet20", 269_722, 40_551_040),
        ("preresnet110:block=bottleneck", 1_146_842, 164_284_928),
        // 688 channels are normalised: a bias each in place of gamma and beta
        ("resnet20:norm=none", 269_034, 40_551_040),
    ];
    for (text, params, macs) in cases {
        assert_eq!(size(&default_graph(&parse(text))), (params, macs), "{text}");
    }
}

#[test]
fn the_sizes_of_the_paper_hold() {
    // He et al. 2015: section 4.2 and table 6 in millions of parameters, table 1 in billions of
    // multiply-adds.
    for (name, millions) in
        [("resnet20", 0.27), ("resnet44", 0.66), ("resnet110", 1.7), ("resnet1202", 19.4)]
    {
        let params = size(&default_graph(&parse(name))).0 as f64 / 1e6;
        assert!((params / millions - 1.0).abs() < 0.02, "{name}: {params}");
    }
    for (name, billions) in
        [("resnet18", 1.8), ("resnet34", 3.6), ("resnet50_v1", 3.8), ("resnet152_v1", 11.3)]
    {
        let macs = size(&default_graph(&parse(name))).1 as f64 / 1e9;
        assert!((macs / billions - 1.0).abs() < 0.02, "{name}: {macs}");
    }
}

#[test]
fn every_network_reads_every_sensible_image() {
    let options =
        ["", "norm=none", "residual=false", "stem=cifar", "shortcut=A", "shortcut=C", "gain=0.5"];
    for row in CATALOG.iter().filter(|row| row.depth < 1000) {
        for option in options {
            let mut arch = row.arch();
            if let Some((key, value)) = option.split_once('=')
                && arch.set(key, value).is_err()
            {
                continue;
            }
            for side in [28, 32, 33, 224] {
                let input = Shape::new(if side == 28 { 1 } else { 3 }, side, side + side / 4);
                if row.name.starts_with("vgg") && side < 32 {
                    continue;
                }
                let graph = arch.graph(input, 7).unwrap_or_else(|e| panic!("{e}"));
                let shapes = op::shapes(&graph).unwrap_or_else(|e| panic!("{}: {e}", arch.name()));
                assert_eq!(shapes.last(), Some(&Shape::new(7, 1, 1)), "{}", arch.name());
                let names: HashSet<&str> = graph.layers.iter().map(|l| l.name.as_str()).collect();
                assert_eq!(
                    names.len(),
                    graph.layers.len(),
                    "{}: two layers share a name",
                    arch.name()
                );
            }
        }
    }
}

#[test]
fn names_are_those_of_torchvision() {
    let resnet18 = param_layers("resnet18");
    assert_eq!(
        resnet18[..6],
        ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2"]
    );
    let projected = ["conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1"]
        .map(|n| format!("layer2.0.{n}"));
    assert_eq!(resnet18[10..16], projected);
    assert_eq!(resnet18.last().map(String::as_str), Some("fc"));
    let resnet50 = param_layers("resnet50");
    let bottleneck =
        ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"];
    assert_eq!(resnet50[2..10], bottleneck.map(|n| format!("layer1.0.{n}")));
    let ends = |text, count| {
        let names = param_layers(text);
        names[names.len() - count..].to_vec()
    };
    assert_eq!(
        ends("vgg16", 5),
        ["features.26", "features.28", "classifier.0", "classifier.3", "classifier.6"]
    );
    assert_eq!(
        ends("vgg16_bn", 5),
        ["features.40", "features.41", "classifier.0", "classifier.3", "classifier.6"]
    );
    assert_eq!(
        ends("vgg19_bn", 4),
        ["features.50", "classifier.0", "classifier.3", "classifier.6"]
    );
    let preresnet = param_layers("preresnet20");
    assert_eq!(preresnet[..3], ["conv1", "layer1.0.bn1", "layer1.0.conv1"]);
    assert_eq!(preresnet[preresnet.len() - 2..], ["bn", "fc"]);
    let preresnet18 = param_layers("preresnet18");
    assert_eq!(
        preresnet18[..5],
        ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn2", "layer1.0.conv2"]
    );
}

/// Name of the layer that reads into `input` of the layer called `name`.
fn reads(graph: &Graph, name: &str, input: usize) -> String {
    let layer = graph.layers.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no {name}"));
    graph.layer(layer.inputs[input]).name.clone()
}

#[test]
fn shortcuts_read_what_the_papers_say() {
    let after = default_graph(&parse("resnet20"));
    assert_eq!(reads(&after, "layer1.0.add", 0), "layer1.0.bn2");
    assert_eq!(reads(&after, "layer1.0.add", 1), "relu");
    assert_eq!(reads(&after, "layer2.0.add", 1), "layer2.0.downsample");
    assert_eq!(reads(&after, "layer2.0.downsample", 0), "layer1.2.relu2");
    let before = default_graph(&parse("preresnet20"));
    assert_eq!(reads(&before, "layer1.0.add", 1), "layer1.0.relu1");
    assert_eq!(reads(&before, "layer2.0.downsample", 0), "layer2.0.relu1");
    assert_eq!(reads(&before, "layer2.1.add", 1), "layer2.0.add");
    let bottleneck = default_graph(&parse("preresnet164"));
    assert_eq!(reads(&bottleneck, "layer1.0.downsample.0", 0), "layer1.0.relu1");
    let imagenet = default_graph(&parse("preresnet50"));
    assert_eq!(reads(&imagenet, "layer1.0.conv1", 0), "maxpool");
    assert_eq!(reads(&imagenet, "layer1.0.downsample.0", 0), "maxpool");
    let projections =
        |text: &str| param_layers(text).iter().filter(|n| n.ends_with("downsample.0")).count();
    assert_eq!([projections("resnet20"), projections("resnet20:shortcut=B")], [0, 2]);
    assert_eq!([projections("resnet18:shortcut=C"), projections("resnet50")], [8, 4]);
}

#[test]
fn the_stride_tells_v1_from_v15() {
    for (text, strides) in [
        ("resnet50", [1, 2]),
        ("resnet50_v1", [2, 1]),
        ("preresnet50", [1, 2]),
        ("preresnet164", [2, 1]),
    ] {
        let graph = default_graph(&parse(text));
        let stride = |name: &str| match graph.layers.iter().find(|l| l.name == name).map(|l| l.op) {
            Some(Op::Conv2d { stride, .. }) => stride,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!([stride("layer2.0.conv1"), stride("layer2.0.conv2")], strides, "{text}");
    }
}

#[test]
fn the_plain_twin_is_the_main_path() {
    for row in CATALOG.iter().filter(|row| row.depth < 1000 && row.arch().is_residual()) {
        let arch = row.arch();
        let twin = arch.plain_twin();
        assert!(!twin.is_residual());
        let outline = |graph: &Graph| {
            let shapes = op::shapes(graph).unwrap_or_else(|e| panic!("{e}"));
            let layers = graph.layers.iter().zip(shapes);
            let main = layers.filter(|(l, _)| l.op != Op::Add && !l.name.contains("downsample"));
            main.map(|(l, shape)| (l.name.clone(), l.op, shape)).collect::<Vec<_>>()
        };
        let plain = default_graph(&twin);
        assert_eq!(outline(&default_graph(&arch)), outline(&plain), "{}", row.name);
        let chain = plain.layers.iter().enumerate().skip(1);
        assert!(
            chain.into_iter().all(|(i, l)| l.inputs.len() == 1 && l.inputs[0].0 == i - 1),
            "{}",
            row.name
        );
    }
    let same = |a, b| assert_eq!(default_graph(&parse(a)), default_graph(&parse(b)), "{a} and {b}");
    same("resnet56:residual=false", "plain56");
    same("resnet34:residual=false,shortcut=C", "plain34");
    assert_eq!(parse("resnet20:zero_init=true").plain_twin(), parse("resnet20:residual=false"));
    assert_eq!(parse("vgg16").plain_twin(), parse("vgg16"));
}

#[test]
fn zero_init_marks_the_last_norm_of_each_branch() {
    for (text, last) in [("resnet20:zero_init=true", "bn2"), ("resnet50:zero_init=true", "bn3")] {
        let arch = parse(text);
        let graph = default_graph(&arch);
        let marked: Vec<&str> = graph
            .layers
            .iter()
            .filter(|l| matches!(l.op, Op::BatchNorm { zero_init: true, .. }))
            .map(|l| l.name.as_str())
            .collect();
        let expected: Vec<String> =
            arch.blocks().iter().map(|block| format!("{block}.{last}")).collect();
        assert_eq!(marked, expected);
    }
    assert!(!format!("{:?}", default_graph(&parse("resnet20"))).contains("zero_init: true"));
}

#[test]
fn norm_none_moves_the_shift_into_the_convolution() {
    for row in CATALOG.iter().filter(|row| row.depth < 1000) {
        let graph = default_graph(&parse(&format!("{}:norm=none", row.name)));
        for layer in &graph.layers {
            assert!(
                !matches!(layer.op, Op::BatchNorm { .. } | Op::Conv2d { bias: false, .. }),
                "{}: {}",
                row.name,
                layer.name
            );
        }
    }
}

#[test]
fn init_and_gain_reach_the_graph() {
    let graph = default_graph(&parse("plain20:init=normal:0.01,gain=1.5"));
    assert_eq!((graph.init, graph.gain), (Init::Normal(0.01), 1.5));
    assert_eq!(default_graph(&parse("vgg16:init=xavier")).init, Init::Xavier);
    assert_eq!(default_graph(&parse("vgg16")).init, Init::He);
}

#[test]
fn the_first_norm_is_where_it_was_asked_for() {
    // What the first addition's shortcut reads, and whether the first block normalises.
    let first = |text: &str| {
        let graph = default_graph(&parse(text));
        let (_, add) = graph.residual_blocks()[0];
        let shortcut = graph.layer(graph.layer(add).inputs[1]).name.clone();
        let norm = graph.layers.iter().any(|l| l.name == "layer1.0.bn1");
        (shortcut, norm)
    };
    assert_eq!(first("preresnet18"), ("maxpool".into(), false));
    assert_eq!(first("preresnet18:first_norm=both"), ("layer1.0.relu1".into(), true));
    assert_eq!(first("preresnet18:first_norm=branch"), ("maxpool".into(), true));
    assert_eq!(first("preresnet20"), ("layer1.0.relu1".into(), true));
}

#[test]
fn names_are_read_back() {
    let values: [(&str, &[&str]); 10] = [
        ("block", &["basic", "bottleneck"]),
        ("shortcut", &["A", "B", "C"]),
        ("stride", &["v1", "v1.5"]),
        ("stem", &["cifar", "imagenet"]),
        ("first_norm", &["stem", "both", "branch"]),
        ("residual", &["true", "false"]),
        ("norm", &["batch", "none"]),
        ("zero_init", &["true", "false"]),
        ("init", &["he", "xavier", "normal:0.01"]),
        ("gain", &["1", "0.3333333"]),
    ];
    assert_eq!(
        values.map(|(key, _)| key)[..],
        OPTIONS.iter().map(|row| row.key).collect::<Vec<_>>()
    );
    let mut texts: Vec<String> = CATALOG.iter().map(|row| row.name.to_string()).collect();
    texts.extend(["resnet26", "preresnet29", "wrn16_8", "plain14"].map(String::from));
    for text in texts {
        let arch = parse(&text);
        assert_eq!(arch.name(), text);
        for (i, (key, choices)) in values.iter().enumerate() {
            for value in *choices {
                let mut one = arch.clone();
                if one.set(key, value).is_err() {
                    assert_eq!(one, arch, "a refused option must change nothing");
                    continue;
                }
                assert_eq!(parse(&one.name()), one, "{}", one.name());
                for (key, choices) in &values[i + 1..] {
                    for value in *choices {
                        let mut two = one.clone();
                        if two.set(key, value).is_ok() {
                            assert_eq!(parse(&two.name()), two, "{}", two.name());
                        }
                    }
                }
            }
        }
    }
    assert_eq!(parse("resnet20:norm=none,shortcut=b").name(), "resnet20:shortcut=B,norm=none");
    assert_eq!(parse("resnet20:shortcut=A,gain=1.0").name(), "resnet20");
    assert_eq!(
        parse("preresnet20:shortcut=A,block=bottleneck"),
        parse("preresnet20:block=bottleneck,shortcut=A")
    );
    assert_eq!(parse("preresnet20:block=bottleneck").name(), "preresnet20:block=bottleneck");
}

#[test]
fn families_have_every_depth_of_their_formula() {
    for (text, blocks) in
        [("plain8", 3), ("resnet26", 12), ("preresnet29", 9), ("wrn16_8", 6), ("resnet164", 81)]
    {
        let arch = parse(text);
        assert_eq!(arch.blocks().len(), blocks, "{text}");
        assert_eq!(arch.default_input(), Shape::new(3, 32, 32));
        size(&default_graph(&arch));
    }
    // A row's name comes before a family's formula: 50 = 6 * 8 + 2.
    assert_eq!(parse("resnet50").default_input(), Shape::new(3, 224, 224));
    assert_eq!(parse("preresnet164").blocks().len(), 54);
    assert_eq!(parse("preresnet164:block=basic").blocks().len(), 81);
    assert_eq!(parse("resnet164:block=bottleneck").blocks().len(), 54);
    // A row of any depth is what its family would make of its name.
    for row in CATALOG.iter().filter(|row| row.name != "preresnet164") {
        if let Some(arch) = FAMILIES.iter().find_map(|family| family.member(row.name))
            && row.arch().default_classes() == 10
        {
            assert_eq!(arch, row.arch(), "{}", row.name);
        }
    }
}

#[test]
fn depth_counts_the_layers_with_weights() {
    for row in CATALOG {
        let main = param_layers(row.name);
        let is_weight = |n: &&String| {
            let last = n.rsplit('.').next().unwrap_or(n);
            !n.contains("downsample") && !last.starts_with("bn")
        };
        if row.name.starts_with("vgg") || row.name == "classic" || row.name.starts_with("wrn") {
            continue;
        }
        assert_eq!(main.iter().filter(is_weight).count(), row.depth, "{}", row.name);
    }
}

use super::{Arch, ArchError, CATALOG, FAMILIES, OPTIONS, Row};
use crate::graph::{Graph, Init, Op, Shape};
use crate::op;
use std::collections::HashSet;

fn parse(text: &str) -> Arch {
    Arch::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn default_graph(arch: &Arch) -> Graph {
    arch.graph(arch.default_input(), arch.default_classes())
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Trained parameters and multiply-adds.
fn size(graph: &Graph) -> (u64, u64) {
    let shapes = op::shapes(graph).unwrap_or_else(|e| panic!("{e}"));
    let params = op::all_params(graph, &shapes);
    let trained = params
        .iter()
        .filter(|(_, _, p)| p.role.is_trained())
        .map(|(_, _, p)| p.len());
    let macs = graph.layers.iter().zip(&shapes).filter_map(|(layer, &y)| {
        layer
            .inputs
            .first()
            .map(|x| op::macs(&layer.op, shapes[x.0], y))
    });
    (trained.sum::<usize>() as u64, macs.sum())
}

/// Names of every layer with parameters.
fn param_layers(text: &str) -> Vec<String> {
    let graph = default_graph(&parse(text));
    let named = |op: &Op| {
        matches!(
            op,
            Op::Conv2d { .. } | Op::BatchNorm { .. } | Op::Linear { .. }
        )
    };
    graph
        .layers
        .into_iter()
        .filter(|l| named(&l.op))
        .map(|l| l.name)
        .collect()
}

fn message(result: Result<impl std::fmt::Debug, ArchError>) -> String {
    result.expect_err("an error").to_string()
}

#[test]
fn every_row_has_the_size_it_says() {
    for Row {
        name, params, macs, ..
    } in CATALOG
    {
        assert_eq!(
            size(&default_graph(&parse(name))),
            (*params, *macs),
            "{name}"
        );
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
    // He et al. 2015: section 4.2 and table 6 in millions of parameters, table 1 in billions of multiply-adds.
    for (name, millions) in [
        ("resnet20", 0.27),
        ("resnet44", 0.66),
        ("resnet110", 1.7),
        ("resnet1202", 19.4),
    ] {
        let params = size(&default_graph(&parse(name))).0 as f64 / 1e6;
        assert!((params / millions - 1.0).abs() < 0.02, "{name}: {params}");
    }
    for (name, billions) in [
        ("resnet18", 1.8),
        ("resnet34", 3.6),
        ("resnet50_v1", 3.8),
        ("resnet152_v1", 11.3),
    ] {
        let macs = size(&default_graph(&parse(name))).1 as f64 / 1e9;
        assert!((macs / billions - 1.0).abs() < 0.02, "{name}: {macs}");
    }
}

#[test]
fn every_network_reads_every_sensible_image() {
    let options = [
        "",
        "norm=none",
        "residual=false",
        "stem=cifar",
        "shortcut=A",
        "shortcut=C",
        "gain=0.5",
    ];
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
        [
            "conv1",
            "bn1",
            "layer1.0.conv1",
            "layer1.0.bn1",
            "layer1.0.conv2",
            "layer1.0.bn2"
        ]
    );
    let projected = [
        "conv1",
        "bn1",
        "conv2",
        "bn2",
        "downsample.0",
        "downsample.1",
    ]
    .map(|n| format!("layer2.0.{n}"));
    assert_eq!(resnet18[10..16], projected);
    assert_eq!(resnet18.last().map(String::as_str), Some("fc"));
    let resnet50 = param_layers("resnet50");
    let bottleneck = [
        "conv1",
        "bn1",
        "conv2",
        "bn2",
        "conv3",
        "bn3",
        "downsample.0",
        "downsample.1",
    ];
    assert_eq!(resnet50[2..10], bottleneck.map(|n| format!("layer1.0.{n}")));
    let ends = |text, count| {
        let names = param_layers(text);
        names[names.len() - count..].to_vec()
    };
    assert_eq!(
        ends("vgg16", 5),
        [
            "features.26",
            "features.28",
            "classifier.0",
            "classifier.3",
            "classifier.6"
        ]
    );
    assert_eq!(
        ends("vgg16_bn", 5),
        [
            "features.40",
            "features.41",
            "classifier.0",
            "classifier.3",
            "classifier.6"
        ]
    );
    assert_eq!(
        ends("vgg19_bn", 4),
        [
            "features.50",
            "classifier.0",
            "classifier.3",
            "classifier.6"
        ]
    );
    let preresnet = param_layers("preresnet20");
    assert_eq!(preresnet[..3], ["conv1", "layer1.0.bn1", "layer1.0.conv1"]);
    assert_eq!(preresnet[preresnet.len() - 2..], ["bn", "fc"]);
    let preresnet18 = param_layers("preresnet18");
    assert_eq!(
        preresnet18[..5],
        [
            "conv1",
            "bn1",
            "layer1.0.conv1",
            "layer1.0.bn2",
            "layer1.0.conv2"
        ]
    );
}

/// Name of the layer that reads into `input` of the layer called `name`.
fn reads(graph: &Graph, name: &str, input: usize) -> String {
    let layer = graph
        .layers
        .iter()
        .find(|l| l.name == name)
        .unwrap_or_else(|| panic!("no {name}"));
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
    assert_eq!(reads(&before, "layer1.0.add", 1), "conv1");
    assert_eq!(reads(&before, "layer2.0.downsample", 0), "layer2.0.relu1");
    assert_eq!(reads(&before, "layer2.1.add", 1), "layer2.0.add");
    let bottleneck = default_graph(&parse("preresnet164"));
    assert_eq!(
        reads(&bottleneck, "layer1.0.downsample.0", 0),
        "layer1.0.relu1"
    );
    let imagenet = default_graph(&parse("preresnet50"));
    assert_eq!(reads(&imagenet, "layer1.0.conv1", 0), "maxpool");
    assert_eq!(reads(&imagenet, "layer1.0.downsample.0", 0), "maxpool");
    let projections = |text: &str| {
        param_layers(text)
            .iter()
            .filter(|n| n.ends_with("downsample.0"))
            .count()
    };
    assert_eq!(
        [projections("resnet20"), projections("resnet20:shortcut=B")],
        [0, 2]
    );
    assert_eq!(
        [projections("resnet18:shortcut=C"), projections("resnet50")],
        [8, 4]
    );
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
        assert_eq!(
            [stride("layer2.0.conv1"), stride("layer2.0.conv2")],
            strides,
            "{text}"
        );
    }
}

#[test]
fn the_plain_twin_is_the_main_path() {
    for row in CATALOG
        .iter()
        .filter(|row| row.depth < 1000 && row.arch().is_residual())
    {
        let arch = row.arch();
        let twin = arch.plain_twin();
        assert!(!twin.is_residual());
        let outline = |graph: &Graph| {
            let shapes = op::shapes(graph).unwrap_or_else(|e| panic!("{e}"));
            let layers = graph.layers.iter().zip(shapes);
            let main = layers.filter(|(l, _)| l.op != Op::Add && !l.name.contains("downsample"));
            main.map(|(l, shape)| (l.name.clone(), l.op, shape))
                .collect::<Vec<_>>()
        };
        let plain = default_graph(&twin);
        assert_eq!(
            outline(&default_graph(&arch)),
            outline(&plain),
            "{}",
            row.name
        );
        let chain = plain.layers.iter().enumerate().skip(1);
        assert!(
            chain
                .into_iter()
                .all(|(i, l)| l.inputs.len() == 1 && l.inputs[0].0 == i - 1),
            "{}",
            row.name
        );
    }
    let same = |a, b| {
        assert_eq!(
            default_graph(&parse(a)),
            default_graph(&parse(b)),
            "{a} and {b}"
        )
    };
    same("resnet56:residual=false", "plain56");
    same("resnet34:residual=false,shortcut=C", "plain34");
    assert_eq!(
        parse("resnet20:zero_init=true").plain_twin(),
        parse("resnet20:residual=false")
    );
    assert_eq!(parse("vgg16").plain_twin(), parse("vgg16"));
}

#[test]
fn zero_init_marks_the_last_norm_of_each_branch() {
    for (text, last) in [
        ("resnet20:zero_init=true", "bn2"),
        ("resnet50:zero_init=true", "bn3"),
    ] {
        let arch = parse(text);
        let graph = default_graph(&arch);
        let marked: Vec<&str> = graph
            .layers
            .iter()
            .filter(|l| {
                matches!(
                    l.op,
                    Op::BatchNorm {
                        zero_init: true,
                        ..
                    }
                )
            })
            .map(|l| l.name.as_str())
            .collect();
        let expected: Vec<String> = arch
            .blocks()
            .iter()
            .map(|block| format!("{block}.{last}"))
            .collect();
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
                !matches!(
                    layer.op,
                    Op::BatchNorm { .. } | Op::Conv2d { bias: false, .. }
                ),
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
    assert_eq!(
        default_graph(&parse("vgg16:init=xavier")).init,
        Init::Xavier
    );
    assert_eq!(default_graph(&parse("vgg16")).init, Init::He);
}

#[test]
fn names_are_read_back() {
    let values: [(&str, &[&str]); 9] = [
        ("block", &["basic", "bottleneck"]),
        ("shortcut", &["A", "B", "C"]),
        ("stride", &["v1", "v1.5"]),
        ("stem", &["cifar", "imagenet"]),
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
    assert_eq!(
        parse("resnet20:norm=none,shortcut=b").name(),
        "resnet20:shortcut=B,norm=none"
    );
    assert_eq!(parse("resnet20:shortcut=A,gain=1.0").name(), "resnet20");
    assert_eq!(
        parse("preresnet20:shortcut=A,block=bottleneck"),
        parse("preresnet20:block=bottleneck,shortcut=A")
    );
    assert_eq!(
        parse("preresnet20:block=bottleneck").name(),
        "preresnet20:block=bottleneck"
    );
}

#[test]
fn families_have_every_depth_of_their_formula() {
    for (text, blocks) in [
        ("plain8", 3),
        ("resnet26", 12),
        ("preresnet29", 9),
        ("wrn16_8", 6),
        ("resnet164", 81),
    ] {
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
    // The rows of any depth are members of their families.
    for family in FAMILIES {
        let members = CATALOG
            .iter()
            .filter_map(|row| Some((row, family.member(row.name)?)));
        for (row, arch) in members
            .filter(|(row, _)| row.name != "preresnet164" && row.arch().default_classes() == 10)
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
            let graph_name = n.rsplit('.').next().unwrap_or(n);
            !n.contains("downsample") && !graph_name.starts_with("bn")
        };
        if row.name.starts_with("vgg") || row.name == "classic" || row.name.starts_with("wrn") {
            continue;
        }
        assert_eq!(
            main.iter().filter(is_weight).count(),
            row.depth,
            "{}",
            row.name
        );
    }
}

#[test]
fn unknown_names_get_the_nearest() {
    let cases = [
        (
            "resnt50",
            "unknown network `resnt50`; did you mean resnet50",
        ),
        ("ResNet-18", "did you mean resnet18"),
        ("vgg17", "did you mean vgg16 or vgg19"),
        ("wrn28", "did you mean wrn28_10?"),
        (
            "inception_v3",
            "unknown network `inception_v3`; `resnet models` lists all",
        ),
        ("", "unknown network ``; `resnet models` lists all"),
        ("resnet020", "did you mean resnet20"),
        (
            "resnet21",
            "no network `resnet21`: networks for 32-pixel images have 6n+2 layers, at most 10000, those for ImageNet \
             18, 34, 50, 101, 152; nearest: resnet20, resnet26",
        ),
        ("resnet51", "nearest: resnet50, resnet56"),
        ("resnet2", "nearest: resnet8"),
        (
            "preresnet28",
            "have 6n+2 or 9n+2 layers, at most 10000, those for ImageNet 18, 34, 50, 101, 152, 200; nearest: preresnet26, preresnet29",
        ),
        ("plain1000000", "nearest: plain9998"),
        ("plain99999999999999999999999", "nearest: plain9998"),
        (
            "wrn28_0",
            "and a widening factor of 1 to 64; nearest: wrn28_1",
        ),
        ("wrn29_10", "nearest: wrn28_10, wrn34_10"),
    ];
    for (text, expected) in cases {
        let found = message(Arch::parse(text));
        assert!(found.contains(expected), "{text}: {found}");
    }
    let long = "resnet".repeat(100_000);
    assert!(matches!(
        Arch::parse(&long),
        Err(ArchError::UnknownNetwork { .. })
    ));
}

#[test]
fn wrong_options_say_why() {
    let cases = [
        (
            "resnet20:shortcuts=B",
            "unknown option `shortcuts` of network `resnet20`; did you mean shortcut? options are block, shortcut, \
             stride, stem, residual, norm, zero_init, init, gain",
        ),
        (
            "resnet20:shortcut=D",
            "option `shortcut` of network `resnet20` is `D`, expected A, B or C",
        ),
        ("resnet20:norm=layer", "is `layer`, expected batch or none"),
        ("resnet20:residual=yes", "expected true or false"),
        (
            "resnet20:init=normal",
            "expected he, xavier or normal:STD with STD above zero",
        ),
        ("resnet20:init=normal:-1", "expected he, xavier"),
        (
            "resnet20:gain=0",
            "option `gain` of network `resnet20` is `0`, expected a number above zero",
        ),
        ("resnet20:gain=1e60", "expected a number above zero"),
        ("resnet20:gain=nan", "expected a number above zero"),
        (
            "resnet20:",
            "network `resnet20:`: found ``, expected each option once as key=value",
        ),
        (
            "resnet20:shortcut",
            "found `shortcut`, expected each option once",
        ),
        (
            "resnet20:gain=1,gain=2",
            "found `gain=2`, expected each option once",
        ),
        (
            "vgg16:shortcut=A",
            "option `shortcut` cannot apply to network `vgg16`: it has no residual blocks",
        ),
        (
            "plain20:shortcut=B",
            "it is a plain network and has no shortcuts",
        ),
        ("plain20:residual=true", "it has no shortcuts by definition"),
        (
            "plain20:zero_init=true",
            "option `zero_init` cannot apply to network `plain20`: it has no residual branches",
        ),
        ("classic:zero_init=true", "it has no residual branches"),
        (
            "resnet20:residual=false,zero_init=true",
            "it has no residual branches",
        ),
        (
            "resnet20:zero_init=true,norm=none",
            "without batch norm there is no gamma",
        ),
        (
            "preresnet110:zero_init=true",
            "its branches end in a convolution",
        ),
        ("resnet20:stride=v1", "its blocks are not bottlenecks"),
        (
            "vgg16:stem=cifar",
            "its first layers are part of its definition",
        ),
        (
            "resnet50:block=basic",
            "its blocks are part of its definition",
        ),
        (
            "wrn28_10:block=bottleneck",
            "its blocks are part of its definition",
        ),
        (
            "resnet32:block=bottleneck",
            "bottleneck blocks give 9n+2 layers, not 32; nearest: 29 and 38",
        ),
        ("resnet8:block=bottleneck", "not 8; nearest: 11 and 20"),
        (
            "preresnet29:block=basic",
            "basic blocks give 6n+2 layers, not 29; nearest: 26 and 32",
        ),
    ];
    for (text, expected) in cases {
        let found = message(Arch::parse(text));
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn impossible_images_say_why() {
    let graph = |text, input, classes| message(parse(text).graph(input, classes));
    assert_eq!(
        graph("vgg16", Shape::new(1, 28, 28), 10),
        "network `vgg16` cannot read images of 1x28x28: no map is left at its layer `features.30`; \
         the smallest images it can read are 32x32 pixels"
    );
    assert!(graph("vgg16_bn", Shape::new(3, 8, 224), 10).contains("`features.33`"));
    assert!(graph("classic", Shape::new(1, 7, 7), 10).contains("8x8 pixels"));
    let cases = [
        (
            Shape::new(0, 32, 32),
            10,
            "the number of input channels is 0, expected 1 to 1024",
        ),
        (
            Shape::new(3, 0, 32),
            10,
            "the size of the images in pixels is 0x32, expected 1 to 16384",
        ),
        (Shape::new(3, 32, usize::MAX), 10, "expected 1 to 16384"),
        (
            Shape::new(3, 32, 32),
            0,
            "the number of classes is 0, expected 1 to 1000000",
        ),
    ];
    for (input, classes, expected) in cases {
        let found = graph("resnet20", input, classes);
        assert!(found.contains(expected), "{found}");
    }
    // The smallest and the largest that are accepted do build.
    for (text, input) in [
        ("vgg16", Shape::new(3, 32, 32)),
        ("classic", Shape::new(1, 8, 8)),
        ("resnet50", Shape::new(1, 1, 1)),
        ("vgg19", Shape::new(1024, 16_384, 16_384)),
        (
            "resnext101_32x8d:stem=cifar",
            Shape::new(1024, 16_384, 16_384),
        ),
    ] {
        size(
            &parse(text)
                .graph(input, 1_000_000)
                .unwrap_or_else(|e| panic!("{e}")),
        );
    }
}

#[test]
fn a_refused_set_changes_nothing() {
    let mut arch = parse("resnet20:norm=none");
    let before = arch.clone();
    assert!(arch.set("zero_init", "true").is_err());
    assert!(arch.set("block", "bottleneck").is_ok());
    assert_ne!(arch, before);
    assert!(arch.set("block", "basic").is_ok());
    assert_eq!(arch, before);
}

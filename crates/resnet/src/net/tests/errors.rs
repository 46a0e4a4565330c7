use super::{parse, size};
use crate::net::{Arch, ArchError};
use resnet_engine::graph::Shape;

fn message(result: Result<impl std::fmt::Debug, ArchError>) -> String {
    result.expect_err("an error").to_string()
}

#[test]
fn unknown_names_get_the_nearest() {
    let cases = [
        ("resnt50", "unknown network `resnt50`; did you mean resnet50"),
        ("ResNet-18", "did you mean resnet18"),
        ("vgg17", "did you mean vgg16?"),
        ("vgg", "did you mean vgg16 or vgg19 or vgg16_bn?"),
        ("resnext50", "did you mean resnext50_32x4d?"),
        ("wrn28", "did you mean wrn28_10?"),
        (
            "inception_v3",
            "unknown network `inception_v3`; expected a name of the catalogue, such as",
        ),
        ("", "unknown network ``; expected a name"),
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
        ("wrn28_0", "and a widening factor of 1 to 64; nearest: wrn28_1"),
        ("wrn29_10", "nearest: wrn28_10, wrn34_10"),
    ];
    for (text, expected) in cases {
        let found = message(Arch::parse(text));
        assert!(found.contains(expected), "{text}: {found}");
    }
    let long = "resnet".repeat(100_000);
    assert!(matches!(Arch::parse(&long), Err(ArchError::UnknownNetwork { .. })));
}

#[test]
fn wrong_options_say_why() {
    let cases = [
        (
            "resnet20:shortcuts=B",
            "unknown option `shortcuts` of network `resnet20`; did you mean shortcut? options are block, shortcut, \
             stride, stem, first_norm, residual, norm, zero_init, init, gain",
        ),
        (
            "resnet20:shortcut=D",
            "option `shortcut` of network `resnet20` is `D`, expected A, B or C",
        ),
        ("resnet20:norm=layer", "is `layer`, expected batch or none"),
        ("resnet20:residual=yes", "expected true or false"),
        ("resnet20:init=normal", "expected he, xavier or normal:STD with STD above zero"),
        ("resnet20:init=normal:-1", "expected he, xavier"),
        (
            "resnet20:gain=0",
            "option `gain` of network `resnet20` is `0`, expected a number above zero",
        ),
        ("resnet20:gain=1e60", "expected a number above zero"),
        ("resnet20:gain=nan", "expected a number above zero"),
        ("resnet20:", "network `resnet20:`: found ``, expected each option once as key=value"),
        ("resnet20:shortcut", "found `shortcut`, expected each option once"),
        ("resnet20:gain=1,gain=2", "found `gain=2`, expected each option once"),
        (
            "vgg16:shortcut=A",
            "option `shortcut` cannot apply to network `vgg16`: it has no residual blocks",
        ),
        ("plain20:shortcut=B", "it is a plain network and has no shortcuts"),
        ("plain20:residual=true", "it has no shortcuts by definition"),
        (
            "plain20:zero_init=true",
            "option `zero_init` cannot apply to network `plain20`: it has no residual branches",
        ),
        ("classic:zero_init=true", "it has no residual branches"),
        ("resnet20:residual=false,zero_init=true", "it has no residual branches"),
        ("resnet20:zero_init=true,norm=none", "without batch norm there is no gamma"),
        ("preresnet110:zero_init=true", "its branches end in a convolution"),
        ("resnet20:stride=v1", "its blocks are not bottlenecks"),
        ("resnet20:first_norm=both", "its batch norms follow their convolutions"),
        ("vgg16:stem=cifar", "its first layers are part of its definition"),
        ("resnet50:block=basic", "its blocks are part of its definition"),
        ("wrn28_10:block=bottleneck", "its blocks are part of its definition"),
        (
            "resnet32:block=bottleneck",
            "bottleneck blocks give 9n+2 layers, not 32; nearest: 29 and 38",
        ),
        ("resnet8:block=bottleneck", "not 8; nearest: 11 and 20"),
        ("preresnet29:block=basic", "basic blocks give 6n+2 layers, not 29; nearest: 26 and 32"),
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
        (Shape::new(0, 32, 32), 10, "the number of input channels is 0, expected 1 to 1024"),
        (Shape::new(3, 0, 32), 10, "the size of the images in pixels is 0x32, expected 1 to 16384"),
        (Shape::new(3, 32, usize::MAX), 10, "expected 1 to 16384"),
        (Shape::new(3, 32, 32), 0, "the number of classes is 0, expected 1 to 1000000"),
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
        ("vgg19", Shape::new(1024, 1024, 1024)),
        ("resnext101_32x8d:stem=cifar", Shape::new(1024, 1024, 1024)),
    ] {
        size(&parse(text).graph(input, 1_000_000).unwrap_or_else(|e| panic!("{e}")));
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

use std::collections::BTreeMap;

use super::*;
use crate::base::files::TestDir;
use resnet_engine::op;

/// Every tensor of a network, for so many classes, all zero but the variances.
fn tensors(arch: &str, classes: usize) -> Tensors {
    let arch = Arch::parse(arch).unwrap();
    let graph = arch.graph(arch.default_input(), classes).unwrap();
    let shapes = op::shapes(&graph).unwrap();
    let mut tensors = Tensors::default();
    for (_, name, param) in op::all_params(&graph, &shapes) {
        let value = if name.ends_with("running_var") { 1.0 } else { 0.0 };
        let values = vec![value; param.len()];
        tensors.insert(name, Array::f32(param.dims, values));
    }
    tensors
}

fn renamed(tensors: Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    Tensors {
        entries: tensors.entries.into_iter().map(|(name, array)| (rename(&name), array)).collect(),
        ..tensors
    }
}

fn write(dir: &TestDir, tensors: &Tensors) -> PathBuf {
    let path = dir.0.join("weights.safetensors");
    let mut bytes = Vec::new();
    resnet_formats::safetensors::write(tensors, &mut bytes).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// timm's names for a pre-activation network.
fn timm(name: &str) -> String {
    let mut parts: Vec<String> = name.split('.').map(String::from).collect();
    match name {
        "conv1.weight" => return "stem.conv.weight".into(),
        _ if name.starts_with("fc.") => return name.replace("fc.", "head.fc."),
        _ if name.starts_with("bn.") => return name.replace("bn.", "norm."),
        _ => {}
    }
    let stage: usize = parts[0]["layer".len()..].parse().unwrap();
    parts[0] = format!("stages.{}.blocks", stage - 1);
    let name = parts.join(".");
    name.replace(".bn", ".norm").replace("downsample.0", "downsample.conv")
}

#[test]
fn networks_are_known_by_their_tensors() {
    let dir = TestDir::new("known");
    for (arch, classes, told) in [
        ("resnet20", 10, "plain20"),
        ("resnet20:shortcut=B", 10, ""),
        ("resnet38:block=bottleneck", 7, ""),
        ("resnet20:norm=none", 3, "plain20:norm=none"),
        ("resnet18", 1000, ""),
        ("resnet18:stem=cifar", 10, ""),
        ("resnet50", 5, "resnet50_v1"),
        ("resnext50_32x4d", 1000, "v1"),
        ("wide_resnet50_2", 1000, "v1"),
        ("preresnet20", 10, ""),
        ("preresnet29", 10, ""),
        ("preresnet18:first_norm=both", 10, ""),
        ("wrn16_2", 10, ""),
        ("plain34", 10, "resnet34:shortcut=A"),
        ("classic", 10, ""),
    ] {
        let path = write(&dir, &tensors(arch, classes));
        let import = import(&path, &Choices::default()).unwrap_or_else(|e| panic!("{arch}: {e}"));
        assert_eq!(import.model.arch.name(), arch);
        assert_eq!(import.model.classes.len(), classes, "{arch}");
        let mut assumed = import.assumed.iter().map(ToString::to_string);
        let network = assumed.find(|text| text.starts_with("the network"));
        match network {
            Some(text) => assert!(!told.is_empty() && text.contains(told), "{arch}: {text}"),
            None => assert!(told.is_empty(), "{arch}: {told} was not told"),
        }
        let plan = resnet_engine::plan::Plan::build(
            &import.model.graph().unwrap(),
            resnet_engine::plan::Options::infer(1),
        );
        import.model.check(&plan.unwrap()).unwrap();
    }
}

#[test]
fn foreign_names_lead_to_the_same_networks() {
    let dir = TestDir::new("names");
    let choices = Choices::default();

    let akamaster = |name: &str| format!("module.{}", name.replace("fc.", "linear."));
    let path = write(&dir, &renamed(tensors("resnet32", 10), akamaster));
    let found = import(&path, &choices).unwrap();
    assert_eq!(found.model.arch.name(), "resnet32");
    assert_eq!(found.naming, "pytorch_resnet_cifar10");
    assert_eq!(found.model.classes[9], "truck");
    let Normalize::Channel { mean, std } = &found.model.preprocess.normalize else {
        panic!("not per channel")
    };
    assert_eq!((mean[0], std[2]), (0.485, 0.225));
    assert_eq!(found.model.preprocess.resize, None);

    let kuangliu = |name: &str| name.replace("fc.", "linear.").replace("downsample", "shortcut");
    let path = write(&dir, &renamed(tensors("resnet18:stem=cifar", 10), kuangliu));
    let found = import(&path, &choices).unwrap();
    assert_eq!(found.model.arch.name(), "resnet18:stem=cifar");
    assert_eq!(found.naming, "pytorch-cifar");
    // A stem for pictures of 32 pixels, whatever the network was designed for.
    let preprocess = &found.model.preprocess;
    assert_eq!((preprocess.shape, preprocess.resize), (Shape::new(3, 32, 32), None));

    for (arch, named) in [
        ("preresnet50:first_norm=both", "preresnet50:first_norm=branch"),
        ("preresnet18:first_norm=branch", "preresnet18:first_norm=branch"),
    ] {
        let mut theirs = renamed(tensors(arch, 12), timm);
        let head = theirs.entries.remove("head.fc.weight").unwrap();
        let shape = [head.shape(), &[1, 1]].concat();
        theirs.insert("head.fc.weight", Array::new(shape, head.into_data()).unwrap());
        let path = write(&dir, &theirs);
        let found = import(&path, &choices).unwrap();
        assert_eq!(found.model.arch.name(), named);
        assert_eq!(found.naming, "timm resnetv2");
        assert_eq!(found.model.tensors.get("fc.weight").unwrap().shape().len(), 2);
    }
}

#[test]
fn differences_are_counted_and_named() {
    let dir = TestDir::new("differences");
    let mut wrong = tensors("resnet18", 10);
    for name in [
        "layer1.0.bn1.weight",
        "layer4.1.conv2.weight",
        "bn1.bias",
        "bn1.weight",
        "bn1.running_mean",
    ] {
        wrong.entries.remove(name).unwrap();
    }
    wrong.insert("layer1.0.attention.weight", Array::f32(vec![1], vec![0.0]));
    wrong.insert("layer1.0.conv2.weight", Array::f32(vec![2], vec![0.0; 2]));
    let path = write(&dir, &wrong);
    let error = import(&path, &Choices::default()).unwrap_err().to_string();
    for part in [
        "weights.safetensors",
        "do not fit network `resnet18`, the nearest that is known",
        "5 missing: bn1.bias, bn1.running_mean, bn1.weight, layer1.0.bn1.weight, ...",
        "1 unexpected: layer1.0.attention.weight",
        "1 misshapen: layer1.0.conv2.weight (found [2], expected [64, 64, 3, 3])",
    ] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let choices = Choices { arch: Some(Arch::parse("resnet34").unwrap()), ..Choices::default() };
    let error = import(&path, &choices).unwrap_err().to_string();
    assert!(error.contains("do not fit network `resnet34`: "), "{error}");

    let mut other = Tensors::default();
    other.insert("encoder.weight", Array::f32(vec![1], vec![0.0]));
    let path = write(&dir, &other);
    let error = import(&path, &Choices::default()).unwrap_err().to_string();
    assert!(error.contains("found encoder.weight, expected those of timm"), "{error}");
    // Of long names the beginning is enough.
    let long = format!("layer1.{}", "0.".repeat(500));
    for file in [&mut other, &mut wrong] {
        file.insert(long.clone(), Array::f32(vec![1], vec![0.0]));
        let error = import(&write(&dir, file), &Choices::default()).unwrap_err().to_string();
        assert!(error.contains("layer1.0.0.0") && error.len() < 1000, "{error}");
    }
}

#[test]
fn a_classifier_that_follows_the_crop_is_compared_at_the_crop() {
    // Names and shapes alone: a VGG's numbers are half a gigabyte.
    let vgg = Arch::parse("vgg16").unwrap();
    let ends = infer::Ends { channels: 3, classes: 7 };
    let at = |side| infer::needed(&vgg, ends, Some(side)).unwrap();
    let naming = NAMINGS.iter().find(|naming| naming.name == "torchvision vgg").unwrap();
    let found = |dims: &Dims, crop| {
        let choices = Choices { crop, ..Choices::default() };
        let found = network(Path::new("vgg16.pth"), naming, dims, &choices, &mut Vec::new());
        found.map(|arch| arch.name()).map_err(|error| error.to_string())
    };
    for crop in [None, Some(224)] {
        assert_eq!(found(&at(224), crop), Ok("vgg16".into()));
    }
    assert_eq!(found(&at(192), Some(192)), Ok("vgg16".into()));
    let error = found(&at(224), Some(192)).unwrap_err();
    let part = "`vgg16`, the nearest that is known, for pictures of 192x192 pixels: 1 misshapen: \
                classifier.0.weight (found [4096, 25088], expected [4096, 18432])";
    assert!(error.contains(part), "{error}");

    let dir = TestDir::new("crop");
    let path = write(&dir, &tensors("classic", 3));
    let import = |crop| {
        let choices = Choices { crop: Some(crop), ..Choices::default() };
        import(&path, &choices).map(|import| import.model.preprocess.shape.h)
    };
    assert_eq!(import(32).unwrap(), 32);
    let error = import(64).unwrap_err().to_string();
    assert!(error.contains("for pictures of 64x64 pixels: 1 misshapen: classifier.0"), "{error}");
    // Sides that the network cannot read, and one whose maps would be too large to count.
    for (crop, part) in [(1, "cannot read images of 3x1x1"), (20_000, "expected 1 to 16384")] {
        let error = import(crop).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn what_is_said_is_taken_and_what_is_assumed_is_told() {
    let dir = TestDir::new("said");
    let mut weights = tensors("resnet18", 3);
    weights.metadata.insert("license".into(), "BSD-3-Clause".into());
    let counter = Array::new(vec![], resnet_formats::Data::I64(vec![7])).unwrap();
    weights.insert("bn1.num_batches_tracked", counter);
    let path = write(&dir, &weights);
    let mut choices = Choices::default();
    choices.set("preprocess.mean", "0.1,0.2,0.3").unwrap();
    choices.set("preprocess.std", "0.5").unwrap();
    choices.set("preprocess.crop", "64").unwrap();
    let list = dir.0.join("classes.txt");
    std::fs::write(&list, "cat\ndog\r\nfish\n\n").unwrap();
    choices.classes = Some((list.clone(), read_classes(&list).unwrap().names));
    let found = import(&path, &choices).unwrap();
    let resize = Assumption::Preprocess { key: "resize", value: "74".into() };
    assert_eq!(found.assumed, [resize, Assumption::Unseen]);
    let model = found.model;
    assert_eq!(model.classes, ["cat", "dog", "fish"]);
    assert_eq!(model.tensors.metadata["licence"], "BSD-3-Clause");
    assert_eq!(model.preprocess.shape, Shape::new(3, 64, 64));
    assert_eq!(model.tensors.get("bn1.num_batches_tracked"), None);

    let saved = dir.0.join("model.safetensors");
    model.save(&saved).unwrap();
    let again = Model::load(&saved).unwrap();
    assert_eq!(again.tensors.metadata["licence"], "BSD-3-Clause");
    assert_eq!((again.classes, again.preprocess), (model.classes, model.preprocess));
    assert!(matches!(import(&saved, &choices), Err(ImportError::Ours { .. })));

    choices.classes = Some((list, vec!["cat".into()]));
    let error = import(&path, &choices).unwrap_err().to_string();
    assert!(error.contains("names 1 classes") && error.contains("has 3"), "{error}");
}

#[test]
fn stored_halves_stay_as_they_are_and_numbers_must_be_finite() {
    let dir = TestDir::new("halves");
    let mut weights = tensors("resnet20", 10);
    let half = |array: &Array| array.to_float(resnet_formats::DataType::F16).unwrap();
    weights.entries.values_mut().for_each(|array| *array = half(array));
    let path = write(&dir, &weights);
    let found = import(&path, &Choices::default()).unwrap();
    let stored: BTreeMap<_, _> = found.model.tensors.entries;
    assert!(stored.values().eq(weights.entries.values()));

    weights.insert("fc.bias", Array::f32(vec![10], vec![f32::NAN; 10]));
    let error = import(&write(&dir, &weights), &Choices::default()).unwrap_err();
    assert!(error.to_string().contains("`fc.bias` holds numbers that are not finite"), "{error}");
    weights.insert("fc.bias", Array::f32(vec![10], vec![0.0; 10]));
    let variance =
        weights.entries.insert("bn1.running_var".into(), Array::f32(vec![16], vec![-1.0; 16]));
    let error = import(&write(&dir, &weights), &Choices::default()).unwrap_err();
    assert!(error.to_string().contains("`bn1.running_var` holds negative numbers"), "{error}");
    weights.entries.insert("bn1.running_var".into(), variance.unwrap());
    let whole = Array::new(vec![10], resnet_formats::Data::I64(vec![1; 10])).unwrap();
    weights.insert("fc.bias", whole);
    let error = import(&write(&dir, &weights), &Choices::default()).unwrap_err();
    assert!(error.to_string().contains("`fc.bias` holds integers"), "{error}");
}

#[test]
fn class_lists() {
    let dir = TestDir::new("classes");
    let path = dir.0.join("list");
    let list = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read_classes(&path).map_err(|e| e.to_string())
    };
    let read = |text: &str| list(text).map(|list| list.names);
    assert_eq!(read("a\nb b\n").unwrap(), ["a", "b b"]);
    assert_eq!(read("[\"a\", \"b\"]").unwrap(), ["a", "b"]);
    for text in [
        "{\"cat\": 0, \"dog\": 1}",
        "{\"dog\": 1, \"cat\": 0}",
        "{\"id2label\": {\"0\": \"cat\", \"1\": \"dog\"}, \"label2id\": {\"cat\": 0}, \"depths\": [3]}",
        "{\"0\": \"cat\", \"1\": \"dog\"}",
    ] {
        assert_eq!(list(text).unwrap().names, ["cat", "dog"], "{text}");
        assert_eq!(list(text).unwrap().aliases, None, "{text}");
    }
    let wnids = list("{\"0\": [\"n1\", \"tench\"], \"1\": [\"n2\", \"crane\"]}").unwrap();
    assert_eq!(
        (wnids.names, wnids.aliases),
        (vec!["tench".into(), "crane".into()], Some(vec!["n1".into(), "n2".into()]))
    );
    let index = "{\"1\": [\"n2\", \"crane\"], \"0\": [\"n1\", \"crane\"], \"2\": [\"n3\", \"tench\"], \"3\": \"x\"}";
    assert_eq!(read(index).unwrap(), ["crane (n1)", "crane (n2)", "tench", "x"]);
    for (text, part) in [
        ("a\n\nb\n", "class 1 has no name"),
        ("", "names no classes"),
        ("{}", "names no classes"),
        ("{\"0\": \"a\", \"7\": \"b\"}", "label `7` of 2 classes"),
        ("{\"0\": \"a\", \"00\": \"b\"}", "stands there twice"),
        ("a\nb\na\n", "class `a` stands there twice, for the labels 0 and 2"),
        ("[\"b\", \"b\"]", "class `b` stands there twice"),
        ("{\"a\": 0, \"b\": 0}", "label 0 stands there for `a` and for `b`"),
        ("{\"a\": 0, \"b\": 2}", "label `2` of 2 classes"),
        ("{\"0\": true}", "expected one name a line"),
        ("[1]", "expected one name a line"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn choices_are_checked() {
    let mut choices = Choices::default();
    for (key, value, part) in [
        ("preprocess.mena", "1", "did you mean preprocess.mean?"),
        ("preprocess.mean", "1,2", "three numbers"),
        ("preprocess.std", "x", "three numbers"),
        ("preprocess.crop", "0", "at least 1"),
        ("preprocess.resize", "-1", "number of pixels"),
    ] {
        let error = choices.set(key, value).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Our names as Hugging Face's transformers has them.
fn hugging_face(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let kind = |part: &str| if part.starts_with("bn") { "normalization" } else { "convolution" };
    let number = |part: &str| part[part.len() - 1..].parse::<usize>().unwrap() - 1;
    match parts[..] {
        ["fc", last] => format!("classifier.1.{last}"),
        [layer @ ("conv1" | "bn1"), last] => {
            format!("resnet.embedder.embedder.{}.{last}", kind(layer))
        }
        [stage, block, "downsample", at, last] => {
            let kind = if at == "0" { "convolution" } else { "normalization" };
            format!("resnet.encoder.stages.{}.layers.{block}.shortcut.{kind}.{last}", number(stage))
        }
        [stage, block, layer, last] => format!(
            "resnet.encoder.stages.{}.layers.{block}.layer.{}.{}.{last}",
            number(stage),
            number(layer),
            kind(layer)
        ),
        _ => panic!("{name}"),
    }
}

/// Our names as detectron2 has them.
fn detectron2(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let body = "backbone.bottom_up";
    let conv = |layer: &str| {
        layer.replace("bn", "conv") + if layer.starts_with("bn") { ".norm" } else { "" }
    };
    match parts[..] {
        ["fc", last] => format!("linear.{last}"),
        [layer, last] => format!("{body}.stem.{}.{last}", conv(layer)),
        [stage, block, "downsample", at, last] => {
            let stage = stage[5..].parse::<usize>().unwrap() + 1;
            let norm = if at == "1" { ".norm" } else { "" };
            format!("{body}.res{stage}.{block}.shortcut{norm}.{last}")
        }
        [stage, block, layer, last] => {
            let stage = stage[5..].parse::<usize>().unwrap() + 1;
            format!("{body}.res{stage}.{block}.{}.{last}", conv(layer))
        }
        _ => panic!("{name}"),
    }
}

#[test]
fn names_of_openmmlab_hugging_face_and_detectron2_are_known() {
    let dir = TestDir::new("zoos");
    let openmmlab = |name: &str| match name.strip_prefix("fc.") {
        Some(last) => format!("head.fc.{last}"),
        None => format!("backbone.{name}"),
    };
    let pooled = |name: &str| name.replace("fc.", "fc.1.");
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let namings: [(Rename, &str); 4] = [
        (&openmmlab, "head.fc"),
        (&hugging_face, "classifier.1"),
        (&detectron2, "linear"),
        (&pooled, "fc.1"),
    ];
    for (arch, classes) in [("resnet50", 3), ("resnet18", 7)] {
        let whole = tensors(arch, classes);
        for (rename, head) in namings {
            let path = write(&dir, &renamed(whole.clone(), rename));
            let found =
                import(&path, &Choices::default()).unwrap_or_else(|e| panic!("{head}: {e}"));
            assert_eq!(
                (found.model.arch.name().as_str(), found.model.classes.len()),
                (arch, classes)
            );
            assert!(found.assumed.contains(&Assumption::Head(head.into())), "{:?}", found.assumed);
            assert_eq!(found.model.tensors.entries, whole.entries, "{head}");
            found.model.check_weights().unwrap();
        }
    }
}

#[test]
fn what_stands_beside_the_network_is_left_out_and_told() {
    let dir = TestDir::new("beside");
    let whole = tensors("resnet20", 4);
    let mut file = renamed(whole.clone(), |name| format!("model.{name}"));
    for copy in ["ema_model", "teacher.net"] {
        file.entries.extend(renamed(whole.clone(), |name| format!("{copy}.{name}")).entries);
    }
    let number = || Array::f32(vec![1], vec![0.5]);
    for name in
        ["criterion.weight", "train_acc.tp", "train_acc.fp", "model.layer1.0.total_ops", "val_loss"]
    {
        file.insert(name, number());
    }
    let found = import(&write(&dir, &file), &Choices::default()).unwrap();
    assert_eq!(found.model.tensors.entries, whole.entries);
    let copies = whole.entries.len();
    assert_eq!(
        found.ignored,
        [
            "*.total_ops: a tensor".to_owned(),
            "criterion.*: a tensor".into(),
            format!("ema_model.*: {copies} tensors"),
            format!("teacher.net.*: {copies} tensors"),
            "train_acc.*: 2 tensors".into(),
            "val_loss.*: a tensor".into(),
        ]
    );
    // What may be a part of what is computed is not passed over.
    for name in ["model.layer1.0.scale", "normalize.mean", "neck.0.weight"] {
        let mut file = renamed(whole.clone(), |name| format!("model.{name}"));
        file.insert(name, number());
        let error = import(&write(&dir, &file), &Choices::default()).unwrap_err().to_string();
        assert!(error.contains("1 unexpected"), "{name}: {error}");
    }
    // The same without a prefix.
    let mut file = whole.clone();
    file.insert("criterion.weight", number());
    let found = import(&write(&dir, &file), &Choices::default()).unwrap();
    assert_eq!(found.ignored, ["criterion.*: a tensor"]);
}

#[test]
fn weights_without_a_last_layer_can_be_fine_tuned_and_nothing_else() {
    let dir = TestDir::new("headless");
    let whole = tensors("resnet20", 4);
    let mut body = renamed(whole.clone(), |name| format!("backbone.{name}"));
    body.entries.retain(|name, _| !name.contains("fc."));
    let mut mlp = whole.clone();
    mlp.entries.retain(|name, _| !name.starts_with("fc."));
    let mut detector = body.clone();
    for layer in ["fc.0", "fc.2"] {
        mlp.insert(format!("{layer}.weight"), Array::f32(vec![64, 64], vec![0.0; 64 * 64]));
    }
    detector.insert("neck.fpn.weight", Array::f32(vec![1], vec![0.0]));
    for (file, left_out) in
        [(body, vec![]), (mlp, vec!["fc.*: 2 tensors"]), (detector, vec!["neck.*: a tensor"])]
    {
        let found = import(&write(&dir, &file), &Choices::default()).unwrap();
        assert_eq!(found.ignored, left_out);
        assert!(found.assumed.contains(&Assumption::NoHead), "{:?}", found.assumed);
        let saved = dir.0.join("model.safetensors");
        found.model.save(&saved).unwrap();
        let model = Model::load(&saved).unwrap();
        let error = model.check_head().unwrap_err().to_string();
        assert!(error.contains("fine-tune it"), "{error}");
        let classes = ["ant".to_owned(), "bee".to_owned()];
        let graph = model.arch.graph(model.preprocess.shape, 2).unwrap();
        let taught = model.for_classes(&classes, &graph).unwrap();
        taught.check_head().unwrap();
        taught.check_weights().unwrap();
        assert_eq!(taught.tensors.get("conv1.weight"), whole.get("conv1.weight"));
    }
}

#[test]
fn networks_that_are_not_read_are_named() {
    let dir = TestDir::new("strangers");
    let with = |names: &[&str]| {
        let mut file = tensors("resnet18", 4);
        for name in names {
            file.insert(*name, Array::f32(vec![1], vec![0.0]));
        }
        file
    };
    let mut grouped = with(&[]);
    grouped.entries.retain(|name, _| !name.contains("running"));
    let mut vit = Tensors::default();
    vit.insert("cls_token", Array::f32(vec![1], vec![0.0]));
    for (file, part) in [
        (with(&["layer1.0.se.fc1.weight"]), "squeeze and excitation (SE-ResNet)"),
        (with(&["conv1.0.weight", "conv1.3.weight"]), "ResNet-C, -D, -T or -S"),
        (with(&["layer2.0.downsample.2.weight"]), "ResNet-D"),
        (with(&["layer1.0.convs.0.weight"]), "Res2Net"),
        (grouped, "group norm"),
        (vit, "looks like a vision transformer"),
    ] {
        let error = import(&write(&dir, &file), &Choices::default()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("it looks like"), "`{part}`: {error}");
    }
}

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
    choices.classes = Some((list.clone(), read_classes(&list).unwrap()));
    let found = import(&path, &choices).unwrap();
    let resize = Assumption::Preprocess { key: "resize", value: "74".into() };
    assert_eq!(found.assumed, [resize]);
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
    let whole = Array::new(vec![10], resnet_formats::Data::I64(vec![1; 10])).unwrap();
    weights.insert("fc.bias", whole);
    let error = import(&write(&dir, &weights), &Choices::default()).unwrap_err();
    assert!(error.to_string().contains("`fc.bias` holds integers"), "{error}");
}

#[test]
fn class_lists() {
    let dir = TestDir::new("classes");
    let path = dir.0.join("list");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read_classes(&path).map_err(|e| e.to_string())
    };
    assert_eq!(read("a\nb b\n").unwrap(), ["a", "b b"]);
    assert_eq!(read("[\"a\", \"b\"]").unwrap(), ["a", "b"]);
    let index = "{\"1\": [\"n2\", \"crane\"], \"0\": [\"n1\", \"crane\"], \"2\": [\"n3\", \"tench\"], \"3\": \"x\"}";
    assert_eq!(read(index).unwrap(), ["crane (n1)", "crane (n2)", "tench", "x"]);
    for (text, part) in [
        ("a\n\nb\n", "class 1 has no name"),
        ("", "names no classes"),
        ("{}", "names no classes"),
        ("{\"0\": \"a\", \"7\": \"b\"}", "label `7` of 2 classes"),
        ("{\"0\": \"a\", \"00\": \"b\"}", "stands there twice"),
        ("{\"0\": 3}", "expected one name a line"),
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

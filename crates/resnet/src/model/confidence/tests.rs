use std::path::Path;

use super::*;
use crate::data::testing::TempDir;
use crate::data::{Normalize, Preprocess};
use crate::measure::predict::Predictor;
use crate::model;
use crate::net::Arch;
use resnet_engine::exec::{self, Session};
use resnet_engine::graph::Shape;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::Precision;
use resnet_formats::{Tensors, safetensors};

const SHAPE: Shape = Shape::new(1, 8, 8);
/// Of resnet8.
const FEATURES: usize = 64;

fn arch() -> Arch {
    Arch::parse("resnet8").unwrap()
}

/// Calibrated with numbers that any would be right for.
fn model() -> Model {
    let graph = arch().graph(SHAPE, 3).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(exec::cpu(1).unwrap().as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, 5).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.25] };
    let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let mut model = Model::of(&session, arch(), classes, preprocess).unwrap();
    let mut factor = vec![0.25; triangle(FEATURES)];
    (0..FEATURES).for_each(|i| factor[triangle(i) + i] = 1.0 + i as f32);
    let means = (0..2 * FEATURES).map(|i| (i as f32).sin()).collect();
    model.confidence = Some(Confidence {
        temperature: 2.3301412,
        threshold: Some(0.997_312_9),
        precision: 0.99,
        data: "photos, \"val\"".into(),
        count: 5000,
        likeness: Some(Likeness {
            limit: 0.01,
            quantiles: (0..PARTS).map(|i| 7.0 + 0.3 * i as f32).collect(),
            space: Space { features: FEATURES, means, factor },
        }),
    });
    model
}

fn predictor(path: &Path) -> Result<Predictor, String> {
    let device = exec::cpu(1).unwrap();
    Predictor::open(path, Precision::F32, device.as_ref()).map_err(|error| error.to_string())
}

#[test]
fn a_file_keeps_every_bit() {
    let folder = TempDir::new("confidence");
    let path = folder.path().join("model.safetensors");
    let model = model();
    model.save(&path).unwrap();
    let again = Model::load(&path).unwrap();
    assert_eq!(again.confidence, model.confidence);
    assert_eq!(predictor(&path).unwrap().confidence(), model.confidence.as_ref());
    assert_eq!(again.tensors.entries, model.tensors.entries, "the weights are alone");
    again.save(&folder.path().join("again.safetensors")).unwrap();
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("model.safetensors"), bytes("again.safetensors"));
    // Without statistics, and without a threshold.
    let mut bare = model.clone();
    let confidence = bare.confidence.as_mut().unwrap();
    (confidence.likeness, confidence.threshold) = (None, None);
    bare.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().confidence, bare.confidence);
    // And an uncalibrated one.
    bare.confidence = None;
    bare.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().confidence, None);
}

#[test]
fn the_text_travels_where_arrays_do_not() {
    let texts = model().metadata();
    let model = Model::described(Path::new("m.pth"), texts).unwrap();
    let confidence = model.confidence.unwrap();
    assert_eq!((confidence.temperature, confidence.likeness), (2.3301412, None));
}

#[test]
fn other_weights_know_nothing_of_it() {
    let classes = ["a", "b", "c"].map(String::from);
    for classes in [&classes[..], &classes[..2]] {
        let graph = arch().graph(SHAPE, classes.len()).unwrap();
        let taught = model().for_classes(classes, &graph).unwrap();
        assert_eq!(taught.confidence, None);
    }
}

#[test]
fn nonsense_is_refused_and_named() {
    let folder = TempDir::new("nonsense");
    let path = folder.path().join("m.safetensors");
    model().save(&path).unwrap();
    let sound = safetensors::read(&std::fs::read(&path).unwrap()).unwrap();
    let text = &sound.metadata[CONFIDENCE];
    let refused = |tensors: &Tensors, problem: &str| {
        let mut bytes = Vec::new();
        safetensors::write(tensors, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let (loaded, opened) = (Model::load(&path).err().unwrap(), predictor(&path).err().unwrap());
        assert_eq!(loaded.to_string(), opened);
        assert!(opened.starts_with(&path.display().to_string()), "{opened}");
        assert!(opened.contains(problem), "{opened}, expected {problem}");
    };
    for (from, to, problem) in [
        ("2.3301412", "0.0", "metadata `confidence` has the temperature 0, expected one above 0"),
        ("2.3301412", "-1", "has the temperature -1"),
        ("2.3301412", "1e999", "number out of range"),
        ("2.3301412", "\"hot\"", "invalid type: string \"hot\""),
        ("\"temperature\"", "\"warmth\"", "missing field `temperature`"),
        ("0.9973129", "1.5", "has `threshold` 1.5, expected a share from 0 to 1"),
        ("\"precision\":0.99", "\"precision\":1.0", "has `precision` 1, expected a share"),
        ("\"unlike\":0.01", "\"unlike\":-3", "has `unlike` -3"),
        (text.as_str(), "[]", "metadata `confidence`"),
        (text.as_str(), "", "EOF while parsing"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let mut tensors = sound.clone();
        tensors.metadata.insert(CONFIDENCE.into(), text.replace(from, to));
        refused(&tensors, problem);
    }
    type Spoil = fn(&mut Vec<f32>);
    let cases: [(&str, Option<Vec<usize>>, Spoil, &str); 9] = [
        (MEANS, None, |_| {}, "`confidence.means` is missing"),
        (FACTOR, Some(vec![64, 64]), |_| {}, "`confidence.factor` is [64, 64], expected [2080]"),
        (QUANTILES, Some(vec![100]), |_| {}, "`confidence.quantiles` is [100], expected [101]"),
        (MEANS, Some(vec![4, 64]), |_| {}, "is [4, 64], expected [1 to 3, 64]"),
        (MEANS, Some(vec![0, 64]), |_| {}, "is [0, 64], expected [1 to 3, 64]"),
        (MEANS, Some(vec![2, 64]), |x| x[70] = f32::NAN, "`confidence.means` holds numbers"),
        (FACTOR, Some(vec![2080]), |x| x[2] = 0.0, "`confidence.factor` holds 0 for feature 1"),
        (
            FACTOR,
            Some(vec![2080]),
            |x| x[2079] = -4.0,
            "`confidence.factor` holds -4 for feature 63",
        ),
        (QUANTILES, Some(vec![101]), |x| x[50] = 0.0, "`confidence.quantiles` does not rise"),
    ];
    for (name, shape, spoil, problem) in cases {
        let mut tensors = sound.clone();
        let found = tensors.entries.remove(name).unwrap();
        if let Some(shape) = shape {
            let mut values = found.to_f32().unwrap().into_owned();
            values.resize(shape.iter().product(), 1.0);
            spoil(&mut values);
            tensors.insert(name, Array::f32(shape, values));
        }
        refused(&tensors, problem);
    }
}

#[test]
fn what_was_put_into_a_model_is_checked_before_use() {
    let device = exec::cpu(1).unwrap();
    let refused = |spoil: fn(&mut Confidence)| {
        let mut model = model();
        spoil(model.confidence.as_mut().unwrap());
        Predictor::new(model, Precision::F32, device.as_ref()).err().unwrap().to_string()
    };
    assert!(refused(|found| found.temperature = f64::NAN).contains("has the temperature NaN"));
    let shorten = |found: &mut Confidence| {
        found.likeness.as_mut().unwrap().space.means.pop();
    };
    assert!(refused(shorten).contains("`confidence.means` is"));
    assert!(Predictor::new(model(), Precision::F32, device.as_ref()).is_ok());
}

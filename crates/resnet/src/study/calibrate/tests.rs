use super::*;
use crate::data::testing::TempDir;
use crate::data::{Image, Memory, Normalize, Preprocess};
use crate::measure::confidence::{Verdict, softmax};
use crate::measure::predict::{Ask, Guess};
use crate::model;
use crate::net::Arch;
use resnet_engine::exec::{self, Session};
use resnet_engine::graph::Shape;
use resnet_engine::plan::{Options, Plan};

const SHAPE: Shape = Shape::new(1, 8, 8);

fn model() -> Model {
    let arch = Arch::parse("resnet8").unwrap();
    let graph = arch.graph(SHAPE, 3).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(exec::cpu(1).unwrap().as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, 5).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.25] };
    let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
    Model::of(&session, arch, classes(), preprocess).unwrap()
}

fn classes() -> Vec<String> {
    ["a", "b", "c"].map(String::from).to_vec()
}

fn image(rng: &mut Rng, slope: f64) -> Image {
    let mut pixel = |i: usize| (40.0 + slope * (i / 8) as f64 + 60.0 * rng.unit()) as u8;
    Image::grey(8, 8, (0..64).map(&mut pixel).collect())
}

/// Noise whose classes are what the network says, but of the eighth that it is the least sure of.
fn pictures(count: usize, seed: u64) -> Arc<dyn Dataset> {
    let predictor = model().predictor().unwrap();
    let mut rng = Rng::new(seed, &[]);
    let images: Vec<Image> = (0..count).map(|i| image(&mut rng, (i % 5) as f64 * 4.0)).collect();
    let guess = |image: &Image| predictor.image(image, 1).unwrap().remove(0);
    let guesses: Vec<_> = images.iter().map(guess).collect();
    let mut sorted: Vec<f32> = guesses.iter().map(|guess| guess.probability).collect();
    sorted.sort_by(f32::total_cmp);
    let label = |guess: &Guess| {
        let wrong = guess.probability < sorted[count / 8];
        ((guess.class + usize::from(wrong)) % 3) as u32
    };
    let labels: Vec<u32> = guesses.iter().map(label).collect();
    let pixels = images.into_iter().flat_map(|image| image.pixels).collect();
    Arc::new(Memory::new("noise", SHAPE, pixels, labels, classes()).unwrap())
}

fn others() -> Arc<dyn Dataset> {
    let pixels = (0..30 * 64).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect();
    Arc::new(Memory::new("stripes", SHAPE, pixels, vec![0u32; 30], classes()).unwrap())
}

fn how(wanted: f64) -> How {
    How { wanted, data: "noise (val)".into(), precision: Precision::F32 }
}

fn calibrated(pictures: &Pictures, wanted: f64, threads: usize) -> Result<Calibrated, String> {
    let device = exec::cpu(threads).unwrap();
    calibrate(&model(), pictures, &how(wanted), device.as_ref(), &mut |_, _| {})
        .map_err(|error| error.to_string())
}

#[test]
fn a_calibration_is_the_same_on_any_number_of_threads() {
    let pictures = Pictures {
        train: Some(pictures(90, 1)),
        held_out: pictures(161, 2),
        other: Some(others()),
    };
    let one = calibrated(&pictures, 0.8, 1).unwrap();
    let more = calibrated(&pictures, 0.8, 3).unwrap();
    assert_eq!(one.confidence, more.confidence);
    assert_eq!(format!("{:?}", one.tested), format!("{:?}", more.tested));
    assert_eq!(format!("{:?}", one.against), format!("{:?}", more.against));

    let Calibrated { confidence, tested, against, learned, .. } = one;
    assert_eq!((confidence.count, tested.count, learned), (81, 80, 90));
    assert!(confidence.temperature != 1.0 && tested.after.loss < tested.before.loss);
    assert!(confidence.threshold.is_some(), "seven of eight are right, four of five are wanted");
    assert_eq!((confidence.precision, confidence.data.as_str()), (0.8, "noise (val)"));
    let against = against.unwrap();
    let area = |name: &str| against.areas.iter().find(|area| area.0 == name).unwrap().1;
    assert_eq!((area("likeness"), against.unlike), (1.0, Some(30)));
    assert!(tested.unlike.unwrap() < 10, "{tested:?}");
}

#[test]
fn a_calibrated_model_says_what_its_file_holds() {
    let folder = TempDir::new("calibrated");
    let path = folder.path().join("m.safetensors");
    let pictures =
        Pictures { train: Some(pictures(90, 1)), held_out: pictures(100, 2), other: None };
    let mut model = model();
    model.confidence = Some(calibrated(&pictures, 0.75, 1).unwrap().confidence);
    model.save(&path).unwrap();
    let device = exec::cpu(1).unwrap();
    let predictor = Predictor::open(&path, Precision::F32, device.as_ref()).unwrap();
    let known = predictor.confidence().unwrap().clone();
    let image = image(&mut Rng::new(9, &[]), 8.0);
    let answer = predictor.answer(&image, Ask { embedding: true, ..Ask::default() }).unwrap();
    let expected = softmax(&answer.logits, known.temperature);
    let guesses = predictor.image(&image, 3).unwrap();
    for guess in &guesses {
        assert_eq!(guess.probability, expected[guess.class]);
    }
    let bare = self::model().predictor().unwrap();
    assert_ne!(bare.image(&image, 3).unwrap(), guesses);
    assert_eq!(bare.verdict(&answer), Verdict::default());
    let verdict = predictor.verdict(&answer);
    let likeness = known.likeness.unwrap().of(answer.embedding.as_ref().unwrap());
    assert_eq!(verdict.likeness, Some(likeness));
    assert_eq!(verdict.unlike, Some(likeness < 0.01));
    assert_eq!(verdict.sure, Some(guesses[0].probability >= known.threshold.unwrap()));
    // Without the embedding, and of a picture of another kind.
    let answer = predictor.answer(&image, Ask::default()).unwrap();
    assert_eq!(
        (predictor.verdict(&answer).likeness, predictor.verdict(&answer).unlike),
        (None, None)
    );
    let mut stripes = Image::default();
    others().read(0, &mut stripes).unwrap();
    let answer = predictor.answer(&stripes, Ask { embedding: true, ..Ask::default() }).unwrap();
    assert_eq!(predictor.verdict(&answer).unlike, Some(true));
    // An evaluation is of the probabilities that are told.
    let evaluation = model.evaluate(pictures.held_out.clone()).unwrap();
    let before = self::model().evaluate(pictures.held_out).unwrap();
    let without = evaluation.uncalibrated.unwrap();
    assert_eq!((without.loss, without.ece), (before.value("loss"), before.value("ece")));
    assert_eq!(without.temperature, known.temperature);
    assert!(evaluation.value("loss") < before.value("loss"));
    assert_eq!(evaluation.value("top1"), before.value("top1"));
    assert!(before.uncalibrated.is_none());
}

#[test]
fn what_cannot_be_known_is_left_out() {
    let none = Pictures { train: None, held_out: pictures(60, 2), other: Some(others()) };
    let found = calibrated(&none, 0.999, 1).unwrap();
    assert_eq!((found.confidence.likeness, found.confidence.threshold), (None, None));
    assert_eq!((found.tested.unlike, found.tested.sure), (None, 0));
    let against = found.against.unwrap();
    let names: Vec<_> = against.areas.iter().map(|area| area.0).collect();
    assert_eq!((names, against.unlike), (vec!["probability", "energy"], None));
    // A network that is never wrong does not say how sure is too sure.
    let right = {
        let predictor = model().predictor().unwrap();
        let mut rng = Rng::new(4, &[]);
        let images: Vec<Image> = (0..40).map(|_| image(&mut rng, 4.0)).collect();
        let labels: Vec<u32> =
            images.iter().map(|i| predictor.image(i, 1).unwrap()[0].class as u32).collect();
        let pixels = images.into_iter().flat_map(|image| image.pixels).collect();
        Arc::new(Memory::new("right", SHAPE, pixels, labels, classes()).unwrap())
    };
    let found = calibrated(&Pictures { held_out: right, ..none.clone() }, 0.5, 1).unwrap();
    assert_eq!(found.no_optimum, Some(NoOptimum::NoMistakes));
    assert_eq!(found.confidence.temperature, 1.0);
    assert!(found.tested.sure > 10 && found.tested.sure_right == found.tested.sure);
    let few = calibrated(&Pictures { held_out: pictures(19, 1), ..none.clone() }, 0.5, 1);
    assert!(few.unwrap_err().starts_with("19 held-out pictures can be read, too few"));
    for wanted in [0.0, 1.0, -1.0, f64::NAN] {
        let error = calibrated(&none, wanted, 1).unwrap_err();
        assert!(error.contains("of sure answers cannot be right"), "{error}");
    }
}

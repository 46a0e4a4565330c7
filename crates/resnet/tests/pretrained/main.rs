//! Published weights through the whole library: imported, evaluated, compared with what PyTorch
//! computed.
//!
//! The weights, pictures and reference outputs are a hundred megabytes and do not belong to this
//! repository. They are looked for in `../shared/data` beside it, or where `RESNET_TEST_DATA` says;
//! where they are not, each test says that it is skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnet::data::{Augment, CIFAR10_CLASSES, Dataset, Image, Memory, Transform};
use resnet::engine::exec::{self, Session};
use resnet::engine::graph::Shape;
use resnet::engine::plan::{Options, Plan};
use resnet::engine::step::Precision;
use resnet::measure::evaluate::evaluate_model;
use resnet::measure::feature::lesions;
use resnet::measure::predict::Predictor;
use resnet::model::Model;
use resnet::model::foreign::{Choices, Import, import, read_classes};
use resnet::net::Arch;
use resnet_formats::{Array, Tensors, safetensors};

/// A folder of the test data, or none with a word on it.
fn data(folder: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("RESNET_TEST_DATA") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    // Straight to the terminal: the test harness keeps what passing tests print to itself.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {} is not there", path.display());
    None
}

fn tensors(path: PathBuf) -> Tensors {
    safetensors::read(&std::fs::read(path).unwrap()).unwrap()
}

fn f32s<'a>(tensors: &'a Tensors, name: &str) -> &'a [f32] {
    tensors.get(name).and_then(Array::as_f32).unwrap()
}

/// Logits of inputs that lie one after another, HWC.
fn logits(model: &Model, inputs: &[f32]) -> Vec<f32> {
    let batch = inputs.len() / model.preprocess.shape.len();
    let plan = Plan::build(&model.graph().unwrap(), Options::infer(batch)).unwrap();
    let mut session = Session::to_run(exec::cpu(0).unwrap().as_ref(), plan).unwrap();
    model.clone().hand_over(&mut session).unwrap();
    let mut logits = vec![0.0; batch * model.classes.len()];
    session.infer(inputs, &mut logits).unwrap();
    logits
}

fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let differences = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    let (at, most) = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    println!("{what}: largest difference {most:e}");
    assert!(most <= tolerance, "{what}: {} for {} at {at}", got[at], want[at]);
}

/// CIFAR-10's test images, from the sheet of 100 x 100 tiles that the data has in place of the
/// official file.
fn cifar(folder: &Path) -> Memory {
    const SIDE: usize = 32;
    let packed = std::fs::read(folder.join("test_batch.webp")).unwrap();
    let sheet = image::load_from_memory(&packed).unwrap().into_rgb8();
    assert_eq!((sheet.width(), sheet.height()), (3200, 3200));
    let sheet = sheet.into_raw();
    let mut pixels = Vec::with_capacity(sheet.len());
    for tile in 0..10_000 {
        let (top, left) = (tile / 100 * SIDE, tile % 100 * SIDE);
        for row in top..top + SIDE {
            let at = (row * 3200 + left) * 3;
            pixels.extend_from_slice(&sheet[at..at + SIDE * 3]);
        }
    }
    let labels = std::fs::read(folder.join("test_batch.labels")).unwrap();
    let classes = CIFAR10_CLASSES.map(String::from).to_vec();
    Memory::new("test", Shape::new(3, SIDE, SIDE), pixels, labels, classes).unwrap()
}

/// Mistakes without each block, of PyTorch (`tools/fixtures/lesions.py`): the networks, by block,
/// on the first so many pictures.
#[derive(serde::Deserialize)]
struct Removed {
    counts: Vec<usize>,
    networks: BTreeMap<String, BTreeMap<String, Vec<u64>>>,
}

#[test]
fn networks_without_one_block_make_the_mistakes_that_pytorch_counts() {
    let (Some(weights), Some(pictures)) = (data("pretrained-cifar"), data("cifar-10")) else {
        return;
    };
    let text = include_str!("../fixtures/lesions.json");
    let fixture: Removed = serde_json::from_str(text).unwrap();
    let test: Arc<dyn Dataset> = Arc::new(cifar(&pictures));
    let file = weights.join("resnet44-014dd654.th");
    let Import { model, .. } = import(&file, &Choices::default()).unwrap();
    let device = exec::cpu(0).unwrap();
    let count = fixture.counts[0];
    let found = lesions(&model, test, true, count, device.as_ref(), &mut |_| ()).unwrap();
    let expected = &fixture.networks["resnet44"];
    assert_eq!((found.pictures, found.blocks.len()), (count as u64, expected.len() - 1));
    let whole = ("", Some(&found.whole));
    let blocks = found.blocks.iter().map(|lesion| (lesion.block.as_str(), lesion.score.as_ref()));
    for (block, score) in std::iter::once(whole).chain(blocks) {
        let wrong = score.and_then(|score| score.wrong).unwrap();
        let want = expected[block][0];
        assert!(wrong.abs_diff(want) <= 2, "without `{block}`: {wrong} wrong, PyTorch {want}");
    }
    // What is removed was needed, most of all where a stage begins.
    let wrong = |block: &str| expected[block][0];
    assert!(wrong("layer3.0") > 2 * wrong("") && wrong("layer1.3") > wrong(""));
}

#[test]
fn cifar_networks_make_exactly_the_published_mistakes() {
    let (Some(weights), Some(pictures), Some(golden)) =
        (data("pretrained-cifar"), data("cifar-10"), data("golden"))
    else {
        return;
    };
    let golden = tensors(golden.join("cifar10-test.safetensors"));
    let test = Arc::new(cifar(&pictures));
    for (arch, file, wrong) in
        [("resnet20", "resnet20-12fca82f.th", 827), ("resnet44", "resnet44-014dd654.th", 690)]
    {
        let Import { mut model, naming, .. } =
            import(&weights.join(file), &Choices::default()).unwrap();
        assert_eq!((model.arch.name().as_str(), naming), (arch, "pytorch_resnet_cifar10"));
        assert_eq!(model.preprocess.shape, Shape::new(3, 32, 32));

        let transform = Transform::new(model.preprocess.clone(), Augment::default()).unwrap();
        let size = model.preprocess.shape.len();
        let mut inputs = vec![0.0; 256 * size];
        let mut image = Image::default();
        for (i, input) in inputs.chunks_exact_mut(size).enumerate() {
            test.read(i, &mut image).unwrap();
            transform.eval(&image, input);
        }
        let want = f32s(&golden, &format!("{arch}.logits256"));
        assert_close(arch, &logits(&model, &inputs), want, 1e-3);

        let device = exec::cpu(0).unwrap();
        let evaluation =
            evaluate_model(&mut model, test.clone(), device.as_ref(), &mut |_| ()).unwrap();
        println!("{arch}: {} wrong of {}", evaluation.wrong, evaluation.count);
        assert_eq!(evaluation.count, 10_000);
        assert!(evaluation.wrong.abs_diff(wrong) <= 2, "{arch}: {} wrong", evaluation.wrong);
    }
}

fn resnet50(folder: &Path) -> Model {
    let mut choices =
        Choices { arch: Some(Arch::parse("resnet50_v1").unwrap()), ..Choices::default() };
    let list = folder.join("../imagenet/imagenet_class_index.json");
    choices.classes = Some((list.clone(), read_classes(&list).unwrap().names));
    let of_255 = |values: [f64; 3]| values.map(|v| (v / 255.0).to_string()).join(",");
    choices.set("preprocess.mean", &of_255([123.68, 116.779, 103.939])).unwrap();
    choices.set("preprocess.std", &of_255([1.0; 3])).unwrap();
    let file = folder.join("resnet50-imagenet-caffe-f16.safetensors");
    let found = import(&file, &choices).unwrap();
    let assumed: Vec<String> = found.assumed.iter().map(ToString::to_string).collect();
    assert_eq!(assumed[..2], ["preprocess.crop=224", "preprocess.resize=256"]);
    assert!(assumed[2].starts_with("what weights do not show"), "{assumed:?}");
    found.model
}

#[test]
fn the_papers_resnet50_gives_the_reference_logits() {
    let (Some(weights), Some(golden)) = (data("pretrained-imagenet"), data("golden")) else {
        return;
    };
    let model = resnet50(&weights);
    let golden = tensors(golden.join("resnet50-imagenet.safetensors"));
    let planes = f32s(&golden, "input");
    let pixels = 224 * 224;
    let mut inputs = Vec::with_capacity(planes.len());
    for image in planes.chunks_exact(3 * pixels) {
        for pixel in 0..pixels {
            inputs.extend((0..3).map(|c| image[c * pixels + pixel]));
        }
    }
    assert_close("resnet50_v1", &logits(&model, &inputs), f32s(&golden, "logits"), 1e-3);
}

#[test]
fn photos_get_the_reference_classes() {
    let (Some(weights), Some(golden), Some(photos)) =
        (data("pretrained-imagenet"), data("golden"), data("imagenet/samples"))
    else {
        return;
    };
    let device = exec::cpu(0).unwrap();
    let predictor = Predictor::new(resnet50(&weights), Precision::F32, device.as_ref()).unwrap();
    let table = std::fs::read_to_string(golden.join("resnet50-imagenet-samples.tsv")).unwrap();
    let (mut same, mut count, mut most) = (0, 0, 0.0f32);
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (class, probability) = fields[3].split_once(':').unwrap();
        let guess = predictor.file(&photos.join(fields[0]), 1).unwrap().remove(0);
        count += 1;
        if guess.class.to_string() == class {
            same += 1;
            let apart = (guess.probability - probability.parse::<f32>().unwrap()).abs();
            // The reference saw this photo as it is stored; its EXIF orientation turns it upright.
            if fields[0] != "n02951585_can_opener.JPEG" {
                most = most.max(apart);
            }
        } else {
            println!(
                "{}: {} {:.4}, the reference has {}",
                fields[0], guess.class, guess.probability, fields[3]
            );
        }
    }
    println!("{same} of {count} photos; probabilities differ by up to {most}");
    assert_eq!(count, 103);
    assert!(most <= 0.03, "a probability is {most} from the reference's");
    assert!(same >= 98, "{same} of {count} photos have the reference's class");
}

use std::sync::Arc;

use super::*;
use crate::base::files::TestDir;
use crate::base::rng::Rng;
use crate::data::testing::Refused;
use crate::data::{Dataset, Memory, Normalize, Preprocess};
use crate::net::Arch;
use resnet_engine::exec;
use resnet_engine::graph::Shape;

/// A model whose every number is its own: norms too, so that a mix-up shows.
fn model(arch: &str, side: usize, channels: usize) -> Model {
    let arch = Arch::parse(arch).unwrap();
    let shape = Shape::new(channels, side, side);
    let graph = arch.graph(shape, 4).unwrap();
    let shapes = op::shapes(&graph).unwrap();
    let mut rng = Rng::named(7, "export");
    let mut tensors = Tensors::default();
    for (_, name, param) in op::all_params(&graph, &shapes) {
        let fan_in: usize = param.dims[1..].iter().product();
        let values = (0..param.len()).map(|_| {
            let x = rng.normal() as f32;
            match name.rsplit('.').next() {
                Some("running_var") => 0.5 + x * x,
                _ if param.dims.len() > 1 => x / (fan_in as f32).sqrt(),
                Some("weight") => 1.0 + 0.2 * x,
                _ => 0.1 * x,
            }
        });
        let values = values.collect();
        tensors.insert(name, Array::f32(param.dims, values));
    }
    tensors.metadata.insert("licence".into(), "MIT".into());
    let preprocess = Preprocess {
        shape,
        resize: None,
        normalize: Normalize::Channel { mean: vec![0.4; channels], std: vec![0.25; channels] },
    };
    let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
    Model::new(arch, classes, preprocess, tensors)
}

fn pictures() -> Arc<dyn Dataset> {
    let shape = Shape::new(3, 24, 20);
    let mut rng = Rng::named(3, "pictures");
    let count = 40;
    let pixels = (0..count * shape.len()).map(|_| rng.below(256) as u8).collect();
    let labels = (0..count).map(|i| (i % 4) as u8).collect();
    let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
    Arc::new(Memory::new("noise", shape, pixels, labels, classes).unwrap())
}

fn round_trip(model: &Model, name: &str, options: &Options, path: &Path) -> Difference {
    let format = format(name).unwrap();
    export(model, format, options, path).unwrap();
    let device = exec::cpu(2).unwrap();
    let verified = verify(model, path, format, options, &pictures(), device.as_ref());
    verified.unwrap_or_else(|e| panic!("{e}"))
}

const NETWORKS: &[(&str, usize)] = &[
    ("resnet8", 16),
    ("resnet8:shortcut=B", 16),
    ("resnet8:norm=none", 16),
    ("resnet18", 64),
    ("resnext50_32x4d", 32),
    ("preresnet20", 16),
    ("preresnet18:first_norm=branch", 32),
    ("preresnet29", 16),
    ("classic", 17),
];

#[test]
fn onnx_is_read_back_as_the_same_network() {
    let dir = TestDir::new("onnx");
    let path = dir.0.join("model.onnx");
    for &(arch, side) in NETWORKS {
        let model = model(arch, side, 3);
        let kept = round_trip(&model, "onnx", &Options::default(), &path);
        assert_eq!((kept.most, kept.images, kept.same), (0.0, 40, 40), "{arch}");

        let bytes = std::fs::read(&path).unwrap();
        let network = onnx::network(&resnet_formats::onnx::read(bytes).unwrap()).unwrap();
        let tensors = &network.tensors.entries;
        assert_eq!(tensors, &model.tensors.entries, "{arch}");
        assert_eq!(network.metadata, model.metadata());
        assert_eq!(network.normalize, None);

        let inside = Options { preprocessing: true, ..Options::default() };
        assert_eq!(round_trip(&model, "onnx", &inside, &path).most, 0.0, "{arch}");

        let folded = Options { fold: true, preprocessing: true, ..Options::default() };
        let folded = round_trip(&model, "onnx", &folded, &path);
        let changes = !arch.contains("norm=none") && arch != "classic";
        assert_eq!(folded.most > 0.0, changes, "{arch}: {folded:?}");
        assert!(folded.most <= folded.allowed / 3.0, "{arch}: {folded:?}");
    }
}

#[test]
fn folding_leaves_no_norm_behind_a_convolution() {
    let count = |arch: &str, fold: bool, kind: &str| {
        let options = Options { fold, ..Options::default() };
        let graph = onnx::from_model(&model(arch, 16, 3), &options).unwrap().graph.unwrap();
        let nodes = graph.node.iter();
        nodes.filter(|node| node.op_type.as_deref() == Some(kind)).count()
    };
    assert_eq!(count("resnet8", false, "BatchNormalization"), 7);
    assert_eq!(count("resnet8", true, "BatchNormalization"), 0);
    // Half of the norms of a pre-activation network stand behind an addition.
    assert_eq!(count("preresnet8", false, "BatchNormalization"), 7);
    assert_eq!(count("preresnet8", true, "BatchNormalization"), 3);
    assert_eq!(count("resnet8", true, "Pad"), 2);
    assert_eq!(count("resnet8", true, "Conv"), 7);
}

#[test]
fn weights_are_bit_for_bit_the_same_in_every_format() {
    let dir = TestDir::new("weights");
    for (channels, pixel) in [(3, false), (1, false), (3, true)] {
        let mut model = model("resnet8", 16, channels);
        if pixel {
            let mean = (0..model.preprocess.shape.len()).map(|i| i as f32 / 999.0).collect();
            model.preprocess.normalize = Normalize::Pixel { mean };
        }
        // A checkpoint carries more than its network; an export does not.
        model.tensors.insert("optimizer.momentum.fc.bias", Array::f32(vec![4], vec![1.0; 4]));
        for name in ["safetensors", "pth"] {
            let path = dir.0.join(format!("model.{name}"));
            let difference = round_trip(&model, name, &Options::default(), &path);
            assert_eq!((difference.most, difference.same), (0.0, 40));
            let again = Model::load(&path).unwrap();
            assert_eq!(again.preprocess, model.preprocess);
            assert_eq!((&again.classes, &again.arch), (&model.classes, &model.arch));
            assert_eq!(again.tensors.metadata["licence"], "MIT");
            assert!(again.tensors.get("optimizer.momentum.fc.bias").is_none());
            assert!(again.tensors.get(PIXEL_MEAN).is_none());
            let counters = again.tensors.entries.iter();
            let counters = counters.filter(|(name, _)| name.ends_with(".num_batches_tracked"));
            assert_eq!(counters.count(), 7);
            for (name, array) in &model.tensors.entries {
                if !name.starts_with("optimizer") {
                    assert_eq!(again.tensors.get(name), Some(array), "{name}");
                }
            }
        }
        let path = dir.0.join("model.onnx");
        let inside = Options { preprocessing: true, ..Options::default() };
        assert_eq!(round_trip(&model, "onnx", &inside, &path).most, 0.0);
    }
}

#[test]
fn halves_are_stored_where_they_were_asked_for() {
    let dir = TestDir::new("half");
    let mut model = model("resnet8", 16, 3);
    for (stored, name) in [(Stored::F16, "pth"), (Stored::BF16, "safetensors")] {
        let options = Options { half: Some(stored), ..Options::default() };
        let path = dir.0.join(name);
        let difference = round_trip(&model, name, &options, &path);
        assert!(difference.most > 0.0 && difference.most <= difference.allowed, "{difference:?}");
        let again = Model::load(&path).unwrap();
        let kind = |name: &str| again.tensors.get(name).unwrap().data().data_type();
        assert_eq!(kind("conv1.weight"), stored);
        assert_eq!(kind("bn1.running_var"), Stored::F32);
        // Once rounded, nothing changes any more.
        let twice = dir.0.join("twice");
        export(&again, format(name).unwrap(), &options, &twice).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&twice).unwrap());
    }
    let mut values = vec![0.0; 4 * 64];
    values[3] = 1e5;
    model.tensors.insert("fc.weight", Array::f32(vec![4, 64], values));
    let options = Options { half: Some(Stored::F16), ..Options::default() };
    let path = dir.0.join("large");
    let error = export(&model, format("pth").unwrap(), &options, &path).unwrap_err();
    assert!(error.to_string().contains("`fc.weight`"), "{error}");
    assert!(error.to_string().ends_with("store it as bf16") && !path.exists(), "{error}");
}

#[test]
fn a_file_is_not_verified_with_what_the_system_happened_to_read() {
    let dir = TestDir::new("refused");
    let path = dir.0.join("model.safetensors");
    let (model, format) = (model("resnet8", 16, 3), format("safetensors").unwrap());
    export(&model, format, &Options::default(), &path).unwrap();
    let with = |kind| {
        let data: Arc<dyn Dataset> = Arc::new(Refused { data: pictures(), index: 7, kind });
        let device = exec::cpu(1).unwrap();
        verify(&model, &path, format, &Options::default(), &data, device.as_ref())
    };
    let error = with(std::io::ErrorKind::OutOfMemory).unwrap_err();
    assert!(matches!(&error, ExportError::Data(error) if error.is_of_system()), "{error}");
    assert_eq!(with(std::io::ErrorKind::NotFound).unwrap().images, 39);
}

#[test]
fn a_file_that_answers_otherwise_is_refused() {
    let dir = TestDir::new("differs");
    let path = dir.0.join("model.onnx");
    let (model, onnx) = (model("resnet8", 16, 3), format("onnx").unwrap());
    let options = Options::default();
    let refused = |change: &dyn Fn(&mut Model)| {
        let mut other = model.clone();
        change(&mut other);
        export(&other, onnx, &options, &path).unwrap();
        let device = exec::cpu(1).unwrap();
        let verified = verify(&model, &path, onnx, &options, &pictures(), device.as_ref());
        verified.unwrap_err().to_string()
    };
    let error = refused(&|other| {
        let array = other.tensors.get("fc.bias").unwrap().as_f32().unwrap();
        let moved = array.iter().map(|x| x + 0.01).collect();
        other.tensors.insert("fc.bias", Array::f32(vec![4], moved));
    });
    assert!(error.contains("model.onnx: on 40 pictures its logits differ"), "{error}");
    // The file's own numbers are looked at too.
    let mut proto = onnx::from_model(&model, &options).unwrap();
    tensor(&mut proto, "fc.bias").raw_data = Some(f32::NAN.to_le_bytes().repeat(4).into());
    write_tensors(&path, |to| resnet_formats::onnx::write(&proto, to)).unwrap();
    let device = exec::cpu(1).unwrap();
    let verified = verify(&model, &path, onnx, &options, &pictures(), device.as_ref());
    let error = verified.unwrap_err().to_string();
    assert!(error.contains("`fc.bias` holds numbers that are not finite"), "{error}");
}

#[test]
fn a_model_that_does_not_fit_its_network_is_not_exported() {
    let dir = TestDir::new("misfit");
    type Change = fn(&mut Model);
    let changes: &[(Change, &str)] = &[
        (|m| m.arch = Arch::parse("resnet50").unwrap(), "do not fit network `resnet50`"),
        (|m| m.classes.push("e".into()), "`fc.weight` is [4, 64], expected [5, 64]"),
        (|m| drop(m.tensors.entries.remove("bn1.bias")), "`bn1.bias` is missing"),
        (
            |m| m.tensors.insert("fc.bias", Array::f32(vec![4], vec![f32::INFINITY; 4])),
            "`fc.bias` holds numbers that are not finite",
        ),
        (
            |m| m.tensors.insert("bn1.running_var", Array::f32(vec![16], vec![-0.5; 16])),
            "`bn1.running_var` holds negative numbers",
        ),
    ];
    for (change, part) in changes {
        let mut model = model("resnet8", 16, 3);
        change(&mut model);
        for format in FORMATS {
            for fold in [false, format.name == "onnx"] {
                let path = dir.0.join(format.name);
                let options = Options { fold, ..Options::default() };
                let error = export(&model, format, &options, &path).unwrap_err().to_string();
                assert!(error.contains(part) && !path.exists(), "{}: {error}", format.name);
            }
        }
    }
}

#[test]
fn the_oldest_opset_that_the_graph_needs_is_written_and_others_on_request() {
    let write = |arch: &str, options: &Options| {
        let proto = onnx::from_model(&model(arch, 16, 3), options)?;
        Ok((proto.ir_version.unwrap(), proto.opset_import[0].version.unwrap()))
    };
    let plain = Options::default();
    let folded = Options { fold: true, preprocessing: true, ..plain };
    let newest = Options { opset: Some(26), ..folded };
    for (arch, options, expected) in [
        ("resnet8", plain, (8, 15)),
        ("preresnet8", folded, (8, 15)),
        ("resnet8", folded, (7, 14)),
        ("resnet8:norm=none", plain, (7, 14)),
        ("resnet8", newest, (13, 26)),
        ("resnet8", Options { opset: Some(20), ..plain }, (9, 20)),
    ] {
        let written: Result<_, ExportError> = write(arch, &options);
        assert_eq!(written.unwrap(), expected, "{arch}: {options:?}");
    }
    for opset in [0, 13, 14, 27, u32::MAX] {
        let written: Result<_, ExportError> =
            write("resnet8", &Options { opset: Some(opset), ..plain });
        let error = written.unwrap_err().to_string();
        assert!(error.contains("expected 15 to 26"), "{error}");
    }
    let dir = TestDir::new("opset");
    let model = model("resnet8", 16, 3);
    assert_eq!(round_trip(&model, "onnx", &newest, &dir.0.join("newest.onnx")).same, 40);
}

#[test]
fn graphs_that_are_not_ours_are_refused() {
    let whole = onnx::from_model(&model("resnet8", 16, 3), &Options::default()).unwrap();
    type Change = fn(&mut resnet_formats::onnx::proto::Model);
    let cases: &[(Change, &str)] = &[
        (|m| m.opset_import[0].version = Some(9), "version 9"),
        (|m| node(m, "Conv").op_type = Some("ConvTranspose".into()), "ConvTranspose is not one"),
        (|m| node(m, "Conv").input[1] = "gone".into(), "`gone` must be an array"),
        (|m| node(m, "Relu").input[0] = "later".into(), "`later` is given by no node"),
        (|m| node(m, "Conv").domain = Some("com.microsoft".into()), "another domain"),
        (|m| attribute(m, "Conv", "group").i = Some(-1), "group of -1"),
        (|m| attribute(m, "Conv", "group").i = Some(7), "do not divide into 7 groups"),
        (|m| attribute(m, "Conv", "strides").ints = vec![0, 0], "stride 0"),
        (|m| attribute(m, "Conv", "pads").ints = vec![1, 2, 1, 2], "same on every side"),
        (|m| attribute(m, "Gemm", "transB").i = Some(0), "transposed weight"),
        (|m| set(m, "BatchNormalization", "training_mode", 1, b""), "each batch's statistics"),
        (|m| set(m, "Pad", "mode", 0, b"edge"), "its mode must be constant"),
        (|m| set(m, "Pad", "mode", 0, b"reflect"), "its mode must be constant"),
        (
            |m| {
                let add = node(m, "Add");
                add.input[1] = add.input[0].clone();
            },
            "layer1.0.add: its two inputs are one map",
        ),
        (|m| m.graph.as_mut().unwrap().output[0].name = Some("conv1".into()), "last node"),
        (|m| m.graph.as_mut().unwrap().input.clear(), "one input"),
        (
            |m| tensor(m, "layer2.0.add.pads").raw_data = Some(vec![0; 64].into()),
            "channels are missing",
        ),
        (
            |m| tensor(m, "layer2.0.add.pads").raw_data = Some(vec![0xff; 64].into()),
            "only channels",
        ),
        (|m| tensor(m, "conv1.weight").dims = vec![i64::MAX, 3, 3, 3], "fits in memory"),
        (|m| tensor(m, "conv1.weight").dims[0] = 15, "405 numbers of 4 bytes"),
    ];
    for (change, part) in cases {
        let mut proto = whole.clone();
        change(&mut proto);
        let refusal = onnx::network(&proto).unwrap_err();
        let text = format!("{}: {}", refusal.node, refusal.problem);
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

type Proto = resnet_formats::onnx::proto::Model;

fn node<'a>(model: &'a mut Proto, kind: &str) -> &'a mut resnet_formats::onnx::proto::Node {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.op_type.as_deref() == Some(kind)).unwrap()
}

fn attribute<'a>(
    model: &'a mut Proto,
    kind: &str,
    name: &str,
) -> &'a mut resnet_formats::onnx::proto::Attribute {
    let attributes = &mut node(model, kind).attribute;
    attributes.iter_mut().find(|a| a.name.as_deref() == Some(name)).unwrap()
}

/// Adds a setting: an integer, or a text.
fn set(model: &mut Proto, kind: &str, name: &str, i: i64, text: &'static [u8]) {
    use resnet_formats::onnx::proto::Attribute;
    let s = (!text.is_empty()).then(|| text.into());
    let i = text.is_empty().then_some(i);
    let attribute = Attribute { name: Some(name.into()), i, s, ..Attribute::default() };
    node(model, kind).attribute.push(attribute);
}

fn tensor<'a>(model: &'a mut Proto, name: &str) -> &'a mut resnet_formats::onnx::proto::Tensor {
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    tensors.iter_mut().find(|t| t.name.as_deref() == Some(name)).unwrap()
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let half = Options { half: Some(Stored::F16), ..Options::default() };
    let fold = Options { fold: true, ..Options::default() };
    let opset = Options { opset: Some(17), ..Options::default() };
    for (name, options, part) in
        [("onnx", half, "16-bit"), ("pth", fold, "use onnx"), ("pth", opset, "holds weights alone")]
    {
        let error = options.check(format(name).unwrap()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(format_of(Path::new("a/b.pt")).unwrap().name, "pth");
    assert!(format_of(Path::new("a/onnx")).is_none());
}

#[test]
fn weights_that_torchvision_would_misread_are_told() {
    let dir = TestDir::new("note");
    let zeros = |arch: &str| {
        let mut model = model("resnet8", 32, 3);
        model.arch = Arch::parse(arch).unwrap();
        let graph = model.graph().unwrap();
        model.tensors.entries.clear();
        for (_, name, param) in op::all_params(&graph, &op::shapes(&graph).unwrap()) {
            model.tensors.insert(name, Array::f32(param.dims.clone(), vec![0.0; param.len()]));
        }
        model
    };
    let told = |arch: &str, format: &str| {
        warning(&zeros(arch), super::format(format).unwrap()).unwrap_or_default()
    };
    for format in ["pth", "safetensors"] {
        let text = told("resnet50_v1", format);
        assert!(text.contains("torchvision's resnet50 takes the weights of resnet50_v1"), "{text}");
    }
    assert!(told("resnet50:stride=v1", "pth").contains("torchvision's resnet50"));
    for (arch, format) in [("resnet50_v1", "onnx"), ("resnet50", "pth"), ("resnet18", "pth")] {
        assert_eq!(told(arch, format), "", "{arch} {format}");
    }
    let path = dir.0.join("model.pth");
    export(&zeros("resnet50_v1"), format("pth").unwrap(), &Options::default(), &path).unwrap();
    let note = &Model::load(&path).unwrap().tensors.metadata["note"];
    assert!(note.contains("strict=True"), "{note}");
}

#[test]
fn damaged_graphs_never_panic() {
    let inside = Options { preprocessing: true, ..Options::default() };
    let proto = onnx::from_model(&model("resnet8", 16, 3), &inside).unwrap();
    let mut whole = Vec::new();
    resnet_formats::onnx::write(&proto, &mut whole).unwrap();
    // Nodes stand before the weights; damage there means more than damage to numbers.
    let nodes: usize = 6000.min(whole.len());
    let mut rng = Rng::named(11, "damage");
    let (mut decoded, mut understood) = (0, 0);
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(nodes);
            match rng.below(3) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes[at] = rng.below(256) as u8,
                // An attribute's number, a character of a name.
                _ => bytes[at] = bytes[at].wrapping_add(1),
            }
        }
        if let Ok(proto) = resnet_formats::onnx::read(bytes) {
            decoded += 1;
            match onnx::network(&proto) {
                Ok(_) => understood += 1,
                Err(refusal) => assert!(!refusal.problem.is_empty()),
            }
        }
    }
    assert!(decoded > 400 && understood > 40, "{decoded} decoded, {understood} understood");
}

//! PyTorch's files: what `torch.save` wrote is read with the right numbers, and what is written
//! reads back the same.

mod craft;

use resnet_formats::{Array, Data, FormatError, Tensors, pth};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn read(name: &str) -> pth::Checkpoint {
    pth::read(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn tensors(entries: Vec<(&str, Vec<usize>, Data)>) -> Tensors {
    let mut tensors = Tensors::default();
    for (name, shape, data) in entries {
        tensors.insert(name, Array::new(shape, data).unwrap());
    }
    tensors
}

fn counting(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32).collect()
}

fn plain() -> Tensors {
    let weight = counting(8).iter().map(|x| x / 4.0 - 1.0).collect();
    tensors(vec![
        ("conv1.weight", vec![2, 1, 2, 2], Data::F32(weight)),
        ("bn1.num_batches_tracked", vec![], Data::I64(vec![7])),
        ("fc.bias", vec![2], Data::F32(vec![0.5, -0.5])),
    ])
}

#[test]
fn state_dicts_of_every_container_are_read() {
    for name in [
        "plain.pth",
        "plain-stream.pth",
        "plain-protocol5.pth",
        "plain-stream-protocol4.pth",
        "plain-unchecked.pth",
    ] {
        let found = read(name);
        assert_eq!(found.tensors, plain(), "{name}");
        assert!(found.path.is_empty() && found.prefix.is_empty() && found.ignored.is_empty());
    }
}

#[test]
fn checkpoints_are_unwrapped_and_it_is_said() {
    for name in ["wrapped.pth", "wrapped-stream.pth"] {
        let found = read(name);
        assert_eq!(found.tensors, plain(), "{name}");
        assert_eq!(found.path, ["state_dict"]);
        assert_eq!(found.prefix, "module.");
        let ignored: Vec<_> = found.ignored.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            ignored,
            [
                ("arch", "\"resnet20\""),
                ("best_prec1", "91.5"),
                ("epoch", "164"),
                ("optimizer", "a dictionary of 2 entries"),
            ]
        );
    }
}

#[test]
fn checkpoints_of_training_programs_hold_any_class_beside_the_weights() {
    for name in ["references.pth", "references-stream.pth", "references-protocol5.pth"] {
        let found = read(name);
        assert_eq!(found.tensors, plain(), "{name}");
        assert_eq!(found.path, ["model"]);
        let ignored = |key: &str| found.ignored[key].as_str();
        assert_eq!(ignored("args"), "an object of argparse.Namespace");
        assert_eq!(ignored("metrics"), "a dictionary of 1 entry");
        assert_eq!(ignored("model_ema"), "a dictionary of 1 entry");
        assert_eq!(ignored("lr_scheduler"), "a dictionary of 2 entries");
    }
    let found = read("lightning.pth");
    assert_eq!(found.path, ["state_dict"]);
    assert_eq!(found.tensors.entries.len(), 4);
    assert!(found.tensors.get("model.conv1.weight").is_some());
    assert!(found.tensors.get("criterion.weight").is_some());
    assert_eq!(found.ignored["state_dict.train_acc._extra_state"], "an object of __main__.Program");
    assert_eq!(found.ignored["hyper_parameters"], "a dictionary of 3 entries");
}

#[test]
fn views_become_contiguous() {
    for name in ["views.pth", "views-stream.pth"] {
        // Channels last: PyTorch counts [1, 2, 2, 3] in its own order, the numbers lie in another.
        let expected = tensors(vec![
            ("transposed", vec![3, 2], Data::F32(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0])),
            ("part", vec![2, 3], Data::F32(counting(12)[6..].to_vec())),
            ("steps", vec![5], Data::F32(vec![1.0, 6.0, 11.0, 16.0, 21.0])),
            ("whole", vec![24], Data::F32(counting(24))),
            ("repeated", vec![3], Data::F32(vec![2.5; 3])),
            ("channels_last", vec![1, 2, 2, 3], Data::F32(counting(12))),
            ("scalar", vec![], Data::F32(vec![-3.0])),
            ("empty", vec![0, 4], Data::F32(vec![])),
        ]);
        assert_eq!(read(name).tensors, expected, "{name}");
    }
}

#[test]
fn float_types_keep_their_bits() {
    for name in ["floats.pth", "floats-stream.pth"] {
        let expected = tensors(vec![
            ("float32", vec![5], Data::F32(vec![1.0, -1.5, 0.1, 3e4, -0.0])),
            ("float64", vec![5], Data::F64(vec![1.0, -1.5, 0.1, 3e4, -0.0])),
            ("float16", vec![5], Data::F16(vec![0x3c00, 0xbe00, 0x2e66, 0x7753, 0x8000])),
            ("bfloat16", vec![5], Data::BF16(vec![0x3f80, 0xbfc0, 0x3dcd, 0x46ea, 0x8000])),
        ]);
        let found = read(name).tensors;
        assert_eq!(found, expected, "{name}");
        for (name, array) in &found.entries {
            let values = array.to_f32().unwrap();
            assert_eq!(values[..2], [1.0, -1.5], "{name}");
            assert!((values[2] - 0.1).abs() < 4e-4, "{name}: {}", values[2]);
        }
    }
}

#[test]
fn integers_are_widened() {
    let ends = |low: i64, high: i64| Data::I64(vec![low, high, 0, 1]);
    let signed = tensors(vec![
        ("int8", vec![4], ends(-128, 127)),
        ("int16", vec![4], ends(-32768, 32767)),
        ("int32", vec![4], ends(i32::MIN.into(), i32::MAX.into())),
        ("int64", vec![4], ends(i64::MIN, i64::MAX)),
        ("bool", vec![4], ends(0, 1)),
    ]);
    assert_eq!(read("signed.pth").tensors, signed);
    let unsigned = tensors(vec![
        ("uint8", vec![4], ends(0, 255)),
        ("uint16", vec![4], ends(0, 65535)),
        ("uint32", vec![4], ends(0, u32::MAX.into())),
        ("uint64", vec![4], Data::U64(vec![0, u64::MAX, 0, 1])),
    ]);
    assert_eq!(read("unsigned.pth").tensors, unsigned);
    assert_eq!(read("unsigned-stream.pth").tensors, unsigned);
}

#[test]
fn big_endian_numbers_are_turned_round() {
    let expected = tensors(vec![
        ("f", vec![2], Data::F32(vec![1.5, -2.25])),
        ("h", vec![1], Data::F16(vec![0x3800])),
        ("i", vec![2], Data::I64(vec![1, 258])),
    ]);
    assert_eq!(read("big-endian.pth").tensors, expected);
}

#[test]
fn numpy_numbers_are_numbers() {
    let found = read("numpy-number.pth");
    assert_eq!(found.path, ["model"]);
    assert_eq!(found.ignored["best_prec1"], "91.5");
    assert_eq!(found.ignored["rng"], "a tensor of [3]");
    assert_eq!(found.ignored["shape"], "a tuple of 2");
}

#[test]
fn python_2_and_old_views_are_read() {
    // OrderedDict from a list of pairs, byte strings as names, and a view of a storage: (key,
    // offset, count).
    let tensor = [
        b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02"
            .as_slice(),
        b"(U\x02v0K\x01K\x01ttQK\0K\x01\x85K\x01\x85tR",
    ]
    .concat();
    let pickle =
        [b"\x80\x02ccollections\nOrderedDict\n](](U\x01w".as_slice(), &tensor, b"ee\x85R."]
            .concat();
    let numbers = [1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat();
    let expected = tensors(vec![("w", vec![1], Data::F32(vec![2.0]))]);
    let found = pth::read(&craft::stream(&pickle, 2, &numbers)).unwrap();
    assert_eq!(found.tensors, expected);
    assert_eq!(pth::read(&craft::archive(&pickle)).unwrap().tensors, expected);
}

#[test]
fn wrappers_may_stand_inside_each_other() {
    let tensor = craft::tensor(&craft::claim());
    let inner = [b"}(", &craft::text("module._orig_mod.w")[..], &tensor, b"u"].concat();
    let middle = [b"}(", &craft::text("state_dict")[..], &inner, b"u"].concat();
    let outer = [b"\x80\x02}(", &craft::text("model")[..], &middle, b"K\x07K\x08u."].concat();
    let found = pth::read(&craft::archive(&outer)).unwrap();
    assert_eq!(found.path, ["model", "state_dict"]);
    assert_eq!(found.prefix, "module._orig_mod.");
    assert_eq!(found.tensors.get("w").unwrap().as_f32().unwrap(), [1.0, 2.0]);
    assert_eq!(found.ignored["7"], "8");
}

#[test]
fn a_wrapper_without_tensors_is_passed_over() {
    let options = [b"}".as_slice(), &craft::text("depth"), b"K\x14s"].concat();
    let pickle = [
        b"\x80\x02}(".as_slice(),
        &craft::text("model"),
        &options,
        &craft::text("w"),
        &craft::tensor(&craft::claim()),
        b"u.",
    ]
    .concat();
    let found = pth::read(&craft::archive(&pickle)).unwrap();
    assert!(found.path.is_empty() && found.tensors.get("w").is_some());
    assert_eq!(found.ignored["model"], "a dictionary of 1 entry");
}

#[test]
fn a_prefix_of_some_names_stays() {
    let tensor = craft::tensor(&craft::claim());
    let pickle =
        [b"\x80\x02}(", &craft::text("module.w")[..], &tensor, &craft::text("b"), &tensor, b"u."]
            .concat();
    let found = pth::read(&craft::archive(&pickle)).unwrap();
    assert_eq!(found.prefix, "");
    assert!(found.tensors.get("module.w").is_some() && found.tensors.get("b").is_some());
}

fn every_type() -> Tensors {
    let mut all = tensors(vec![
        ("f32", vec![2, 2], Data::F32(vec![1.0, -0.0, f32::INFINITY, 1e-42])),
        ("f64", vec![1], Data::F64(vec![0.1])),
        ("f16", vec![3], Data::F16(vec![0x3c00, 0x7d01, 0x8001])),
        ("bf16", vec![1, 3], Data::BF16(vec![0x3f80, 0x7f81, 1])),
        ("i64", vec![], Data::I64(vec![i64::MIN])),
        ("u64", vec![2], Data::U64(vec![0, u64::MAX])),
        ("empty", vec![3, 0, 2], Data::F32(vec![])),
        ("Überrock, 上着", vec![300, 1], Data::F32(counting(300))),
    ]);
    all.metadata.insert("arch".into(), "resnet20\n\"A\"".into());
    all
}

#[test]
fn what_is_written_is_read() {
    for tensors in [every_type(), plain(), Tensors::default()] {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        pth::write(&tensors, &mut once).unwrap();
        pth::write(&tensors, &mut twice).unwrap();
        assert!(once == twice);
        let found = pth::read(&once).unwrap();
        assert_eq!(found.tensors, tensors);
        assert!(found.path.is_empty() && found.ignored.is_empty());
    }
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let axes = |count| tensors(vec![("w", vec![1; count], Data::F32(vec![1.0]))]);
    let mut bytes = Vec::new();
    pth::write(&axes(64), &mut bytes).unwrap();
    assert_eq!(pth::read(&bytes).unwrap().tensors, axes(64));
    let mut wordy = plain();
    wordy.metadata.insert("notes".into(), "x".repeat(16 << 20));
    let named = |len| tensors(vec![(&"n".repeat(len), vec![1], Data::F32(vec![1.0]))]);
    pth::write(&named(1024), Vec::new()).unwrap();
    for (tensors, says) in [
        (axes(65), "at most 64 axes in an array; use fewer"),
        (wordy, "bytes of texts; write safetensors instead"),
        (named(1025), "name: expected at most 1024 bytes, found 1025"),
    ] {
        let error = pth::write(&tensors, Vec::new()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn numbers_are_aligned_for_mapping() {
    let mut bytes = Vec::new();
    pth::write(&every_type(), &mut bytes).unwrap();
    let needle: Vec<u8> = counting(300).iter().flat_map(|x| x.to_le_bytes()).collect();
    let at = bytes.windows(needle.len()).position(|part| part == needle);
    assert_eq!(at.unwrap() % 64, 0);
}

#[test]
fn long_arrays_pass_in_blocks() {
    let long = counting(100_001);
    let wide: Vec<u16> = (0..70_000).map(|i| i as u16).collect();
    let tensors = tensors(vec![
        ("long", vec![100_001], Data::F32(long)),
        ("wide", vec![2, 35_000], Data::F16(wide)),
    ]);
    let mut bytes = Vec::new();
    pth::write(&tensors, &mut bytes).unwrap();
    assert_eq!(pth::read(&bytes).unwrap().tensors, tensors);
}

#[test]
fn long_views_are_gathered_in_blocks() {
    let numbers: Vec<u8> = counting(40_000).iter().flat_map(|x| x.to_le_bytes()).collect();
    let claim = craft::Claim {
        count: 40_000,
        shape: vec![200, 200],
        strides: vec![1, 200],
        ..craft::claim()
    };
    let file = craft::zip(&[
        craft::file("a/data.pkl", &craft::state(&craft::tensor(&claim))),
        craft::file("a/data/0", &numbers),
    ]);
    let found = pth::read(&file).unwrap();
    let expected: Vec<f32> = (0..40_000).map(|i| (i % 200 * 200 + i / 200) as f32).collect();
    assert_eq!(found.tensors.get("w").unwrap().as_f32().unwrap(), expected);
}

#[test]
fn a_failing_writer_is_an_error() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            match taken {
                0 => Err(std::io::ErrorKind::StorageFull.into()),
                _ => Ok(taken),
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut bytes = Vec::new();
    pth::write(&plain(), &mut bytes).unwrap();
    for room in [0, 10, 100, 1000, bytes.len() - 1] {
        let result = pth::write(&plain(), Full(room));
        assert!(matches!(result, Err(FormatError::Io(_))), "room for {room}");
    }
    assert!(pth::write(&plain(), Full(bytes.len())).is_ok());
}

#[test]
fn published_cifar_weights_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/pretrained-cifar");
    for (file, blocks, parameters) in
        [("resnet20-12fca82f.th", 3, 269_722), ("resnet44-014dd654.th", 7, 658_586)]
    {
        let Ok(from) = std::fs::File::open(format!("{folder}/{file}")) else {
            eprintln!("skipped: {file} is not in shared/data/pretrained-cifar");
            continue;
        };
        let found = pth::read_from(from).unwrap();
        assert_eq!(found.path, ["state_dict"]);
        assert_eq!(found.prefix, "module.");
        assert!(found.ignored["best_prec1"].starts_with("9"));
        let weights = &found.tensors;
        assert_eq!(weights.get("conv1.weight").unwrap().shape(), [16, 3, 3, 3]);
        assert_eq!(weights.get("linear.weight").unwrap().shape(), [10, 64]);
        assert!(weights.get(&format!("layer3.{}.bn2.running_var", blocks - 1)).is_some());
        let trained: usize = weights
            .entries
            .iter()
            .filter(|(name, _)| !name.contains("running") && !name.contains("batches"))
            .map(|(_, array)| array.data().len())
            .sum();
        assert_eq!(trained, parameters, "{file}");
        assert!(
            weights
                .entries
                .values()
                .all(|array| { array.to_f32().is_none_or(|x| x.iter().all(|x| x.is_finite())) })
        );
    }
}

//! Round trips, agreement with the format's reference implementation, and damaged files.

use std::collections::BTreeMap;

use resnet_formats::safetensors::CHECKSUM;
use resnet_formats::{Array, Data, FormatError, Tensors, safetensors};

fn sample() -> Tensors {
    let mut tensors = Tensors::default();
    tensors.insert(
        "fc.weight",
        Array::f32(vec![2, 3], vec![1.0, -2.5, 0.0, f32::MIN_POSITIVE, 1e30, -0.0]),
    );
    tensors.insert("bn.mean", Array::new(vec![2], Data::F64(vec![0.1, -1e300])).unwrap());
    tensors.insert("bn.num_batches_tracked", Array::new(vec![], Data::I64(vec![-7])).unwrap());
    tensors.insert("step", Array::counter(u64::MAX));
    tensors.insert("half", Array::new(vec![3], Data::F16(vec![0x3c00, 0xfc00, 0x7d01])).unwrap());
    tensors.insert("brain", Array::new(vec![1, 2], Data::BF16(vec![0x3f80, 0xffff])).unwrap());
    tensors.insert("empty", Array::f32(vec![0, 4], vec![]));
    tensors.metadata.insert("arch".into(), "resnet20 \"A\"\n".into());
    tensors.metadata.insert("classes".into(), "Überrock, 上着".into());
    tensors
}

fn bytes(tensors: &Tensors) -> Vec<u8> {
    let mut bytes = Vec::new();
    safetensors::write(tensors, &mut bytes).unwrap();
    bytes
}

/// What a file holds, but for its checksum.
fn read(bytes: &[u8]) -> Result<Tensors, FormatError> {
    let mut tensors = safetensors::read(bytes)?;
    tensors.metadata.remove(CHECKSUM);
    Ok(tensors)
}

/// A file with this header and `data` zero bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.resize(file.len() + data, 0);
    file
}

#[test]
fn what_is_written_is_read() {
    for tensors in [sample(), Tensors::default()] {
        let written = bytes(&tensors);
        assert_eq!(read(&written).unwrap(), tensors);
        assert_eq!(bytes(&tensors), written);
        // What was read is written with its own checksum.
        assert_eq!(bytes(&safetensors::read(&written).unwrap()), written);
    }
}

#[test]
fn a_stream_hands_out_the_same_arrays_up_to_the_first_error() {
    let file = bytes(&sample());
    let mut stream = safetensors::Stream::open(&file[..], file.len() as u64).unwrap();
    assert!(stream.metadata.remove(CHECKSUM).is_some());
    assert_eq!(stream.metadata, sample().metadata);
    let found: BTreeMap<_, _> = stream.map(Result::unwrap).collect();
    assert_eq!(found, sample().entries);
    // A file that grew shorter since its length was asked for.
    let short = &file[..file.len() - 1];
    let stream = safetensors::Stream::open(short, file.len() as u64).unwrap();
    let found: Vec<_> = stream.collect();
    assert_eq!(found.iter().filter(|entry| entry.is_err()).count(), 1);
    assert!(found.last().unwrap().is_err());
}

#[test]
fn long_arrays_pass_in_blocks() {
    let values: Vec<f32> = (0..50_001).map(|i| i as f32 * 0.25).collect();
    let mut tensors = Tensors::default();
    tensors.insert("long", Array::f32(vec![50_001], values));
    tensors.insert("next", Array::counter(3));
    assert_eq!(read(&bytes(&tensors)).unwrap(), tensors);
}

#[test]
fn the_bytes_are_these() {
    let mut tensors = Tensors::default();
    tensors.insert("b", Array::f32(vec![1], vec![1.0]));
    tensors.insert("a", Array::counter(2));
    tensors.metadata.insert("k".into(), "v".into());
    let header = |sum: &str| {
        let texts = format!(r#"{{"k":"v","resnet.crc32":"{sum}"}}"#);
        let entries = r#""a":{"dtype":"U64","shape":[],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}"#;
        format!("{:<160}", format!(r#"{{"__metadata__":{texts},{entries}}}"#))
    };
    let numbers = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f];
    let sum = crc32fast::hash(&[header("00000000").as_bytes(), &numbers].concat());
    let mut expected = file(&header(&format!("{sum:08x}")), 0);
    expected.extend(numbers);
    assert_eq!(bytes(&tensors), expected);
}

#[test]
fn the_reference_implementation_agrees() {
    let tensors = sample();
    let ours = bytes(&tensors);
    let theirs = ::safetensors::SafeTensors::deserialize(&ours).unwrap();
    assert_eq!(theirs.len(), tensors.entries.len());
    let weight = theirs.tensor("fc.weight").unwrap();
    assert_eq!(weight.shape(), [2, 3]);
    assert_eq!(weight.data()[4..8], (-2.5f32).to_le_bytes());
    let half = theirs.tensor("half").unwrap();
    assert_eq!(half.dtype(), ::safetensors::Dtype::F16);
    assert_eq!(half.data(), [0x00, 0x3c, 0x00, 0xfc, 0x01, 0x7d]);
    assert_eq!(theirs.tensor("brain").unwrap().dtype(), ::safetensors::Dtype::BF16);
    let (_, header) = ::safetensors::SafeTensors::read_metadata(&ours).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["arch"], tensors.metadata["arch"]);

    let mut texts = metadata.clone();
    let again = ::safetensors::serialize(theirs.tensors(), Some(texts.clone())).unwrap();
    let error = safetensors::read(&again).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    texts.remove(CHECKSUM);
    let again = ::safetensors::serialize(theirs.tensors(), Some(texts)).unwrap();
    assert_eq!(safetensors::read(&again).unwrap(), tensors);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = bytes(&sample());
    for len in 0..whole.len() {
        assert!(safetensors::read(&whole[..len]).is_err(), "cut at {len}");
    }
    assert!(matches!(
        safetensors::read(&[whole.as_slice(), &[0; 3]].concat()),
        Err(FormatError::Trailing { found: 3 })
    ));
}

#[test]
fn a_flipped_bit_is_refused_but_for_the_name_of_the_checksum() {
    let whole = bytes(&sample());
    let texts = safetensors::read(&whole).unwrap().metadata;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            // Whoever knows that there was one looks for it; see the model files.
            if let Ok(tensors) = safetensors::read(&damaged) {
                assert!(!tensors.metadata.contains_key(CHECKSUM), "byte {at}, bit {bit}");
                assert_ne!(tensors.metadata, texts);
            }
        }
    }
}

#[test]
fn damaged_headers_are_named() {
    let f32s = |offsets: &str, shape: &str| {
        format!(r#""dtype":"F32","shape":{shape},"data_offsets":{offsets}"#)
    };
    let (a, b) = (f32s("[0,8]", "[2]"), f32s("[8,12]", "[1]"));
    struct Case {
        what: &'static str,
        file: Vec<u8>,
        says: &'static [&'static str],
    }
    let cases = [
        Case {
            what: "overlap",
            file: file(&format!(r#"{{"a":{{{a}}},"b":{{{}}}}}"#, f32s("[4,12]", "[2]")), 12),
            says: &["`b`", "data_offsets", "begin of 8", "found 4"],
        },
        Case {
            what: "gap",
            file: file(&format!(r#"{{"a":{{{a}}},"b":{{{}}}}}"#, f32s("[12,16]", "[1]")), 16),
            says: &["`b`", "data_offsets", "begin of 8", "found 12"],
        },
        Case {
            what: "same bytes twice",
            file: file(&format!(r#"{{"a":{{{a}}},"b":{{{a}}}}}"#), 8),
            says: &["data_offsets", "begin of 8", "found 0"],
        },
        Case {
            what: "same name twice",
            file: file(&format!(r#"{{"a":{{{a}}},"a":{{{b}}}}}"#), 12),
            says: &["`a`", "twice"],
        },
        Case {
            what: "beyond the end",
            file: file(&format!(r#"{{"a":{{{a}}},"b":{{{b}}}}}"#), 10),
            says: &["`b`", "at most 10", "found 12"],
        },
        Case {
            what: "size and shape differ",
            file: file(&format!(r#"{{"a":{{{}}}}}"#, f32s("[0,8]", "[3]")), 8),
            says: &["`a`", "12 bytes", "F32 [3]", "end of 8"],
        },
        Case {
            what: "end before begin",
            file: file(&format!(r#"{{"a":{{{}}}}}"#, f32s("[0,-1]", "[0]")), 0),
            says: &["`a`"],
        },
        Case {
            what: "backwards",
            file: file(&format!(r#"{{"a":{{{a}}},"b":{{{}}}}}"#, f32s("[8,4]", "[1]")), 8),
            says: &["`b`", "data_offsets"],
        },
        Case {
            what: "shape overflows",
            file: file(
                &format!(r#"{{"a":{{{}}}}}"#, f32s("[0,8]", "[4294967296,4294967296,2]")),
                8,
            ),
            says: &["`a`", "shape", "4294967296"],
        },
        Case {
            what: "bytes overflow",
            file: file(&format!(r#"{{"a":{{{}}}}}"#, f32s("[0,8]", "[9223372036854775807]")), 8),
            says: &["`a`", "shape"],
        },
        Case {
            what: "large claim, small file",
            file: file(
                &format!(r#"{{"a":{{{}}}}}"#, f32s("[0,4000000000000]", "[1000000000000]")),
                8,
            ),
            says: &["`a`", "at most 8", "4000000000000"],
        },
        Case {
            what: "quarter precision",
            file: file(r#"{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, 4),
            says: &["`w`", "dtype", "F8_E4M3", "convert"],
        },
        Case {
            what: "negative axis",
            file: file(r#"{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,4]}}"#, 4),
            says: &["`w`", "-2"],
        },
        Case {
            what: "field missing",
            file: file(r#"{"w":{"dtype":"F32","shape":[1]}}"#, 4),
            says: &["`w`", "data_offsets"],
        },
        Case {
            what: "metadata not text",
            file: file(r#"{"__metadata__":{"k":1}}"#, 0),
            says: &["__metadata__", "string"],
        },
        Case { what: "not an object", file: file("[1]", 0), says: &["header", "object"] },
        Case { what: "not JSON", file: file("\u{7f}ELF", 0), says: &["header is not valid"] },
        Case {
            what: "not text",
            file: [&3u64.to_le_bytes()[..], &[0xff, 0xfe, 0xfd]].concat(),
            says: &["header is not valid"],
        },
        Case {
            what: "deep nesting",
            file: file(&"[".repeat(100_000), 0),
            says: &["header is not valid"],
        },
        Case {
            what: "many axes",
            file: file(&format!(r#"{{"a":{{{}}}}}"#, f32s("[0,4]", &format!("{:?}", [1; 65]))), 4),
            says: &["`a`, shape: expected at most 64 axes, found 65 of them"],
        },
        Case {
            what: "huge header",
            file: file("{}", 0)
                .into_iter()
                .enumerate()
                .map(|(i, b)| if i == 6 { 1 } else { b })
                .collect(),
            says: &["header", "at most", "not a safetensors file"],
        },
        Case {
            what: "header beyond the end",
            file: [&1000u64.to_le_bytes()[..], b"{}"].concat(),
            says: &["header needs 1000 bytes, 2 are there"],
        },
    ];
    for case in cases {
        let error = safetensors::read(&case.file).expect_err(case.what).to_string();
        for part in case.says {
            assert!(error.contains(part), "{}: `{error}` lacks `{part}`", case.what);
        }
    }
}

#[test]
fn long_names_are_refused_and_not_shown_whole() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let mut tensors = Tensors::default();
    tensors.insert("n.".repeat(512), Array::f32(vec![1], vec![1.0]));
    assert_eq!(read(&bytes(&tensors)).unwrap(), tensors);
    let longer = format!("{}x", "n.".repeat(512));
    let giant = "g.".repeat(1 << 20);
    for (header, part) in [
        (format!(r#"{{"{longer}":{entry}}}"#), "name: expected at most 1024 bytes, found 1025"),
        (format!(r#"{{"{giant}":{entry}}}"#), "name: expected at most 1024 bytes, found 2097152"),
        (format!(r#"{{"{giant}":{entry},"{giant}":{entry}}}"#), "stands there twice"),
        (format!(r#"{{"{giant}":{{"dtype":7}}}}"#), "invalid type: integer"),
        (format!(r#"{{"{giant}":"{giant}"}}"#), "invalid type: string"),
        (format!(r#"{{"w":{{"dtype":"{giant}","shape":[1],"data_offsets":[0,4]}}}}"#), "dtype"),
    ] {
        let error = safetensors::read(&file(&header, 4)).unwrap_err().to_string();
        assert!(error.contains(part) && error.len() < 500, "{error}");
    }
    tensors.insert(longer, Array::f32(vec![1], vec![1.0]));
    let error = safetensors::write(&tensors, Vec::new()).unwrap_err().to_string();
    assert!(error.contains("at most 1024 bytes"), "{error}");
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let mut wordy = sample();
    wordy.metadata.insert("notes".into(), "x".repeat(safetensors::MAX_HEADER as usize));
    let mut deep = sample();
    deep.insert("deep", Array::f32(vec![1; 65], vec![1.0]));
    for (tensors, part) in [
        (wordy, "the format holds at most 67108864 bytes of names and texts; leave some"),
        (deep, "`deep`, shape: expected at most 64 axes, found 65"),
    ] {
        let mut written = Vec::new();
        let error = safetensors::write(&tensors, &mut written).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(written.is_empty());
    }
}

#[test]
fn a_failing_writer_is_an_error() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let len = bytes(&sample()).len();
    for room in [0, 7, 8, 20, len - 1] {
        assert!(
            matches!(safetensors::write(&sample(), Full(room)), Err(FormatError::Io(_))),
            "room for {room}"
        );
    }
    assert!(safetensors::write(&sample(), Full(len)).is_ok());
}

#[test]
fn a_reserved_name_is_refused() {
    let mut tensors = Tensors::default();
    tensors.insert("__metadata__", Array::counter(1));
    assert!(matches!(safetensors::write(&tensors, Vec::new()), Err(FormatError::Tensor { .. })));
}

#[test]
fn shapes_and_numbers_agree() {
    assert!(Array::new(vec![2, 2], Data::F32(vec![0.0; 3])).is_none());
    assert!(Array::new(vec![usize::MAX, 2], Data::F32(vec![])).is_none());
    assert_eq!(Array::new(vec![], Data::I64(vec![-1])).unwrap().as_counter(), None);
    assert_eq!(Array::counter(5).as_counter(), Some(5));
}

#[test]
fn small_integers_are_widened() {
    for (kind, bytes, values) in [
        ("U8", vec![0, 255], [0, 255]),
        ("I8", vec![0x80, 0x7f], [-128, 127]),
        ("BOOL", vec![0, 1], [0, 1]),
        ("I16", vec![0, 0x80, 1, 0], [-32_768, 1]),
        ("U16", vec![0xff, 0xff, 1, 0], [65_535, 1]),
        ("I32", vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0], [-1, 2]),
        ("U32", vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0], [4_294_967_295, 2]),
    ] {
        let header = format!(
            r#"{{"w":{{"dtype":"{kind}","shape":[2],"data_offsets":[0,{}]}}}}"#,
            bytes.len()
        );
        let mut file = file(&header, 0);
        file.extend(bytes);
        let tensors = safetensors::read(&file).unwrap();
        assert_eq!(tensors.get("w").unwrap().data(), &Data::I64(values.to_vec()), "{kind}");
    }
}

#[test]
fn files_of_other_kinds_and_cut_ones_say_what_they_are() {
    let says = |bytes: &[u8], part: &str| {
        let error = safetensors::read(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    };
    says(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull");
    says(b"\x89HDF\r\n\x1a\n........", "an HDF5 file, as Keras writes");
    says(b"PK\x03\x04............", "a zip file, as torch.save writes");
    says(b"<!DOCTYPE html><html>", "a web page");
    says(&[0xff; 16], "this is not a safetensors file");
    let mut tensors = Tensors::default();
    tensors.insert("a", Array::f32(vec![8], vec![0.5; 8]));
    let mut bytes = Vec::new();
    safetensors::write(&tensors, &mut bytes).unwrap();
    says(&bytes[..bytes.len() - 1], "the file is cut short: copy or download it again");
}

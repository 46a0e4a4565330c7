//! Containers made to do harm: zip files, streams and other files that are refused, and the message
//! says why.

mod craft;

use craft::{Case, claim, file, refused, state, stream, tensor, text, zip};
use resnet_formats::pth;

#[test]
fn zip_files_that_lie_are_refused() {
    let pickle = state(&tensor(&claim()));
    let storage = [0; 8];
    let well = [file("a/data.pkl", &pickle), file("a/data/0", &storage)];
    let with = |change: fn(&mut [craft::File])| {
        let mut files = well.to_vec();
        change(&mut files);
        zip(&files)
    };
    assert!(pth::read(&zip(&well)).is_ok());
    let patched = |at_from_end: usize, bytes: &[u8]| {
        let mut file = zip(&well);
        let at = file.len() - at_from_end;
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    // 42.zip and its like: one compressed block that many entries share.
    let mut quine: Vec<_> = (0..1000).map(|i| file(&format!("a/data/{i}"), b"")).collect();
    quine.iter_mut().for_each(|f| (f.method, f.size, f.offset) = (8, Some(1 << 30), Some(0)));
    refused(vec![
        Case {
            what: "compressed",
            file: with(|f| f[1].method = 8),
            says: &["a/data/0", "compression", "deflate", "torch.save"],
        },
        Case { what: "bomb", file: zip(&quine), says: &["compression"] },
        Case {
            what: "entry at another's place",
            file: with(|f| f[1].offset = Some(0)),
            says: &["a/data/0", "local header"],
        },
        Case {
            what: "overlap",
            file: {
                // The second entry's header stands inside the first one's content.
                let inner = zip(&[file("b", b"x")]);
                zip(&[
                    file("a/data.pkl", &pickle),
                    file("c", &inner),
                    craft::File {
                        offset: Some(41 + pickle.len() as u32 + 30),
                        local_name: None,
                        ..file("b", b"x")
                    },
                ])
            },
            says: &["offset", "where another ends"],
        },
        Case {
            what: "size beyond the end",
            file: with(|f| f[1].size = Some(1 << 31)),
            says: &["a/data/0", "size", "2147483648"],
        },
        Case {
            what: "size into the next",
            file: with(|f| f[0].size = Some(f[0].content.len() as u32 + 4)),
            says: &["offset", "where another ends"],
        },
        Case {
            what: "offset beyond the end",
            file: with(|f| f[1].offset = Some(1 << 30)),
            says: &["a/data/0", "offset"],
        },
        Case {
            what: "two of a name",
            file: with(|f| f[1].name = "a/data.pkl".into()),
            says: &["a/data.pkl", "one of each name"],
        },
        Case {
            what: "another local name",
            file: with(|f| f[1].local_name = Some("a/data/1".into())),
            says: &["a/data/0", "local header"],
        },
        Case {
            what: "content changed",
            file: with(|f| f[1].size = Some(7)),
            says: &["storage", "7 bytes"],
        },
        Case {
            what: "no pickle",
            file: with(|f| f[0].name = "a/other.pkl".into()),
            says: &["data.pkl", "0 of them"],
        },
        Case {
            what: "two pickles",
            file: zip(&[file("a/data.pkl", &pickle), file("b/data.pkl", &pickle)]),
            says: &["2 of them"],
        },
        Case {
            what: "TorchScript",
            file: zip(&[file("a/data.pkl", &pickle), file("a/constants.pkl", b"")]),
            says: &["TorchScript", "torch.jit.load"],
        },
        Case {
            what: "future version",
            file: zip(&[file("a/data.pkl", &pickle), file("a/version", b"11\n")]),
            says: &["version", "1 to 10", "11"],
        },
        Case {
            what: "byte order",
            file: zip(&[file("a/data.pkl", &pickle), file("a/byteorder", b"middle")]),
            says: &["byteorder", "middle"],
        },
        Case {
            what: "metadata",
            file: zip(&[
                file("a/data.pkl", &pickle),
                file("a/data/0", &storage),
                file("a/extra/metadata.json", b"[1]"),
            ]),
            says: &["extra/metadata.json"],
        },
        Case { what: "comment cut", file: patched(2, &[9, 0]), says: &["directory at its end"] },
        Case {
            what: "directory beyond the end",
            file: patched(6, &[0xff, 0xff, 0xff, 0x7f]),
            says: &["directory", "size"],
        },
        Case {
            what: "fewer entries than records",
            file: patched(12, &[1, 0]),
            says: &["directory", "more"],
        },
        Case {
            what: "more entries than records",
            file: patched(12, &[3, 0]),
            says: &["directory", "less"],
        },
        Case { what: "several disks", file: patched(18, &[1, 0]), says: &["disk", "several"] },
        Case { what: "empty zip", file: zip(&[]), says: &["0 of them"] },
    ]);
    let mut changed = zip(&well);
    let at = changed.windows(3).position(|part| part == b"0\0\0").unwrap() + 1;
    changed[at] = 1;
    let error = pth::read(&changed).unwrap_err().to_string();
    assert!(error.contains("data/0") && error.contains("checksum"), "{error}");
}

#[test]
fn zip64_fields_are_read_and_checked() {
    let well = zip(&[file("a/data.pkl", &state(&tensor(&claim()))), file("a/data/0", &[0; 8])]);
    let end = well.len() - 22;
    let number = |at: usize| u32::from_le_bytes(well[at..at + 4].try_into().unwrap());
    let (directory, bytes) = (number(end + 16), number(end + 12));
    // The same file with its directory described by zip64 records, and the second entry's numbers
    // in an extra field.
    let make = |claimed_offset: u64, locator: u64, extra_len: u8| {
        let mut file = well[..end].to_vec();
        let record = directory as usize + 46 + 10;
        let offset =
            u64::from(u32::from_le_bytes(file[record + 42..record + 46].try_into().unwrap()));
        for field in [20, 24, 42] {
            file[record + field..record + field + 4].fill(0xff);
        }
        file[record + 30] = extra_len + 4;
        file.extend([1, 0, extra_len, 0]);
        file.extend(8u64.to_le_bytes());
        file.extend(8u64.to_le_bytes());
        file.extend(offset.wrapping_add(claimed_offset).to_le_bytes());
        let grown = u64::from(bytes) + 28;
        let at = (file.len() as u64).wrapping_add(locator);
        file.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
        file.extend(2u64.to_le_bytes());
        file.extend(2u64.to_le_bytes());
        file.extend(grown.to_le_bytes());
        file.extend(u64::from(directory).to_le_bytes());
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(at.to_le_bytes());
        file.extend([1, 0, 0, 0]);
        file.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
        file
    };
    let found = pth::read(&make(0, 0, 24)).unwrap();
    assert_eq!(found.tensors.get("w").unwrap().as_f32().unwrap(), [0.0; 2]);
    refused(vec![
        Case {
            what: "offset beyond the file",
            file: make(u64::MAX / 2, 0, 24),
            says: &["a/data/0", "offset"],
        },
        Case {
            what: "offset overflows",
            file: make(u64::MAX - 1000, 0, 24),
            says: &["a/data/0", "offset"],
        },
        Case {
            what: "locator beyond the file",
            file: make(0, 1 << 40, 24),
            says: &["zip64 record", "offset"],
        },
        Case {
            what: "locator into something else",
            file: make(0, u64::MAX - 7, 24),
            says: &["zip64 record", "signature"],
        },
        Case { what: "field too short", file: make(0, 0, 16), says: &["a/data/0", "zip64 field"] },
    ]);
}

#[test]
fn streams_that_lie_are_refused() {
    let pickle = state(&tensor(&claim()));
    let well = stream(&pickle, 2, &[0; 8]);
    assert!(pth::read(&well).is_ok());
    let twice = {
        let mut file = well[..well.len() - 16 - 2].to_vec();
        file.extend([text("0"), b"e.".to_vec()].concat());
        file.extend([&2i64.to_le_bytes()[..], &[0; 8]].concat().repeat(2));
        file
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = well.windows(from.len()).position(|part| part == from).unwrap();
        let mut file = well.clone();
        file.splice(at..at + from.len(), to.iter().copied());
        file
    };
    refused(vec![
        Case {
            what: "another length",
            file: stream(&pickle, 3, &[0; 12]),
            says: &["storage \"0\"", "length", "expected 2", "found 3"],
        },
        Case {
            what: "negative length",
            file: stream(&pickle, -2, &[0; 8]),
            says: &["length", "-2"],
        },
        Case {
            what: "numbers missing",
            file: stream(&pickle, 2, &[0; 7]),
            says: &["cut short", "the storages"],
        },
        Case {
            what: "length missing",
            file: well[..well.len() - 12].to_vec(),
            says: &["cut short", "the storages"],
        },
        Case { what: "a key twice", file: twice, says: &["key", "twice"] },
        Case {
            what: "another magic number",
            file: replaced(b"\x6c\xfc", b"\x6c\xfd"),
            says: &["magic number"],
        },
        Case {
            what: "another version",
            file: replaced(b"M\xe9\x03", b"M\xea\x03"),
            says: &["1001", "1002"],
        },
        Case {
            what: "keys are no list",
            file: replaced(b"\x80\x02](X", b"\x80\x02N.X"),
            says: &["list of storages"],
        },
    ]);
}

#[test]
fn other_files_are_named() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    refused(vec![
        Case { what: "empty", file: vec![], says: &["an empty file"] },
        Case { what: "tar", file: tar, says: &["a tar file", "0.1.10"] },
        Case {
            what: "Git LFS pointer",
            file: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
            says: &["Git LFS pointer", "git lfs pull"],
        },
        Case {
            what: "HDF5",
            file: b"\x89HDF\r\n\x1a\n........".to_vec(),
            says: &["HDF5", "Keras"],
        },
        Case {
            what: "ONNX",
            file: b"\x08\x08\x12\x06resnet\x1a\x050.1.0".to_vec(),
            says: &["an ONNX graph", "exported from"],
        },
        Case {
            what: "TorchScript",
            file: zip(&[
                file("net/code/__torch__/x.py", b"op"),
                file("net/data.pkl", b"\x80\x02}."),
            ]),
            says: &["TorchScript", "torch.jit.load"],
        },
        Case {
            what: "torch.export",
            file: zip(&[file("net/archive_format", b"pt2")]),
            says: &["torch.export.load"],
        },
        Case {
            what: "npz",
            file: zip(&[file("a.npy", b"\x93NUMPY")]),
            says: &["arrays of numpy's"],
        },
        Case { what: "gzip", file: vec![0x1f, 0x8b, 8], says: &["gzip", "unpack"] },
        Case {
            what: "web page",
            file: b"<!DOCTYPE html>".to_vec(),
            says: &["web page", "download"],
        },
        Case { what: "picture", file: b"\x89PNG\r\n\x1a\n".to_vec(), says: &["89 50 4e 47"] },
        Case {
            what: "plain pickle",
            file: b"\x80\x02}.".to_vec(),
            says: &["a pickle of a dictionary", "torch.save"],
        },
    ]);
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/module.pth");
    let error = pth::read(&std::fs::read(module).unwrap()).unwrap_err().to_string();
    assert!(error.contains("an object of torch.nn.modules.linear.Linear"), "{error}");
    assert!(error.contains("state_dict()"), "{error}");
}

//! Makes PyTorch files by hand, and damages them.
#![allow(dead_code, unreachable_pub)] // each test takes what it needs

use resnet_formats::{FormatError, Tensors, pth, safetensors};

/// An instruction that pushes a text.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}

/// An instruction that pushes an integer.
pub fn int(number: i64) -> Vec<u8> {
    let mut bytes = vec![0x8a, 8];
    bytes.extend(number.to_le_bytes());
    bytes
}

/// Instructions that push a tuple.
pub fn ints(numbers: &[i64]) -> Vec<u8> {
    let items: Vec<u8> = numbers.iter().flat_map(|&number| int(number)).collect();
    [b"(", items.as_slice(), b"t"].concat()
}

/// A tensor as a file claims it.
#[derive(Clone)]
pub struct Claim {
    pub storage: &'static str,
    pub key: &'static str,
    pub count: i64,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// Two numbers, all well.
pub fn claim() -> Claim {
    Claim {
        storage: "FloatStorage",
        key: "0",
        count: 2,
        offset: 0,
        shape: vec![2],
        strides: vec![1],
    }
}

/// Instructions that push a tensor.
pub fn tensor(claim: &Claim) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        format!("ctorch\n{}\n", claim.storage).into_bytes(),
        text(claim.key),
        text("cpu"),
        int(claim.count),
        b"tQ".to_vec(),
        int(claim.offset),
        ints(&claim.shape),
        ints(&claim.strides),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

/// A pickle of `{"w": value}`.
pub fn state(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}(", text("w").as_slice(), value, b"u."].concat()
}

/// A file inside a zip file, and how its headers differ from the truth.
#[derive(Clone)]
pub struct File {
    pub name: String,
    pub content: Vec<u8>,
    /// Compression method.
    pub method: u16,
    /// Size to claim instead of the content's.
    pub size: Option<u32>,
    /// Offset to claim instead of its own.
    pub offset: Option<u32>,
    /// Name in the local header instead of its own.
    pub local_name: Option<String>,
}

/// A well-formed one.
pub fn file(name: &str, content: &[u8]) -> File {
    File {
        name: name.into(),
        content: content.into(),
        method: 0,
        size: None,
        offset: None,
        local_name: None,
    }
}

/// A zip file of stored entries.
pub fn zip(files: &[File]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for file in files {
        let at = bytes.len() as u32;
        let size = file.size.unwrap_or(file.content.len() as u32);
        let local = file.local_name.as_deref().unwrap_or(&file.name);
        let mut fields = vec![20, 0, 0, 0];
        fields.extend(file.method.to_le_bytes());
        fields.extend([0; 4]);
        fields.extend(crc32fast::hash(&file.content).to_le_bytes());
        fields.extend(size.to_le_bytes());
        fields.extend(size.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&fields);
        bytes.extend((local.len() as u32).to_le_bytes());
        bytes.extend(local.bytes());
        bytes.extend(&file.content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend((file.name.len() as u32).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(file.offset.unwrap_or(at).to_le_bytes());
        directory.extend(file.name.bytes());
    }
    let at = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((files.len() as u16).to_le_bytes());
    bytes.extend((files.len() as u16).to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// The zip file of a pickle and one storage of 8 bytes: 1.0 and 2.0.
pub fn archive(pickle: &[u8]) -> Vec<u8> {
    zip(&[
        file("a/data.pkl", pickle),
        file("a/data/0", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]),
        file("a/version", b"3\n"),
    ])
}

/// The stream of a pickle and one storage under the key "0".
pub fn stream(pickle: &[u8], count: i64, storage: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
    bytes.extend(pickle);
    bytes.extend(b"\x80\x02](");
    bytes.extend(text("0"));
    bytes.extend(b"e.");
    bytes.extend(count.to_le_bytes());
    bytes.extend(storage);
    bytes
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    let bytes = &bytes[at..at + len];
    bytes.iter().rev().fold(0, |sum, &b| sum << 8 | usize::from(b))
}

/// The entries of a zip file that is well.
pub fn unzip(bytes: &[u8]) -> Vec<File> {
    let end = bytes.len() - 22;
    let mut at = number(bytes, end + 16, 4);
    let mut files = Vec::new();
    for _ in 0..number(bytes, end + 10, 2) {
        let [name_len, extra, comment] = [28, 30, 32].map(|field| number(bytes, at + field, 2));
        let name = std::str::from_utf8(&bytes[at + 46..][..name_len]).unwrap();
        let (size, local) = (number(bytes, at + 24, 4), number(bytes, at + 42, 4));
        let begin = local + 30 + number(bytes, local + 26, 2) + number(bytes, local + 28, 2);
        files.push(file(name, &bytes[begin..begin + size]));
        at += 46 + name_len + extra + comment;
    }
    files
}

/// Numbers that look random: Knuth's generator, the upper half of its state.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn below(&mut self, limit: usize) -> usize {
        let state = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = state.wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

/// Instructions and numbers that readers stumble over.
const PIECES: [&[u8]; 24] = [
    b"R",
    b"Q",
    b"b",
    b"t",
    b"(",
    b"u",
    b"e",
    b"s",
    b"}",
    b"]",
    b")",
    b"0",
    b"1",
    b"h\0",
    b"q\0",
    b"\x81",
    b"\x93",
    b"\x85",
    b"cos\nsystem\n",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\x80",
    b"X\xff\xff\xff\xff",
    b"PK\x03\x04",
];

/// Damages a file in one to four places.
pub fn damage(bytes: &mut Vec<u8>, random: &mut Lcg) {
    for _ in 0..1 + random.below(4) {
        let len = bytes.len();
        let at = random.below(len + 1);
        let count = random.below(16).min(len - at);
        match random.below(9) {
            0 | 1 if at < len => bytes[at] ^= 1 << random.below(8),
            2 if at < len => bytes[at] = random.below(256) as u8,
            3 => drop(bytes.drain(at..at + count)),
            4 => {
                let part = bytes[at..at + count].to_vec();
                let to = random.below(len + 1);
                bytes.splice(to..to, part);
            }
            5 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            6 => {
                let piece = PIECES[random.below(PIECES.len())];
                let end = (at + piece.len()).min(len);
                bytes.splice(at..end, piece.iter().copied());
            }
            7 => {
                let from = random.below(len + 1);
                let part = bytes[from..len.min(from + count)].to_vec();
                let end = (at + part.len()).min(len);
                bytes.splice(at..end, part);
            }
            _ if random.below(8) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// A file to damage.
pub enum Seed {
    /// As it is.
    Bytes(Vec<u8>),
    /// Entries, put together again around the damage, so that checksums and offsets are right.
    Zip(Vec<File>),
}

/// Every fixture as it is, and zip files also by entry and with their checksums switched off.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (_, bytes) in fixtures() {
        if bytes.starts_with(b"PK") {
            let mut unchecked = bytes.clone();
            for at in 0..bytes.len() - 4 {
                if &bytes[at..at + 4] == b"PK\x01\x02" {
                    unchecked[at + 16..at + 20].fill(0);
                }
            }
            seeds.push(Seed::Bytes(unchecked));
            seeds.push(Seed::Zip(unzip(&bytes)));
        }
        seeds.push(Seed::Bytes(bytes));
    }
    seeds
}

/// A damaged copy.
pub fn damaged(seed: &Seed, random: &mut Lcg) -> Vec<u8> {
    match seed {
        Seed::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            damage(&mut bytes, random);
            bytes
        }
        Seed::Zip(files) => {
            let mut files = files.clone();
            let pickle = files.iter().position(|f| f.name.ends_with("data.pkl")).unwrap();
            let hit = match random.below(4) {
                0 => random.below(files.len()),
                _ => pickle,
            };
            damage(&mut files[hit].content, random);
            zip(&files)
        }
    }
}

/// Every file in the folder of fixtures, by name.
pub fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() > 10, "fixtures are missing from {folder}");
    files
}

/// Bytes that the arrays take.
pub fn size(tensors: &Tensors) -> usize {
    let sizes = tensors.entries.values().map(|array| {
        let data = array.data();
        data.len() * data.data_type().size()
    });
    sizes.sum()
}

/// What must hold for any bytes: a short message, or bounded arrays that survive being written and
/// read.
pub fn check_pth(bytes: &[u8]) -> bool {
    match pth::read(bytes) {
        Err(error) => {
            assert_message(&error);
            false
        }
        Ok(checkpoint) => {
            assert!(size(&checkpoint.tensors) <= (64 << 20) + 4 * bytes.len());
            let mut once = Vec::new();
            pth::write(&checkpoint.tensors, &mut once).unwrap();
            let again = pth::read(&once).unwrap();
            let mut twice = Vec::new();
            pth::write(&again.tensors, &mut twice).unwrap();
            assert!(once == twice, "a round trip changes the bytes");
            true
        }
    }
}

/// The same for safetensors.
pub fn check_safetensors(bytes: &[u8]) -> bool {
    match safetensors::read(bytes) {
        Err(error) => {
            assert_message(&error);
            false
        }
        Ok(tensors) => {
            // Bytes are widened to 64-bit integers.
            assert!(size(&tensors) <= 8 * bytes.len());
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            safetensors::write(&tensors, &mut once).unwrap();
            safetensors::write(&safetensors::read(&once).unwrap(), &mut twice).unwrap();
            assert!(once == twice, "a round trip changes the bytes");
            true
        }
    }
}

fn assert_message(error: &FormatError) {
    let message = error.to_string();
    assert!(!message.is_empty() && message.len() < 5000, "{message}");
}

/// A file that must be refused.
pub struct Case {
    pub what: &'static str,
    pub file: Vec<u8>,
    /// What the message contains.
    pub says: &'static [&'static str],
}

/// Reads each and compares the messages.
pub fn refused(cases: Vec<Case>) {
    for case in cases {
        let error = match pth::read(&case.file) {
            Err(error) => error.to_string(),
            Ok(found) => panic!("{}: read as {found:?}", case.what),
        };
        for part in case.says {
            assert!(error.contains(part), "{}: `{error}` lacks `{part}`", case.what);
        }
    }
}

/// A small ONNX file with something of everything.
pub fn onnx_seed() -> Vec<u8> {
    use resnet_formats::onnx::{self, proto::*};
    let value = |name: &str| ValueInfo {
        name: Some(name.into()),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: Some(kind::FLOAT),
                shape: Some(TensorShape {
                    dim: vec![
                        Dimension { dim_param: Some("batch".into()), dim_value: None },
                        Dimension { dim_param: None, dim_value: Some(3) },
                    ],
                }),
            }),
        }),
    };
    let attribute = |name: &str, ints: &[i64]| Attribute {
        name: Some(name.into()),
        f: ints.is_empty().then_some(-0.0),
        ints: ints.to_vec(),
        r#type: Some(Attribute::INTS),
        ..Attribute::default()
    };
    let array = resnet_formats::Array::f32(vec![2, 3], vec![0.5; 6]);
    let model = Model {
        ir_version: Some(10),
        producer_name: Some("test".into()),
        graph: Some(Graph {
            name: Some("g".into()),
            node: vec![Node {
                input: vec!["x".into(), "w".into(), String::new()],
                output: vec!["y".into()],
                name: Some("conv1".into()),
                op_type: Some("Conv".into()),
                attribute: vec![attribute("eps", &[]), attribute("pads", &[-1, 0, i64::MAX])],
                domain: None,
            }],
            initializer: vec![onnx::tensor("w", &array)],
            input: vec![value("x")],
            output: vec![value("y")],
        }),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(22) }],
        metadata_props: vec![Property { key: Some("k".into()), value: Some("text ü".into()) }],
        ..Model::default()
    };
    let mut bytes = Vec::new();
    onnx::write(&model, &mut bytes).unwrap();
    bytes
}

/// The same for ONNX.
pub fn check_onnx(bytes: &[u8]) -> bool {
    use resnet_formats::onnx;
    match onnx::read(bytes.to_vec()) {
        Err(error) => {
            assert_message(&error);
            false
        }
        Ok(model) => {
            let graph = model.graph.iter();
            for tensor in graph.flat_map(|graph| &graph.initializer) {
                match onnx::array(tensor) {
                    Ok(array) => assert!(array.data().len() <= bytes.len()),
                    Err(error) => assert_message(&error),
                }
            }
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            onnx::write(&model, &mut once).unwrap();
            onnx::write(&onnx::read(once.clone()).unwrap(), &mut twice).unwrap();
            assert!(once == twice, "a round trip changes the bytes");
            true
        }
    }
}

//! Tables that pyarrow wrote in its ways, our own, and damaged ones.

mod craft;

use std::io;

use craft::{Lcg, damage};
use resnet_formats::parquet::{Footer, Packing, ReadAt, Row, Spot, Writer, unpack};
use resnet_formats::{FormatError, parquet::Kind};

/// Rows of `tools/fixtures/tables.py`.
const LABELS: [Option<i64>; 7] = [Some(0), Some(1), Some(0), Some(2), None, Some(2), Some(1)];

fn pictures() -> [Option<Vec<u8>>; 7] {
    ["first", "second", "first", "-", "", "fifth", "sixth"]
        .map(|word| (word != "-").then(|| word.repeat(9).into_bytes()))
}

fn tables() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables");
    let mut tables: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    tables.sort();
    assert_eq!(tables.len(), 20);
    tables
}

fn read_spot(file: &[u8], spot: Spot) -> Result<Vec<u8>, FormatError> {
    let length = spot.length as usize;
    if spot.packing == Packing::Stored {
        return Ok(file[spot.at as usize..][..length].to_vec());
    }
    Ok(unpack(&file, spot.at, spot.packing)?[spot.inside as usize..][..length].to_vec())
}

fn column(footer: &Footer, path: &str) -> usize {
    footer.columns.iter().position(|column| column.path.join(".") == path).unwrap()
}

type Found<T> = Result<Vec<Option<T>>, FormatError>;

fn all_bytes(file: &[u8], footer: &Footer, path: &str) -> Found<Vec<u8>> {
    let mut spots = Vec::new();
    for group in 0..footer.groups.len() {
        footer.spots(&file, group, column(footer, path), &mut |spot| spots.push(spot))?;
    }
    let read = |spot: Option<Spot>| spot.map(|spot| read_spot(file, spot)).transpose();
    spots.into_iter().map(read).collect()
}

fn all_texts(file: &[u8], footer: &Footer, path: &str) -> Found<String> {
    let mut texts = Vec::new();
    for group in 0..footer.groups.len() {
        let mut push = |text: Option<&[u8]>| {
            texts.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
        };
        footer.texts(&file, group, column(footer, path), &mut push)?;
    }
    Ok(texts)
}

fn all_numbers(file: &[u8], footer: &Footer, path: &str) -> Found<i64> {
    let mut numbers = Vec::new();
    for group in 0..footer.groups.len() {
        footer.numbers(&file, group, column(footer, path), &mut |n| numbers.push(n))?;
    }
    Ok(numbers)
}

#[test]
fn tables_are_read_however_they_were_written() {
    for (name, file) in tables() {
        let footer = Footer::read(&file.as_slice()).unwrap();
        if name == "long" {
            let words = ["ant", "bee", "cat"].map(|word| Some(word.repeat(300).into_bytes()));
            assert_eq!(all_bytes(&file, &footer, "image").unwrap(), words);
            continue;
        }
        let kinds: Vec<(Kind, bool, bool)> =
            footer.columns.iter().map(|c| (c.kind, c.text, c.repeated)).collect();
        let expected = [
            (Kind::Bytes, false, false),
            (Kind::Bytes, true, false),
            (Kind::Int64, false, false),
            (Kind::Int32, false, false),
            (Kind::Bytes, true, false),
            (Kind::Int32, false, true),
        ];
        assert_eq!(kinds, expected, "{name}");
        let metadata = footer.metadata.iter().find(|(name, _)| name == "huggingface");
        assert!(metadata.unwrap().1.contains("ClassLabel"));
        let groups: Vec<u64> = footer.groups.iter().map(|group| group.rows).collect();
        assert_eq!(groups, if name == "groups" { vec![3, 3, 1] } else { vec![7] });
        let error = all_numbers(&file, &footer, "boxes.list.element").unwrap_err().to_string();
        assert!(error.contains("expected one value a row, found a list"), "{error}");
        if name == "brotli" {
            let error = all_numbers(&file, &footer, "label").unwrap_err().to_string();
            assert!(error.contains("gzip or no compression, found Brotli; write"), "{error}");
            continue;
        }
        if name == "delta" {
            for error in [
                all_numbers(&file, &footer, "label").unwrap_err().to_string(),
                all_texts(&file, &footer, "text").unwrap_err().to_string(),
            ] {
                assert!(error.contains("a dictionary, found differences (DELTA)"), "{error}");
            }
            continue;
        }
        assert_eq!(all_bytes(&file, &footer, "image.bytes").unwrap(), pictures(), "{name}");
        assert_eq!(all_numbers(&file, &footer, "label").unwrap(), LABELS, "{name}");
        let small: Vec<Option<i64>> = (0..7).map(Some).collect();
        assert_eq!(all_numbers(&file, &footer, "small").unwrap(), small, "{name}");
        let names = ["ant", "bee", "cat"];
        let texts = LABELS.map(|label| label.map(|label| names[label as usize].to_string()));
        assert_eq!(all_texts(&file, &footer, "text").unwrap(), texts, "{name}");
        let paths = all_texts(&file, &footer, "image.path").unwrap();
        assert_eq!((paths[1].as_deref(), &paths[2]), (Some("1.jpg"), &None), "{name}");
    }
}

fn own(rows: usize) -> Vec<u8> {
    let metadata = vec![("huggingface".to_string(), "{}".to_string())];
    let mut writer = Writer::new(Vec::new(), metadata).unwrap();
    for row in 0..rows {
        let bytes = vec![row as u8; row * 300];
        let path = format!("a/{row}.jpg");
        writer.push(&Row { bytes: &bytes, path: &path, label: row as i64 % 7 }).unwrap();
    }
    let size = writer.size();
    let file = writer.finish().unwrap();
    assert!(size < file.len() as u64);
    file
}

#[test]
fn what_is_written_is_read() {
    for rows in [0, 1, 99, 100, 101, 250] {
        let file = own(rows);
        let footer = Footer::read(&file.as_slice()).unwrap();
        let all: u64 = footer.groups.iter().map(|group| group.rows).sum();
        assert_eq!(all, rows as u64);
        let pictures = all_bytes(&file, &footer, "image.bytes").unwrap();
        assert_eq!(pictures.len(), rows);
        for (row, bytes) in pictures.into_iter().enumerate() {
            assert_eq!(bytes, Some(vec![row as u8; row * 300]));
        }
        let labels = all_numbers(&file, &footer, "label").unwrap();
        assert!(labels.iter().enumerate().all(|(row, n)| *n == Some(row as i64 % 7)));
        let paths = all_texts(&file, &footer, "image.path").unwrap();
        assert!(paths.iter().enumerate().all(|(n, path)| *path == Some(format!("a/{n}.jpg"))));
    }
}

/// Reads all that there is; whether it is whole.
fn check(file: &[u8]) -> bool {
    let Ok(footer) = Footer::read(&file) else { return false };
    let mut whole = true;
    for (number, group) in footer.groups.iter().enumerate() {
        for column in 0..footer.columns.len() {
            let (mut rows, mut spots) = ([0; 3], Vec::new());
            let read = [
                footer.numbers(&file, number, column, &mut |_| rows[0] += 1).is_ok(),
                footer.texts(&file, number, column, &mut |_| rows[1] += 1).is_ok(),
                footer
                    .spots(&file, number, column, &mut |spot| {
                        rows[2] += 1;
                        spots.extend(spot);
                    })
                    .is_ok(),
            ];
            assert!((0..3).all(|way| !read[way] || rows[way] == group.rows));
            whole &= read.contains(&true);
            for spot in spots {
                let bytes = read_spot(file, spot).unwrap();
                assert_eq!(bytes.len(), spot.length as usize);
            }
        }
    }
    whole
}

#[test]
fn files_that_are_cut_or_changed_are_refused_without_a_panic() {
    let mut all = tables();
    all.push(("own".into(), own(3)));
    for (name, file) in &all {
        for length in 0..file.len() {
            assert!(Footer::read(&&file[..length]).is_err(), "{name} cut at {length}");
        }
        let step = if name == "own" { 1 } else { 29 };
        for at in (0..file.len()).step_by(step) {
            for change in [1, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] ^= change;
                check(&changed);
            }
        }
    }
    let mut random = Lcg(1);
    let mut read = 0;
    for round in 0..6_000 {
        let mut file = all[round % all.len()].1.clone();
        damage(&mut file, &mut random);
        read += usize::from(check(&file));
    }
    assert!(read < 4_500, "{read} of 6000 were read");
}

/// A file whose end is not what it was when its length was asked.
struct Shrunk(Vec<u8>);

impl ReadAt for Shrunk {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        match at < 100 {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => self.0.as_slice().read_at(at, bytes),
        }
    }
}

#[test]
fn what_the_system_refuses_is_said() {
    let file = Shrunk(own(3));
    let footer = Footer::read(&file).unwrap();
    let error = footer.spots(&file, 0, 0, &mut |_| ()).unwrap_err();
    assert!(matches!(error, FormatError::Io(_)), "{error}");
}

/// A number as the headers have it.
fn varint(number: u64) -> Vec<u8> {
    let mut left = number << 1;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

#[test]
fn memory_is_not_taken_for_what_a_header_merely_says() {
    let page = |packed: u64, unpacked: u64, body: &[u8]| {
        let head = [0x15, 0, 0x15].to_vec();
        let values = [0x2c, 0x15, 2, 0x15, 0, 0, 0].to_vec();
        [head, varint(unpacked), vec![0x15], varint(packed), values, body.to_vec()].concat()
    };
    let said =
        |bytes: Vec<u8>, packing| unpack(&bytes.as_slice(), 0, packing).unwrap_err().to_string();
    let body = [0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 0, 0];
    for packing in [Packing::Stored, Packing::Snappy, Packing::Zstd, Packing::Gzip] {
        let much = said(page(10, i32::MAX as u64, &body), packing);
        assert!(much.contains("expected at most 16777216 bytes in 10 packed ones"), "{much}");
        let beyond = said(page(i32::MAX as u64, 20, &body), packing);
        assert!(beyond.contains("expected at most 10 bytes, found 2147483647"), "{beyond}");
        let wrong = said(page(10, 5 << 20, &body), packing);
        assert!(wrong.starts_with("a page: expected "), "{wrong}");
    }
    // More rows than there are.
    let mut file = own(3);
    let end = file.len() - 8;
    // The head of the field and the number, of which the group has the last.
    let at = (0..end).rev().find(|&at| file[at..].starts_with(&[0x16, 6])).unwrap();
    file[at + 1] = 0x7e;
    assert!(Footer::read(&file.as_slice()).is_ok());
    let few = all_numbers(&file, &Footer::read(&file.as_slice()).unwrap(), "label").unwrap_err();
    assert!(few.to_string().contains("expected 63 rows, found 3"), "{few}");
}

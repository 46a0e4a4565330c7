//! Damages small JPEGs and decodes them: `cargo run --release -p resnet-formats --example fuzz_jpeg
//! -- [--executions N] [--compare N] [--seed S]`.
//!
//! Stops with a panic, and writes the file that caused it to `fuzz-failure.jpg`, when the decoder
//! panics, holds more than 64 MB, or, with `--compare`, gives other pixels than zune-jpeg or reads
//! what that refuses. N pictures are compared as they are, and N damaged ones.

#[path = "../tests/craft/jpeg.rs"]
mod craft;

use craft::{Random, Shape, check_damaged, damaged, expected, jpeg, stages, whole};
use resnet_formats::jpeg::{Decoder, Picture};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Most memory that the process may hold, where Linux tells it.
const MOST_KB: u64 = 64 << 10;
/// Executions on the same few files.
const ROUND: u64 = 1 << 14;

fn main() {
    let (mut executions, mut compared, mut seed) = (1_000_000, 0, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|word| word.replace('_', "").parse().ok());
        match (name.as_str(), value) {
            ("--executions", Some(value)) => executions = value,
            ("--compare", Some(value)) => (compared, executions) = (value, 0),
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("usage: fuzz_jpeg [--executions N] [--compare N] [--seed S]");
                std::process::exit(2);
            }
        }
    }
    let mut random = Random::new(seed);
    if compared > 0 {
        compare(compared, &mut random);
    }
    if executions > 0 {
        execute(executions, &mut random);
    }
}

fn execute(executions: u64, random: &mut Random) {
    let begin = Instant::now();
    let mut decoders = decoders();
    let mut files = Vec::new();
    let (mut read, mut slowest) = (0u64, Duration::ZERO);
    for execution in 0..executions {
        if execution % ROUND == 0 {
            files = (0..16).map(|_| jpeg(&Shape::random(24, random), random)).collect();
            check_memory();
        }
        let [file, other] = [(); 2].map(|()| &files[random.below(files.len())]);
        let bytes = damaged(file, other, random);
        let decoder = execution as usize % decoders.len();
        let decoder = &mut decoders[decoder];
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| decode(&bytes, random, decoder))) {
            Ok(was_read) => read += u64::from(was_read),
            Err(panic) => {
                std::fs::write("fuzz-failure.jpg", &bytes).expect("a writable folder");
                resume_unwind(panic);
            }
        }
        slowest = slowest.max(start.elapsed());
    }
    check_memory();
    let rate = executions as f64 / begin.elapsed().as_secs_f64();
    println!("{executions} executions, {rate:.0} a second, {read} read, slowest {slowest:?}");
}

/// Decoders that take turns, with all stages there are.
fn decoders() -> Vec<Decoder> {
    stages().into_iter().map(|(_, stages)| Decoder::new(stages)).collect()
}

/// Decodes a part of a file, and tells whether it could be.
fn decode(bytes: &[u8], random: &mut Random, decoder: &mut Decoder) -> bool {
    let Ok(picture) = Picture::open(bytes, 1 << 20) else { return false };
    let (columns, rows) = match random.below(2) {
        0 => (0..picture.width(), 0..picture.height()),
        _ => (random.range(picture.width()), random.range(picture.height())),
    };
    let size = 3 * columns.len() * rows.len();
    let mut pixels = Vec::new();
    let is_read = decoder.decode(&picture, columns, rows, &mut pixels).is_ok();
    assert!(!is_read || pixels.len() == size);
    is_read
}

fn compare(count: u64, random: &mut Random) {
    std::panic::set_hook(Box::new(|panic| {
        let of_other = panic.location().is_some_and(|place| place.file().contains("zune"));
        if !of_other {
            eprintln!("{panic}");
        }
    }));
    let mut decoders = decoders();
    let mut read = 0;
    for index in 0..count {
        let decoder = index as usize % decoders.len();
        let decoder = &mut decoders[decoder];
        let shape = Shape::random(70, random);
        let bytes = jpeg(&shape, random);
        let pixels = whole(&bytes, 1 << 20, decoder).ok();
        let is_equal = pixels.is_some() && pixels == expected(&bytes);
        if !is_equal {
            std::fs::write("fuzz-failure.jpg", &bytes).expect("a writable folder");
        }
        assert!(is_equal, "{index}: {shape:?}: fuzz-failure.jpg");
        let bytes = damaged(&bytes, &bytes, random);
        read += u64::from(check_damaged(&bytes, random, decoder));
    }
    println!("{count} pictures are equal; of {count} damaged ones {read} are read, all equal");
}

fn check_memory() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    assert!(kb.is_none_or(|kb| kb < MOST_KB), "{kb:?} kB were held, at most {MOST_KB} are granted");
}

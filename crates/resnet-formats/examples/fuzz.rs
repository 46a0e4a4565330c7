//! Damages files and reads them for a given time: `cargo run --release -p resnet-formats --example
//! fuzz -- SECONDS [SEED]`.
//!
//! Stops with a panic, and writes the file that caused it to `fuzz-failure.bin`, when a reader
//! panics or breaks its word.

#[path = "../tests/craft/mod.rs"]
mod craft;

use craft::{
    Lcg, Seed, check_onnx, check_pth, check_safetensors, damaged, fixtures, onnx_seed, seeds,
};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(60);
    let mut random = Lcg(arguments.next().and_then(Result::ok).unwrap_or(1));
    let safetensors: Vec<Seed> = fixtures()
        .iter()
        .filter_map(|(_, bytes)| resnet_formats::pth::read(bytes).ok())
        .map(|checkpoint| {
            let mut bytes = Vec::new();
            resnet_formats::safetensors::write(&checkpoint.tensors, &mut bytes).unwrap();
            Seed::Bytes(bytes)
        })
        .collect();
    type Check = fn(&[u8]) -> bool;
    let readers: [(&str, Vec<Seed>, Check); 3] = [
        ("pth", seeds(), check_pth),
        ("safetensors", safetensors, check_safetensors),
        ("onnx", vec![Seed::Bytes(onnx_seed())], check_onnx),
    ];
    let share = Duration::from_secs(seconds) / readers.len() as u32;
    for (name, seeds, check) in readers {
        let begin = Instant::now();
        let (mut executions, mut read, mut slowest) = (0u64, 0u64, Duration::ZERO);
        while begin.elapsed() < share {
            let bytes = damaged(&seeds[random.below(seeds.len())], &mut random);
            let start = Instant::now();
            match std::panic::catch_unwind(|| check(&bytes)) {
                Ok(was_read) => read += u64::from(was_read),
                Err(panic) => {
                    std::fs::write("fuzz-failure.bin", &bytes).expect("a writable folder");
                    std::panic::resume_unwind(panic);
                }
            }
            slowest = slowest.max(start.elapsed());
            executions += 1;
        }
        let rate = executions as f64 / begin.elapsed().as_secs_f64();
        println!(
            "{name}: {executions} executions, {rate:.0} a second, {read} read, the others refused; slowest {slowest:?}"
        );
    }
    // Linux says how much memory the process held at most.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM"));
        println!("{}", peak.unwrap_or_default());
    }
}

//! What opening as many pictures as ImageNet has takes, from their index: time and memory.
//! `cargo run --release -p resnet --example index_at_scale [PICTURES]`
//!
//! A list of so many rows names the same thousand files again and again, so that little disk is
//! needed. The first process lists them and writes the index; a second one opens it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;
use std::{env, fs, process};

use resnet::data::{
    Augment, Loader, LoaderOptions, Normalize, OpenOptions, Preprocess, Transform, index, open,
};

const CLASSES: usize = 1000;
const SIDE: usize = 32;
/// The second process is told its list.
const OPEN: &str = "INDEX_AT_SCALE_OPEN";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Ok(list) = env::var(OPEN) {
        return measure(&list);
    }
    let pictures = env::args().nth(1).map_or(Ok(1_281_167), |text| text.parse())?;
    let folder = env::temp_dir().join(format!("resnet-index-at-scale-{}", process::id()));
    let made = make(&folder, pictures).and_then(|list| {
        let begin = Instant::now();
        let index = index(&list)?;
        let bytes = fs::metadata(&index.file)?.len();
        let seconds = begin.elapsed().as_secs_f64();
        println!("listed and indexed in {seconds:.2} s, {:.1} MB", bytes as f64 / 1e6);
        let status = process::Command::new(env::current_exe()?).env(OPEN, &list).status()?;
        if status.success() { Ok(()) } else { Err("the second process failed".into()) }
    });
    fs::remove_dir_all(&folder)?;
    made
}

/// A picture a class, and a list that names each of them as often as it takes.
fn make(folder: &Path, pictures: usize) -> Result<String, Box<dyn std::error::Error>> {
    let mut rows = String::from("path,label,split\n");
    let names: Vec<(String, String)> = (0..CLASSES)
        .map(|class| {
            let class = format!("n{:08}", 1_440_764 + 7 * class);
            (format!("train/{class}/{class}_10026.pgm"), class)
        })
        .collect();
    for (name, _) in &names {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        let mut picture = format!("P5 {SIDE} {SIDE} 255\n").into_bytes();
        picture.resize(picture.len() + SIDE * SIDE, 99);
        fs::write(file, picture)?;
    }
    for picture in 0..pictures + pictures / 25 {
        let (name, class) = &names[picture % CLASSES];
        let split = if picture < pictures { "train" } else { "val" };
        writeln!(rows, "{name},{class},{split}")?;
    }
    let list = folder.join("list.csv");
    fs::write(&list, rows)?;
    Ok(list.display().to_string())
}

fn measure(list: &str) -> Result<(), Box<dyn std::error::Error>> {
    let before = peak();
    let begin = Instant::now();
    let splits = open(list, &OpenOptions::default())?;
    let opened = begin.elapsed().as_secs_f64();
    let told: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
    if !told.is_empty() {
        return Err(told.join("\n").into());
    }
    let count = splits.train.len();
    println!("opened {count} pictures in {opened:.3} s, {:.1} MB more at most", peak() - before);
    let begin = Instant::now();
    let bytes: usize = (0..count).map(|index| splits.train.name(index).len()).sum();
    let seconds = begin.elapsed().as_secs_f64();
    println!("all names, {:.1} MB, in {seconds:.3} s", bytes as f64 / 1e6);
    let shape = splits.train.shape().ok_or("the pictures have one shape")?;
    let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.5; 3] };
    let preprocess = Preprocess { shape, resize: None, normalize };
    let transform = Transform::new(preprocess, Augment::default())?;
    let loader = Loader::new(splits.train, transform, LoaderOptions::train(256, 0, 0))?;
    let begin = Instant::now();
    let first = loader.epoch(3, loader.steps() * 9 / 10).next().ok_or("there is a batch")??;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "batch {} of epoch 3 after {seconds:.3} s, {:.1} MB more",
        first.step,
        peak() - before
    );
    Ok(())
}

/// The most memory that this process has held, in megabytes; 0 where the system does not say.
fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1e3
}

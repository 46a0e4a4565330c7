//! Times the decoding of JPEGs on one thread, here and by zune-jpeg: `cargo run --release -p
//! resnet-formats --example jpeg_speed -- FOLDER [ROUNDS]`.
//!
//! Prints microseconds a photo, each photo's best of all rounds (9 unless told) summed; a crop is
//! the middle 0.74 x 0.74 of a photo. Files that are declined here are left out, and counted.

use resnet_formats::jpeg::{Decoder, Picture, Stages};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: jpeg_speed FOLDER [ROUNDS]");
        std::process::exit(2);
    };
    let rounds = arguments.next().and_then(|word| word.parse().ok()).unwrap_or(9);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let photos: Vec<Vec<u8>> =
        files.iter().map(|file| std::fs::read(file).expect("a readable file")).collect();
    let (photos, declined): (Vec<_>, Vec<_>) =
        photos.iter().partition(|bytes| Picture::open(bytes, 1 << 27).is_ok());
    println!("{} photos, {} declined", photos.len(), declined.len());

    let mut decoder = Decoder::new(Stages::PORTABLE);
    let mut pixels = Vec::new();
    let mut part = |bytes: &[u8], share: f64, rows: f64| {
        let picture = Picture::open(bytes, 1 << 27).expect("a header");
        let middle = |side: usize, share: f64| {
            let size = ((side as f64 * share) as usize).max(1);
            (side - size) / 2..(side - size) / 2 + size
        };
        let (columns, rows) = (middle(picture.width(), share), middle(picture.height(), rows));
        decoder.decode(&picture, columns, rows, &mut pixels).expect("a photo");
        black_box(&pixels);
    };
    type Way<'a> = (&'a str, Box<dyn FnMut(&[u8]) + 'a>);
    let part = std::cell::RefCell::new(&mut part);
    let mut ways: [Way; 4] = [
        (
            "zune-jpeg, whole",
            Box::new(|bytes| {
                black_box(JpegDecoder::new(ZCursor::new(bytes)).decode().expect("a photo"));
            }),
        ),
        ("whole", Box::new(|bytes| part.borrow_mut()(bytes, 1.0, 1.0))),
        ("crop of 0.74 x 0.74", Box::new(|bytes| part.borrow_mut()(bytes, 0.74, 0.74))),
        // All rows are decoded, and next to none transformed.
        (
            "entropy-coded data, and one column",
            Box::new(|bytes| part.borrow_mut()(bytes, 0.0, 1.0)),
        ),
    ];
    let mut best = vec![[Duration::MAX; 4]; photos.len()];
    for _ in 0..rounds {
        for (bytes, best) in photos.iter().zip(&mut best) {
            for ((_, way), best) in ways.iter_mut().zip(best) {
                let start = Instant::now();
                way(bytes);
                *best = start.elapsed().min(*best);
            }
        }
    }
    for (index, (name, _)) in ways.iter().enumerate() {
        let sum: Duration = best.iter().map(|best| best[index]).sum();
        println!("{name}: {:.0} us a photo", sum.as_secs_f64() * 1e6 / photos.len() as f64);
    }
}

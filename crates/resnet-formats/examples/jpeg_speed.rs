//! Times the decoding of JPEGs on one thread, here and by zune-jpeg: `cargo run --release -p
//! resnet-formats --example jpeg_speed -- FOLDER [ROUNDS]`.
//!
//! Prints microseconds a photo, each photo's best of all rounds (9 unless told) summed; a crop is
//! the middle 0.74 x 0.74 of a photo. Files that are declined here are left out, and counted.

#[path = "../tests/craft/jpeg.rs"]
mod craft;

use craft::stages;
use resnet_formats::jpeg::{Decoder, Picture};
use std::hint::black_box;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

/// A way to decode a photo, with its name.
type Way = (String, Box<dyn FnMut(&[u8])>);

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

    let mut ways: Vec<Way> = vec![(
        "zune-jpeg, whole".to_owned(),
        Box::new(|bytes| {
            black_box(JpegDecoder::new(ZCursor::new(bytes)).decode().expect("a photo"));
        }),
    )];
    // The last one decodes all rows, and transforms next to nothing.
    let parts = [("whole", 1.0, 1.0), ("crop of 0.74 x 0.74", 0.74, 0.74), ("a column", 0.0, 1.0)];
    for (stages_name, stages) in stages() {
        for (name, width, height) in parts {
            let (mut decoder, mut pixels) = (Decoder::new(stages), Vec::new());
            let way = move |bytes: &[u8]| {
                let picture = Picture::open(bytes, 1 << 27).expect("a header");
                let columns = middle(picture.width(), width);
                let rows = middle(picture.height(), height);
                decoder.decode(&picture, columns, rows, &mut pixels).expect("a photo");
                black_box(&pixels);
            };
            ways.push((format!("{stages_name}, {name}"), Box::new(way)));
        }
    }
    let mut best = vec![vec![Duration::MAX; ways.len()]; photos.len()];
    for _ in 0..rounds {
        for ((_, way), index) in ways.iter_mut().zip(0..) {
            for (bytes, best) in photos.iter().zip(&mut best) {
                let start = Instant::now();
                way(bytes);
                best[index] = start.elapsed().min(best[index]);
            }
        }
    }
    for ((name, _), index) in ways.iter().zip(0..) {
        let sum: Duration = best.iter().map(|best: &Vec<Duration>| best[index]).sum();
        println!("{name}: {:.0} us a photo", sum.as_secs_f64() * 1e6 / photos.len() as f64);
    }
}

/// The middle of a side, so large a share of it, but at least a pixel.
fn middle(side: usize, share: f64) -> Range<usize> {
    let size = ((side as f64 * share) as usize).max(1);
    (side - size) / 2..(side - size) / 2 + size
}

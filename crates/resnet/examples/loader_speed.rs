//! Times what makes training inputs of photos, on one thread: files to normalised numbers with
//! random resized crops and flips, and the two halves of it, decoding and the rest.
//!
//! ```text
//! cargo run --release -p resnet --example loader_speed -- DATA [ROUNDS]
//! ```
//!
//! DATA is a folder of class folders of photos. Prints one line of JSON: microseconds a photo,
//! medians of rounds, and a sum over the bits of all numbers, by which two builds are compared.

use std::error::Error;
use std::time::Instant;

use resnet::Shape;
use resnet::data::{
    self, Augment, Image, Loader, LoaderOptions, Normalize, OpenOptions, Preprocess,
    RandomResizedCrop, Transform,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: loader_speed DATA [ROUNDS]")?;
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let photos = data::open(&folder, &OpenOptions::default())?.train;
    let normalize =
        Normalize::Channel { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] };
    let preprocess = Preprocess { shape: Shape::new(3, 224, 224), resize: Some(256), normalize };
    let crop = Some(RandomResizedCrop::default());
    let augment = Augment { flip: true, random_resized_crop: crop, ..Augment::default() };
    let transform = Transform::new(preprocess, augment)?;
    let options = LoaderOptions { shuffle: false, ..LoaderOptions::train(1, 0, 0) };
    let loader = Loader::new(photos.clone(), transform.clone(), options)?;
    let count = photos.len();
    let mut images = vec![Image::default(); count];
    let mut x = vec![0.0; transform.shape().len()];
    let (mut files, mut decoding, mut rest, mut bits) = (vec![], vec![], vec![], 0u64);
    for epoch in 0..rounds as u64 {
        let start = Instant::now();
        for batch in loader.epoch(epoch, 0) {
            let batch = batch?;
            bits = batch
                .x
                .iter()
                .step_by(97)
                .fold(bits, |sum, x| sum.rotate_left(5).wrapping_add(u64::from(x.to_bits())));
        }
        files.push(start.elapsed());
        let start = Instant::now();
        for (index, image) in images.iter_mut().enumerate() {
            photos.read(index, image)?;
        }
        decoding.push(start.elapsed());
        let start = Instant::now();
        for (index, image) in images.iter().enumerate() {
            transform.train(0, epoch, index as u64, image, &mut x);
        }
        rest.push(start.elapsed());
    }
    let [files, decoding, rest] = [files, decoding, rest].map(|mut times| {
        times.sort();
        times[rounds / 2].as_secs_f64() * 1e6 / count as f64
    });
    println!(
        "{{\"photos\": {count}, \"rounds\": {rounds}, \"files_us\": {files:.1}, \
         \"whole_decoding_us\": {decoding:.1}, \"resize_normalise_us\": {rest:.1}, \
         \"bits\": \"{bits:016x}\"}}"
    );
    Ok(())
}

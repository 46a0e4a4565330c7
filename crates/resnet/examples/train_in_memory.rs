//! Trains on pictures in memory, keeps the run in a directory, and loads the model again.
//! `cargo run --release -p resnet --example train_in_memory`

use resnet::data::{Dataset, Image, Memory};
use resnet::train::event::Event;
use resnet::{Model, Shape, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::temp_dir().join(format!("train-in-memory-{}", std::process::id()));
    let trainer = Trainer::new("resnet8").set("epochs", 8).set("batch", 16).set("lr", 0.05);
    let trainer = trainer.data(discs(256)).evaluate_on(discs(64)).out(&out).on_event(|event| {
        if let Event::Evaluated(e) = event {
            println!("epoch {}: top-1 {:.1} %", e.epoch, 100.0 * e.top1);
        }
    });
    println!("{} steps, model and page in {}", trainer.run()?.ended.steps, out.display());

    let predictor = Model::load(&out.join("model.safetensors"))?.predictor()?;
    let mut picture = Image::default();
    discs(2).read(1, &mut picture)?;
    println!("a picture with a disc: {:?}", predictor.image(&picture, 1)?[0]);
    Ok(std::fs::remove_dir_all(out)?)
}

/// Colour pictures of 16 x 16 pixels; odd ones show a disc, somewhere.
fn discs(count: usize) -> Memory {
    let pixel = |i: usize, y: usize, x: usize| {
        let inside = y.abs_diff(5 + i * 7 % 6).pow(2) + x.abs_diff(5 + i * 3 % 6).pow(2) <= 16;
        if inside && i % 2 == 1 { [230, 200, 40] } else { [40, 60, 90 + (i * 13 % 60) as u8] }
    };
    let places = (0..count * 256).map(|p| (p / 256, p / 16 % 16, p % 16));
    let pixels = places.flat_map(|(i, y, x)| pixel(i, y, x)).collect();
    let labels = (0..count as u32).map(|i| i % 2).collect();
    let classes = vec!["nothing".into(), "disc".into()];
    Memory::new("discs", Shape::new(3, 16, 16), pixels, labels, classes).expect("lengths agree")
}

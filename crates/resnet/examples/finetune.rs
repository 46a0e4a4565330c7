//! Teaches a trained network other classes: its last layer first, then all of it, gently.
//! `cargo run --release -p resnet --example finetune [MODEL DATA]`

use std::sync::Arc;

use resnet::data::{DataError, Dataset, Memory, OpenOptions, open};
use resnet::{Model, Shape, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, data): (Model, Arc<dyn Dataset>) = match &arguments[..] {
        [model, data] => (Model::load(model.as_ref())?, open(data, &OpenOptions::default())?.train),
        // A network that has begun to learn ten kinds of clothes.
        _ => (Trainer::new("resnet8").set("steps", 60).run()?.model, Arc::new(lamps()?)),
    };
    println!("{} knows {}", model.arch.name(), model.classes.join(", "));
    let trainer = Trainer::recipe("finetune").start_from(model).data(data);
    let trainer = trainer.set("steps", 60).set("lr", 0.02);
    let trained = trainer.set("freeze", "50%").run()?; // so long only the last layer is trained
    println!("now it knows {}", trained.model.classes.join(", "));
    println!("top-1 {:.1} % of those held out", 100.0 * trained.ended.top1.unwrap_or(0.0));
    Ok(())
}

/// Grey pictures of 28 x 28 pixels, every second one bright.
fn lamps() -> Result<Memory, DataError> {
    let shape = Shape::new(1, 28, 28);
    let pixels = (0..64 * shape.len()).map(|p| (p / shape.len() % 2 * 150 + p * 7 % 90) as u8);
    let labels: Vec<u32> = (0..64).map(|i| i % 2).collect();
    Memory::new("lamps", shape, pixels.collect(), labels, vec!["off".into(), "on".into()])
}

//! Teaches a trained network other classes: its last layer first, then all of it, gently.
//! `cargo run --release -p resnet --example finetune [MODEL DATA]`

use resnet::data::{Memory, OpenOptions, open};
use resnet::{Model, Shape, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, data) = match &arguments[..] {
        [model, data] => (Model::load(model.as_ref())?, open(data, &OpenOptions::default())?),
        _ => (beginner()?, open("builtin", &OpenOptions::default())?),
    };
    println!("{} knows {}", model.arch.name(), model.classes.join(", "));
    let trainer = Trainer::recipe("finetune").start_from(model).data(data.train);
    let trainer = trainer.set("steps", 60).set("lr", 0.02);
    let trained = trainer.set("freeze", "50%").run()?; // so long only the last layer is trained
    println!("now it knows {}", trained.model.classes.join(", "));
    println!("top-1 {:.1} % of those held out", 100.0 * trained.ended.top1.unwrap_or(0.0));
    Ok(())
}

/// A network that has learnt something: to tell bright pictures from dark ones.
fn beginner() -> Result<Model, Box<dyn std::error::Error>> {
    let shape = Shape::new(1, 28, 28);
    let pixels = (0..64 * shape.len()).map(|p| (p / shape.len() % 2 * 150 + p * 7 % 90) as u8);
    let labels: Vec<u32> = (0..64).map(|i| i % 2).collect();
    let classes = vec!["dark".into(), "bright".into()];
    let data = Memory::new("grey", shape, pixels.collect(), labels, classes)?;
    Ok(Trainer::new("resnet8").set("steps", 20).set("batch", 8).data(data).run()?.model)
}

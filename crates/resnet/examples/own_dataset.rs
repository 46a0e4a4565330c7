//! Trains on a data set of one's own: any type that gives pictures by index.
//! `cargo run --release -p resnet --example own_dataset`

use resnet::Trainer;
use resnet::data::{DataError, Dataset, Image};

/// Pictures that are drawn when they are asked for: checkerboards of two sizes.
struct Boards(Vec<String>);

impl Dataset for Boards {
    fn len(&self) -> usize {
        120
    }
    fn classes(&self) -> &[String] {
        &self.0
    }
    fn label(&self, index: usize) -> u32 {
        index as u32 % 2
    }
    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        let (side, field) = (20 + index % 8, [2, 5][index % 2]);
        let white = |p: usize| (p / side / field + p % side / field).is_multiple_of(2);
        let pixels = (0..side * side).flat_map(|p| if white(p) { [250; 3] } else { [20, 40, 60] });
        *image = Image::rgb(side, side, pixels.collect());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boards = Boards(vec!["fine".into(), "coarse".into()]);
    let trainer = Trainer::new("resnet8").set("epochs", 6).set("batch", 8).set("crop", 16);
    let trained = trainer.data(boards).run()?;
    println!("top-1 {:.1} % of those held out", 100.0 * trained.ended.top1.unwrap_or(0.0));
    Ok(())
}

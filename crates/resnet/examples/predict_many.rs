//! Classifies many pictures on all cores, and single ones from several threads, with one model.
//! `cargo run --release -p resnet --example predict_many [MODEL PICTURE...]`

use std::ops::ControlFlow::Continue;

use resnet::data::{DataError, Dataset, Image, OpenOptions, open};
use resnet::{Model, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<std::path::PathBuf> = std::env::args_os().skip(2).map(Into::into).collect();
    if let Some(model) = std::env::args_os().nth(1) {
        let predictor = Model::load(model.as_ref())?.predictor()?;
        let answer = |i: usize| predictor.file(&files[i], 1);
        predictor.each(files.len(), answer, |i, guesses| {
            let text = guesses.map_or_else(|e| e.to_string(), |g| g[0].label.clone());
            println!("{}: {text}", files[i].display());
            Continue(())
        });
        return Ok(());
    }
    let predictor = Trainer::new("resnet8").set("steps", 60).run()?.model.predictor()?;
    let pictures = open("builtin", &OpenOptions::default())?.test.ok_or("no test pictures")?;
    let read = |i: usize| -> Result<Image, DataError> {
        let mut image = Image::default();
        pictures.read(i, &mut image).map(|()| image)
    };
    let answer = |i: usize| predictor.image(&read(i)?, 1);
    let mut right = 0;
    predictor.each(200, answer, |i, guesses| {
        right += usize::from(guesses.is_ok_and(|g| g[0].class == pictures.label(i) as usize));
        Continue(())
    });
    println!("{right} of 200 right");
    std::thread::scope(|scope| {
        (0..3).for_each(|i| drop(scope.spawn(move || println!("picture {i}: {:?}", answer(i)))));
    });
    Ok(())
}

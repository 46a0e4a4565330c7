//! Writes what a network says of pictures for other programs: a safetensors file with the `logits`,
//! the `embedding` (what the last layer reads) and the `labels` of some data's test pictures, or of
//! another part.
//! `cargo run --release -p resnet --example save_features [MODEL DATA OUT [PART]]`

use std::ops::ControlFlow::{Break, Continue};

use resnet::data::{Dataset, Image, OpenOptions, open};
use resnet::measure::evaluate::UseError;
use resnet::measure::predict::Ask;
use resnet::{Model, Trainer};
use resnet_formats::{Array, Data, Tensors, safetensors};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |i: usize| args.get(i).map(String::as_str);
    let model = match given(0) {
        Some(file) => Model::load(file.as_ref())?,
        None => Trainer::new("resnet8").set("steps", 20).run()?.model,
    };
    let options = OpenOptions { one_class: true, ..OpenOptions::default() };
    let splits = open(given(1).unwrap_or("builtin"), &options)?;
    let (name, data) = splits.part(given(3).unwrap_or("test")).ok_or("no such part")?;
    let predictor = model.predictor()?;
    let answer = |i: usize| {
        let mut image = Image::default();
        data.read(i, &mut image)?;
        predictor.answer(&image, Ask { embedding: true, ..Ask::default() })
    };
    let (mut logits, mut embeddings, mut failed) = (Vec::new(), Vec::new(), None);
    predictor.each(data.len(), answer, |_, answer: Result<_, UseError>| match answer {
        Ok(answer) => {
            logits.extend(answer.logits);
            embeddings.extend(answer.embedding.unwrap_or_default());
            Continue(())
        }
        Err(error) => {
            failed = Some(error);
            Break(())
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (n, width) = (data.len(), embeddings.len() / data.len());
    let labels = (0..n).map(|i| i64::from(data.label(i))).collect();
    let mut tensors = Tensors::default();
    tensors.insert("logits", Array::f32(vec![n, logits.len() / n], logits));
    tensors.insert("embedding", Array::f32(vec![n, width], embeddings));
    tensors.insert("labels", Array::new(vec![n], Data::I64(labels)).ok_or("a label a picture")?);
    println!("{n} pictures of {name}, {width} features each");
    if let Some(out) = given(2) {
        safetensors::write(&tensors, std::fs::File::create(out)?)?;
    }
    Ok(())
}

//! Rewrites weights in another format: `cargo run -p resnet-formats --example convert -- IN OUT
//! [f32|f16|bf16]`.
//!
//! Both names end in `.safetensors`, or in `.pth`, `.pt` or `.th`. Says what was unwrapped and what
//! was left out.

use resnet_formats::{Array, DataType, Tensors, pth, safetensors};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, output, stored) = match arguments.as_slice() {
        [input, output] => (input, output, None),
        [input, output, kind] => {
            let kind = match kind.as_str() {
                "f32" => DataType::F32,
                "f16" => DataType::F16,
                "bf16" => DataType::BF16,
                other => return Err(format!("`{other}`: expected f32, f16 or bf16").into()),
            };
            (input, output, Some(kind))
        }
        _ => return Err("expected IN OUT [f32|f16|bf16]".into()),
    };
    let mut tensors = read(input)?;
    if let Some(kind) = stored {
        let convert = |array: &mut Array| {
            if let Some(converted) = array.to_float(kind) {
                *array = converted;
            }
        };
        tensors.entries.values_mut().for_each(convert);
    }
    let to = BufWriter::new(File::create(output)?);
    if output.ends_with(".safetensors") {
        safetensors::write(&tensors, to)?;
    } else {
        pth::write(&tensors, to)?;
    }
    println!("{} tensors", tensors.entries.len());
    Ok(())
}

fn read(name: &str) -> Result<Tensors, Box<dyn Error>> {
    let from = File::open(name)?;
    if name.ends_with(".safetensors") {
        let len = from.metadata()?.len();
        return Ok(safetensors::read_from(from, len)?);
    }
    let found = pth::read_from(from)?;
    println!("found under {:?}, without \"{}\"", found.path, found.prefix);
    for (name, what) in &found.ignored {
        println!("left out: {name}: {what}");
    }
    Ok(found.tensors)
}

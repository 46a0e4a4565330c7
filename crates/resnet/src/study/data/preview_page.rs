//! The page about what training makes of pictures.

use super::preview::{Mixed, Preview, Previewed};
use super::shown;
use crate::data::{Augment, Normalize, Preprocess};
use crate::page::charts::format::{self, percent, plural, thousands};
use crate::page::charts::page::{Page, Stat};

pub(super) fn render(preview: &Preview, command: &str) -> String {
    let lead = format!(
        "What training {} makes of these pictures before the network sees them.",
        preview.arch
    );
    let mut page = Page::new(&preview.source, "Training inputs", &lead);
    page.stats(&key_numbers(preview));
    page.section("steps", "What is done", "");
    page.pairs(&steps(preview));
    pictures(&mut page, preview);
    batch(&mut page, preview);
    if !command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn key_numbers(preview: &Preview) -> Vec<Stat> {
    let stat = |name: &str, value: String, note: String| Stat { name: name.into(), value, note };
    let shape = preview.preprocess.shape;
    let channels = if shape.c == 1 { "grey" } else { "red, green and blue" };
    vec![
        stat("Input", format!("{} x {}", shape.w, shape.h), format!("pixels, {channels}")),
        stat(
            "Training pictures",
            thousands(preview.images as u64),
            format!("{} a step", thousands(preview.batch_size as u64)),
        ),
        stat("Seed", preview.seed.to_string(), "another one draws other crops".into()),
    ]
}

/// Each step in a sentence, in order.
fn steps(preview: &Preview) -> Vec<(String, String)> {
    let pair = |name: &str, text: String| (name.to_string(), text);
    let Preview { preprocess, augment, sizes, .. } = preview;
    let mut steps = vec![pair("in training", varied(preprocess, augment))];
    let flip = match augment.flip {
        true => "Mirrored left and right, half of the time, in training.",
        false => "Never: left stays left.",
    };
    steps.push(pair("mirroring", flip.into()));
    steps.push(pair("in evaluation", evaluated(preprocess)));
    steps.extend(sizes.as_ref().map(|sizes| pair("sizes", sizes.clone())));
    let numbers = match &preprocess.normalize {
        Normalize::Channel { mean, std } => format!(
            "Each channel less its mean ({}), over its deviation ({}); both are of 0 to 1. Undone on this page.",
            list(mean),
            list(std)
        ),
        Normalize::Pixel { .. } => {
            "Each pixel less its mean over the training pictures. Undone on this page, only nearly \
             where a crop or mirroring moves it."
                .into()
        }
    };
    steps.push(pair("numbers", numbers));
    let mixed = match preview.mixup > 0.0 {
        true => format!(
            "Pairs of a batch are laid over each other (mixup), with one share a batch, of Beta({0}, {0}).",
            preview.mixup
        ),
        false => "Nothing: each picture is on its own.".into(),
    };
    steps.push(pair("mixing", mixed));
    steps
}

fn varied(preprocess: &Preprocess, augment: &Augment) -> String {
    let shape = preprocess.shape;
    let size = format!("{} x {}", shape.w, shape.h);
    if let Some(crop) = &augment.random_resized_crop {
        let (least, most) = (percent(crop.scale.0, 0), percent(crop.scale.1, 0));
        return format!(
            "A random part, {least} to {most} of the picture's area and {:.2} to {:.2} times as wide as high, resized to {size}.",
            crop.ratio.0, crop.ratio.1
        );
    }
    let first = match preprocess.resize {
        Some(side) => format!("The shorter side is resized to {side}; "),
        None => "The picture is resized to cover the input, if it is of another size; ".into(),
    };
    let then = match augment.pad {
        0 => format!("the middle {size} is used."),
        pad => format!(
            "then {} are put around it, and {size} is cut out at a random place. What is around has the mean's colour.",
            plural(pad as u64, "pixel")
        ),
    };
    first + &then
}

fn evaluated(preprocess: &Preprocess) -> String {
    let shape = preprocess.shape;
    let size = format!("{} x {}", shape.w, shape.h);
    match preprocess.resize {
        Some(side) => {
            format!("The shorter side is resized to {side}; the middle {size} is used, every time.")
        }
        None => format!("Resized to cover {size}, if it is of another size; the middle is used."),
    }
}

fn list(numbers: &[f32]) -> String {
    let texts: Vec<String> = numbers.iter().map(|x| format!("{x:.3}")).collect();
    texts.join(", ")
}

fn pictures(page: &mut Page, preview: &Preview) {
    page.section(
        "pictures",
        "Pictures and their inputs",
        "The original, with a frame around what an evaluation uses; that input; then what the first epochs of a run with this \
         seed make of it. A picture whose subject is cut off or too small here teaches the wrong thing.",
    );
    for picture in &preview.pictures {
        self::picture(page, picture);
    }
}

fn picture(page: &mut Page, picture: &Previewed) {
    let Previewed { name, class, size, original, part, eval, train } = picture;
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    page.heading(&format!("{class}: {file}"));
    page.markup().open("ul", &[("class", &"pictures inputs")]);
    let pixels = format!("{} x {}", size.0, size.1);
    let alt = format!("{name}, {pixels} pixels, and what an evaluation uses of it");
    shown::original(page, original, *part, &alt, &["original", &pixels]);
    shown::picture(page, eval, &format!("{file} as evaluation has it"), &["evaluation"]);
    for made in train {
        let epoch = format!("epoch {}", made.epoch + 1);
        shown::picture(page, &made.input, &format!("{file} in {epoch}"), &[&epoch]);
    }
    page.markup().close();
}

fn batch(page: &mut Page, preview: &Preview) {
    if preview.batch.is_empty() {
        return;
    }
    let shown = preview.batch.len();
    let which = match shown < preview.batch_size {
        true => format!("The first {shown} of {} pictures", thousands(preview.batch_size as u64)),
        false => format!("All {}", plural(shown as u64, "picture")),
    };
    let mixed = match preview.mixup > 0.0 {
        true => {
            " Below each, what the network is to answer: the classes of a mixed pair with their shares."
        }
        false => " Below each, its class.",
    };
    page.section(
        "batch",
        "The first step",
        &format!("{which} that the run's first step learns from, as the network gets them.{mixed}"),
    );
    page.markup().open("ul", &[("class", &"pictures inputs")]);
    for Mixed { input, wanted } in &preview.batch {
        let text = |(class, share): &(String, f32)| match wanted.len() {
            1 => class.clone(),
            _ => format!("{class} {}", self::share(*share)),
        };
        let lines: Vec<String> = wanted.iter().map(text).collect();
        let alt = lines.join(format!(",{}", format::NBSP).as_str());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        shown::picture(page, input, &alt, &lines);
    }
    page.markup().close();
}

/// A share that is neither nothing nor all, and does not look so.
fn share(share: f32) -> String {
    match share {
        ..0.005 => format!("below 1{}%", format::NBSP),
        0.995.. => format!("above 99{}%", format::NBSP),
        share => percent(f64::from(share), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Image, RandomResizedCrop};
    use resnet_engine::graph::Shape;

    fn example() -> Preview {
        let image = Image { width: 4, height: 2, channels: 3, pixels: vec![90; 24] };
        let made = |epoch| super::super::Made { epoch, input: image.clone() };
        let picture = Previewed {
            name: "photos/a<b>/1.jpg".into(),
            class: "a<b>".into(),
            size: (400, 200),
            original: image.clone(),
            part: [0.0, 1.0, 2.0, 2.0],
            eval: image.clone(),
            train: vec![made(0), made(1)],
        };
        let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
        let wanted = vec![("a<b>".to_string(), 0.75), ("c".to_string(), 0.25)];
        Preview {
            source: "photos".into(),
            arch: "resnet18".into(),
            seed: 7,
            images: 1200,
            preprocess: Preprocess { shape: Shape::new(3, 2, 2), resize: Some(2), normalize },
            augment: Augment {
                flip: true,
                random_resized_crop: Some(RandomResizedCrop::default()),
                ..Augment::default()
            },
            mixup: 0.2,
            sizes: None,
            pictures: vec![picture],
            batch: vec![Mixed { input: image, wanted }],
            batch_size: 32,
        }
    }

    #[test]
    fn the_page_says_what_is_done() {
        let page = render(&example(), "a look at photos");
        for text in [
            "epoch 1",
            "epoch 2",
            "a&lt;b&gt;: 1.jpg",
            "400 x 200",
            "Beta(0.2, 0.2)",
            "a random part, ",
            "8\u{a0}% to 100\u{a0}% of the picture",
            "a&lt;b&gt; 75\u{a0}%",
            "The first 1 of 32 pictures",
            "a look at photos",
        ] {
            assert!(page.to_lowercase().contains(&text.to_lowercase()), "{text}: {page}");
        }
        assert!(!page.contains("a<b>") && !page.contains("http"));
        assert_eq!(
            [0.001, 0.01, 0.5, 0.999].map(|part| share(part).replace(format::NBSP, " ")),
            ["below 1 %", "1 %", "50 %", "above 99 %",]
        );
        let plain =
            Preview { augment: Augment { pad: 4, ..Augment::default() }, mixup: 0.0, ..example() };
        let page = render(&plain, "");
        assert!(
            page.contains("4\u{a0}pixels are put around it") && page.contains("left stays left")
        );
        assert!(!page.contains("Beta(") && !page.contains("How to repeat it"));
    }
}

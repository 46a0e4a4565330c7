use super::super::testing::{TempDir, flat_png, jpeg, pattern};
use super::super::{Normalize, open};
use super::*;

fn looked(source: &str, sample: Sample) -> Stats {
    Opened::open(source).unwrap().stats(sample, &|_| ()).unwrap()
}

#[test]
fn files_are_counted_and_measured() {
    let dir = TempDir::new("stats");
    dir.write("train/cats/1.png", &flat_png(20, 10, [255, 0, 51]));
    dir.write("train/cats/2.png", &flat_png(10, 10, [51, 51, 51]));
    dir.write("train/dogs/1.jpg", &jpeg(&pattern(30, 40, 3), 90));
    dir.write("train/dogs/notes.txt", b"none");
    dir.write("val/cats/1.png", &flat_png(20, 10, [0, 0, 0]));
    let cut = jpeg(&pattern(64, 64, 3), 90);
    // The end is there, so that the header is in order, and the middle is missing.
    let cut = [&cut[..cut.len() / 2], &[0xff, 0xd9]].concat();
    dir.write("val/dogs/cut.jpg", &cut);
    let stats = looked(dir.text(), Sample::Usual);
    assert_eq!((stats.images, stats.unusable, stats.decoded), (5, 1, 5));
    let counts = |split: &SplitStats| -> Vec<usize> {
        split.part.classes.iter().map(|class| class.images).collect()
    };
    assert_eq!(stats.splits.iter().map(counts).collect::<Vec<_>>(), [[2, 1], [1, 1]]);
    let formats: Vec<_> = stats.formats.iter().map(|of| (of.format, of.images)).collect();
    assert_eq!(formats, [("PNG", 3), ("JPEG", 2)]);
    let sizes = stats.sizes.unwrap();
    assert_eq!(sizes.width, Range { least: 10, median: 20, most: 64 });
    assert_eq!((sizes.common[0].width, sizes.common[0].images), (20, 2));
    assert_eq!(stats.grey, 2);
    let bytes = stats.bytes.unwrap();
    assert!(bytes.least < bytes.most && stats.total_bytes > bytes.most);
    assert_eq!(stats.formats.iter().map(|of| of.bytes).sum::<u64>(), stats.total_bytes);
    let json = serde_json::to_value(looked(dir.text(), Sample::Pictures(2))).unwrap();
    assert_eq!((&json["decoded"], &json["splits"][0]["split"]), (&2.into(), &"train".into()));
}

#[test]
fn mean_and_deviation_are_those_that_training_normalises_by() {
    let dir = TempDir::new("stats-moments");
    for (name, side) in [("a/1", 5), ("a/2", 17), ("b/1", 40), ("b/2", 9)] {
        dir.write(&format!("{name}.jpg"), &jpeg(&pattern(side, side + 3, 3), 90));
    }
    for source in [dir.text(), "builtin"] {
        let data = open(source, &OpenOptions::default()).unwrap().train;
        let expected = Normalize::channel(data.as_ref(), data.channels()).unwrap();
        let Normalize::Channel { mean, std } = expected else { panic!("not by channel") };
        let stats = looked(source, Sample::All);
        let found = &stats.splits[0];
        assert_eq!(found.mean.len(), mean.len());
        let near =
            |a: &[f64], b: &[f32]| a.iter().zip(b).all(|(a, b)| (*a as f32 - b).abs() < 1e-6);
        assert!(near(&found.mean, &mean) && near(&found.std, &std), "{source}: {found:?}");
    }
}

#[test]
fn arrays_have_sizes_and_no_files() {
    let stats = looked("builtin", Sample::Pictures(100));
    assert_eq!((stats.decoded, stats.grey), (100, 100));
    assert_eq!(stats.sizes.unwrap().width, Range { least: 28, median: 28, most: 28 });
    assert!(stats.formats.is_empty() && stats.bytes.is_none());
    assert!(stats.splits.len() > 1 && stats.splits[0].mean.len() == 1);
    let opened = Opened::open("builtin").unwrap();
    assert_eq!(opened.sampled(Sample::Usual), opened.images());
}

#[test]
fn contacts_are_of_every_class() {
    let dir = TempDir::new("stats-contacts");
    for number in 0..9 {
        dir.write(&format!("a/{number}.png"), &flat_png(60, 30, [number, 0, 0]));
    }
    dir.write("b/1.png", &flat_png(6, 3, [0, 9, 0]));
    dir.write("c/1.png", &flat_png(6, 3, [0, 0, 9]));
    let opened = Opened::open(dir.text()).unwrap();
    let contacts = opened.contacts(10, 3, 20).unwrap();
    let shown: Vec<_> =
        contacts.iter().map(|of| (of.class.as_str(), of.images, of.pictures.len())).collect();
    assert_eq!(shown, [("a", 9, 3), ("b", 1, 1), ("c", 1, 1)]);
    let reds: Vec<u8> = contacts[0].pictures.iter().map(|(_, image)| image.pixels[0]).collect();
    assert_eq!(reds, [1, 4, 7]);
    let (name, image) = &contacts[0].pictures[0];
    assert!(name.ends_with("1.png") && (image.width, image.height) == (20, 10), "{name}");
    let few: Vec<_> = opened.contacts(2, 1, 20).unwrap().into_iter().map(|of| of.class).collect();
    assert_eq!(few, ["a", "b"]);
}

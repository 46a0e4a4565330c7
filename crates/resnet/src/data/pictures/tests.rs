use std::path::Path;
use std::sync::Arc;

use resnet_engine::graph::Shape;

use super::super::check::{Depth, Kind, check};
use super::super::testing::{TempDir, flat_png, tar, zip};
use super::super::{
    Augment, Dataset, Loader, LoaderOptions, Normalize, OpenOptions, Preprocess, Splits, Transform,
    index, open,
};

/// The pictures of a folder, as files and in everything that packs them in its order.
struct Packed {
    dir: TempDir,
    places: Vec<String>,
}

fn packed(name: &str) -> Packed {
    let dir = TempDir::new(name);
    let mut files = Vec::new();
    for split in ["train", "val"] {
        for (c, class) in ["b", "a c", "B", "a"].iter().enumerate() {
            for n in 0..4 {
                let name = format!("{split}/{class}/{n}{}.png", if n == 2 { "/x-y" } else { "" });
                let tint = (c * 10 + n + if split == "val" { 100 } else { 0 }) as u8;
                files.push((name, class.to_string(), flat_png(12, 10, [tint, 7, 200 - tint])));
            }
        }
    }
    for (name, _, bytes) in &files {
        dir.write(&format!("folder/{name}"), bytes);
    }
    let mut rows = String::from("file_name,label,split\n");
    for (name, class, _) in files.iter().rev() {
        rows += &format!("folder/{name},{class},{}\n", name.split('/').next().unwrap());
    }
    dir.write("list.csv", rows.as_bytes());
    let members: Vec<(&str, &[u8])> =
        files.iter().map(|(name, _, bytes)| (name.as_str(), bytes.as_slice())).collect();
    dir.write("folders.tar", &tar(&members));
    let zipped: Vec<(&str, &[u8], bool)> = members
        .iter()
        .rev()
        .enumerate()
        .map(|(n, (name, bytes))| (*name, *bytes, n % 2 == 0))
        .collect();
    dir.write("folders.zip", &zip(&zipped));
    // Shards in the folder's order, three pictures in each.
    let folder = opened(dir.path().join("folder").to_str().unwrap());
    for (split, data) in [("train", folder.train), ("val", folder.test.unwrap())] {
        for first in (0..data.len()).step_by(3) {
            let mut shard: Vec<(String, Vec<u8>)> = Vec::new();
            for at in first..data.len().min(first + 3) {
                let class = &data.classes()[data.label(at) as usize];
                let bytes = std::fs::read(data.name(at)).unwrap();
                shard.push((format!("{at:06}.cls"), class.clone().into_bytes()));
                shard.push((format!("{at:06}.png"), bytes));
            }
            let members: Vec<(&str, &[u8])> =
                shard.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            dir.write(&format!("shards/{split}-{:04}.tar", first / 3), &tar(&members));
        }
    }
    let places = ["folder", "list.csv", "folders.tar", "folders.zip", "shards"];
    let places = places.iter().map(|name| dir.path().join(name).display().to_string()).collect();
    Packed { dir, places }
}

fn opened(place: &str) -> Splits {
    open(place, &OpenOptions::default()).unwrap()
}

/// The batches of two epochs, augmented, and of the evaluation.
fn batches(splits: &Splits) -> Vec<(Vec<f32>, Vec<u32>, Vec<u32>)> {
    let loader = |data: &Arc<dyn Dataset>, options: LoaderOptions| {
        let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
        let preprocess = Preprocess { shape: Shape::new(3, 8, 8), resize: None, normalize };
        let augment = Augment { pad: 2, flip: true, ..Augment::default() };
        let transform = Transform::new(preprocess, augment).unwrap();
        Loader::new(data.clone(), transform, options).unwrap()
    };
    let train = loader(&splits.train, LoaderOptions::train(5, 7, 2));
    let test = loader(splits.test.as_ref().unwrap(), LoaderOptions::eval(5, 0));
    let all = train.epoch(0, 0).chain(train.epoch(1, 1)).chain(test.epoch(0, 0));
    all.map(|batch| {
        let batch = batch.unwrap();
        (batch.x.clone(), batch.labels.clone(), batch.indices.clone())
    })
    .collect()
}

#[test]
fn batches_are_the_same_whatever_holds_the_pictures() {
    let Packed { places, dir: _dir } = packed("packed-same");
    let expected = opened(&places[0]);
    assert_eq!(expected.train.classes(), ["B", "a", "a c", "b"]);
    let expected = batches(&expected);
    assert_eq!(expected.len(), 3 + 2 + 4);
    for place in &places {
        let splits = opened(place);
        assert_eq!((splits.warnings.len(), splits.test_name.as_str()), (0, "val"), "{place}");
        assert!(batches(&splits) == expected, "{place}");
        index(place).unwrap();
        let splits = opened(place);
        assert!(splits.train.digest(super::fingerprint::BEGIN).is_some(), "{place}");
        assert!(batches(&splits) == expected, "{place}, indexed");
    }
}

#[test]
fn every_kind_is_checked() {
    let Packed { places, dir } = packed("packed-check");
    for place in &places {
        for depth in [Depth::Quick, Depth::Full] {
            let found = check(place, depth, &|_| {}).unwrap();
            assert_eq!(found.problems, [], "{place}");
            let counts: Vec<usize> = found.splits.iter().map(|split| split.images).collect();
            assert_eq!(counts, [16, 16], "{place}");
        }
    }
    let picture = flat_png(9, 9, [1, 2, 3]);
    let cut = &picture[..picture.len() - 9];
    let members: [(&str, &[u8]); 5] = [
        ("train/a/1.png", &picture),
        ("train/b/2.png", cut),
        ("train/b/notes.txt", b"x"),
        ("val/a/again.png", &picture),
        ("val/b/3.png", &flat_png(9, 9, [3, 2, 1])),
    ];
    let zipped: Vec<(&str, &[u8], bool)> = members.iter().map(|(n, b)| (*n, *b, true)).collect();
    for file in [dir.write("bad.tar", &tar(&members)), dir.write("bad.zip", &zip(&zipped))] {
        let found = check(file.to_str().unwrap(), Depth::Quick, &|_| {}).unwrap();
        let items = |kind: Kind| -> Vec<String> {
            let of_kind = found.problems.iter().filter(|problem| problem.kind == kind);
            of_kind.flat_map(|problem| problem.items.clone()).collect()
        };
        let name = |member: &str| Path::new(&file).join(member).display().to_string();
        let leak = format!("{} = {}", name("train/a/1.png"), name("val/a/again.png"));
        assert_eq!(items(Kind::Leak), [leak]);
        assert!(items(Kind::Corrupt)[0].starts_with(&name("train/b/2.png")), "{found:?}");
        assert!(items(Kind::Foreign)[0].starts_with(&name("train/b/notes.txt")), "{found:?}");
    }
}

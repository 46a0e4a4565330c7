use std::sync::atomic::AtomicUsize;

use super::super::testing::{Refused, TempDir, flat_png};
use super::*;
use crate::data::{Augment, Memory, Normalize, OpenOptions, Preprocess, open};
use resnet_engine::graph::Shape;

const SHAPE: Shape = Shape::new(1, 4, 4);

/// 37 pictures whose pixels tell their index.
fn numbered() -> Arc<dyn Dataset> {
    let pixels = (0..37u8).flat_map(|index| (0..16).map(move |pixel| index * 6 + pixel)).collect();
    let labels: Vec<u8> = (0..37).map(|index| index % 5).collect();
    let classes = (0..5).map(|label| format!("class {label}")).collect();
    Arc::new(Memory::new("train", SHAPE, pixels, labels, classes).unwrap())
}

fn transform(shape: Shape) -> Transform {
    let normalize =
        Normalize::Channel { mean: vec![0.0; shape.c], std: vec![1.0 / 255.0; shape.c] };
    let augment = Augment { pad: 1, flip: true, ..Augment::default() };
    Transform::new(Preprocess { shape, resize: None, normalize }, augment).unwrap()
}

fn loader(data: Arc<dyn Dataset>, options: LoaderOptions) -> Loader {
    Loader::new(data, transform(SHAPE), options).unwrap()
}

/// All that a trainer sees of a batch; the last are targets and weights.
type Seen = (usize, usize, Vec<f32>, Vec<u32>, Vec<u32>, Vec<f32>, Vec<f32>);

fn seen(loader: &Loader, epoch: u64, from: usize) -> Vec<Seen> {
    let batches = loader.epoch(epoch, from).map(|batch| {
        let batch = batch.unwrap();
        let (x, labels, indices) = (batch.x.clone(), batch.labels.clone(), batch.indices.clone());
        let (target, weight) = (batch.target.clone(), batch.weight.clone());
        (batch.step, batch.count, x, labels, indices, target, weight)
    });
    batches.collect()
}

#[test]
fn workers_change_nothing() {
    let mixing = Targets { mixup: 0.4, class_weights: vec![1.0, 2.0, 3.0, 4.0, 5.0] };
    let options = |workers| LoaderOptions {
        targets: Some(mixing.clone()),
        ..LoaderOptions::train(5, 11, workers)
    };
    let expected = [0, 1].map(|epoch| seen(&loader(numbered(), options(0)), epoch, 0));
    assert_eq!(expected[0].len(), 7);
    assert_ne!(expected[0], expected[1]);
    for workers in [1, 3, 20] {
        for prefetch in [0, 1, 4] {
            let options = LoaderOptions { prefetch, ..options(workers) };
            let loader = loader(numbered(), options);
            // The second time the buffers come back from the first.
            for epoch in [0, 1, 0] {
                assert_eq!(
                    seen(&loader, epoch, 0),
                    expected[epoch as usize],
                    "{workers} workers, {prefetch} ahead"
                );
            }
        }
    }
}

#[test]
fn a_resumed_epoch_is_the_rest_of_it() {
    for (workers, mixup) in [(0, 0.0), (2, 0.0), (0, 0.4), (2, 0.4)] {
        let targets = Some(Targets { mixup, ..Targets::default() });
        let options = LoaderOptions { targets, ..LoaderOptions::train(4, 3, workers) };
        let loader = loader(numbered(), options);
        let whole = seen(&loader, 5, 0);
        for from in 0..=whole.len() + 1 {
            assert_eq!(seen(&loader, 5, from), whole[from.min(whole.len())..]);
        }
    }
}

#[test]
fn shares_are_the_whole_epoch_cut() {
    let targets = Some(Targets { mixup: 0.4, ..Targets::default() });
    let training = LoaderOptions { targets, ..LoaderOptions::train(3, 11, 0) };
    for (options, drop_last) in [(training, true), (LoaderOptions::eval(3, 0), false)] {
        let whole = seen(&loader(numbered(), options.clone()), 2, 0);
        for cuts in [[0, 1, 2], [0, 2, 5], [0, 5, 8]] {
            let of = cuts[2];
            let end = if drop_last { whole.len() / of * of } else { whole.len() };
            for (mine, workers) in cuts.windows(2).flat_map(|cut| [0, 1, 3].map(|n| (cut, n))) {
                let mine = mine[0]..mine[1];
                let wanted = whole[..end].iter().filter(|batch| mine.contains(&(batch.0 % of)));
                let wanted: Vec<Seen> = wanted.cloned().collect();
                let share = Share { of, mine };
                let loader =
                    loader(numbered(), LoaderOptions { share, workers, ..options.clone() });
                assert_eq!(loader.steps(), wanted.len());
                for from in 0..=wanted.len() + 1 {
                    let rest = &wanted[from.min(wanted.len())..];
                    assert_eq!(seen(&loader, 2, from), rest, "{cuts:?}, {workers} workers, {from}");
                }
            }
        }
    }
}

#[test]
fn an_epoch_is_every_picture_once() {
    let data = numbered();
    let options = LoaderOptions { drop_last: false, ..LoaderOptions::train(8, 1, 1) };
    let mut order = Vec::new();
    for (_, count, _, labels, indices, ..) in seen(&loader(data.clone(), options), 0, 0) {
        for (&label, &index) in labels.iter().zip(&indices).take(count) {
            assert_eq!(label, data.label(index as usize));
            order.push(index);
        }
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..37).collect::<Vec<u32>>());
    assert_ne!(sorted, order);
    let another = LoaderOptions { drop_last: false, ..LoaderOptions::train(8, 2, 1) };
    assert_ne!(seen(&loader(data, another), 0, 0)[0].4, order[..8]);
}

#[test]
fn targets_are_those_of_the_labels() {
    // The order, a short last batch included, comes back in the same buffers.
    let options = LoaderOptions { drop_last: false, ..LoaderOptions::train(5, 11, 1) };
    let loader = loader(numbered(), options);
    for epoch in 0..3 {
        for (_, count, _, labels, _, target, weight) in seen(&loader, epoch, 0) {
            for (i, row) in target.chunks_exact(5).enumerate() {
                let wanted = |class| f32::from(u8::from(i < count && labels[i] == class));
                assert_eq!(row, [0, 1, 2, 3, 4].map(wanted));
                assert_eq!(weight[i], f32::from(u8::from(i < count)));
            }
            assert_eq!((target.len(), weight.len()), (25, 5));
        }
    }
}

#[test]
fn mixed_pictures_keep_their_labels_and_change_their_targets() {
    let made = |mixup| {
        let targets = Some(Targets { mixup, ..Targets::default() });
        seen(&loader(numbered(), LoaderOptions { targets, ..LoaderOptions::train(6, 11, 1) }), 1, 0)
    };
    for (plain, mixed) in made(0.0).iter().zip(&made(0.7)) {
        assert_eq!((&plain.3, &plain.4), (&mixed.3, &mixed.4));
        let part = mixed.5.iter().fold(0.0f32, |most, &t| if t < 1.0 { most.max(t) } else { most });
        for i in 0..6 {
            let (a, b) = (plain.3[i] as usize, plain.3[5 - i] as usize);
            let row = &mixed.5[i * 5..][..5];
            if a != b {
                assert!((row[a] - part).abs() < 1e-6 && (row[b] - 1.0 + part).abs() < 1e-6);
            }
            let input = |of: &Seen, i: usize| of.2[i * 16..][..16].to_vec();
            let own = input(plain, i).into_iter().zip(input(plain, 5 - i));
            for ((own, other), mixed) in own.zip(input(mixed, i)) {
                assert!((mixed - part * own - (1.0 - part) * other).abs() < 1e-3);
            }
        }
    }
    assert_ne!(made(0.7)[0].5, made(0.7)[1].5, "each batch has a part of its own");
}

#[test]
fn evaluation_is_in_order_with_a_short_end() {
    let data = numbered();
    let batches = seen(&loader(data, LoaderOptions::eval(10, 2)), 0, 0);
    assert_eq!(batches.len(), 4);
    let indices: Vec<u32> = batches.iter().flat_map(|batch| batch.4[..batch.1].to_vec()).collect();
    assert_eq!(indices, (0..37).collect::<Vec<u32>>());
    let (_, count, x, labels, indices, target, weight) = &batches[3];
    assert_eq!((*count, x.len(), labels.len(), indices.len()), (7, 160, 10, 10));
    assert_eq!(
        x[16..32].iter().map(|x| x.round() as u8).collect::<Vec<_>>(),
        (0..16).map(|p| 31 * 6 + p).collect::<Vec<_>>()
    );
    assert!(
        x[7 * 16..].iter().all(|&x| x == 0.0)
            && labels[7..] == [0, 0, 0]
            && indices[7..] == [0, 0, 0]
    );
    assert!(target.is_empty() && weight.is_empty());
}

/// Pictures of [`numbered`] of which some fail to be read, and one may panic.
struct Broken {
    data: Arc<dyn Dataset>,
    broken: &'static [usize],
    panics: Option<usize>,
    reads: AtomicUsize,
}

impl Broken {
    fn new(broken: &'static [usize], panics: Option<usize>) -> Arc<Broken> {
        Arc::new(Broken { data: numbered(), broken, panics, reads: AtomicUsize::new(0) })
    }
}

impl Dataset for Broken {
    fn len(&self) -> usize {
        self.data.len()
    }
    fn classes(&self) -> &[String] {
        self.data.classes()
    }
    fn label(&self, index: usize) -> u32 {
        self.data.label(index)
    }
    fn name(&self, index: usize) -> String {
        self.data.name(index)
    }
    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        assert_ne!(Some(index), self.panics, "picture {index} is cursed");
        if self.broken.contains(&index) {
            return Err(DataError::Picture {
                file: self.name(index).into(),
                reason: "is damaged".into(),
            });
        }
        self.data.read(index, image)
    }
    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }
    fn channels(&self) -> usize {
        self.data.channels()
    }
}

#[test]
fn a_broken_picture_stops_where_it_stands() {
    for workers in [0, 1, 3] {
        let options =
            LoaderOptions { on_broken: OnBroken::Fail, ..LoaderOptions::eval(5, workers) };
        let loader = loader(Broken::new(&[13, 14], None), options);
        let results: Vec<_> = loader
            .epoch(0, 0)
            .map(|batch| batch.map(|b| b.step).map_err(|e| e.to_string()))
            .collect();
        assert_eq!(
            results,
            [Ok(0), Ok(1), Err("train 13: is damaged".to_string())],
            "{workers} workers"
        );
    }
}

#[test]
fn a_broken_picture_is_replaced_or_left_out() {
    for workers in [0, 1, 3] {
        let options =
            LoaderOptions { on_broken: OnBroken::Replace, ..LoaderOptions::eval(5, workers) };
        let replacing = loader(Broken::new(&[13, 14, 36], None), options);
        let batches = seen(&replacing, 0, 0);
        assert_eq!(batches[2].4, [10, 11, 12, 15, 15]);
        assert_eq!(batches[2].3, [0, 1, 2, 0, 0]);
        assert_eq!(batches[7].4[..2], [35, 0]);

        let leaving = loader(Broken::new(&[13, 14], None), LoaderOptions::eval(5, workers));
        let batches = seen(&leaving, 0, 0);
        assert_eq!((batches[2].1, &batches[2].4), (3, &vec![10, 11, 12, 0, 0]));
        assert!(batches[2].2[3 * 16..].iter().all(|&x| x == 0.0));
    }
}

#[test]
fn a_broken_picture_is_named_once() {
    for workers in [0, 2] {
        let options =
            LoaderOptions { on_broken: OnBroken::Replace, ..LoaderOptions::eval(5, workers) };
        let loader = loader(Broken::new(&[13, 14], None), options);
        let warnings = |epoch| -> Vec<String> {
            let batches = loader.epoch(epoch, 0);
            batches
                .flat_map(|batch| {
                    batch.unwrap().warnings.iter().map(Warning::to_string).collect::<Vec<_>>()
                })
                .collect()
        };
        let expected = [
            "train 13: is damaged; train 15 is used in its place",
            "train 14: is damaged; train 15 is used in its place",
        ];
        assert_eq!(warnings(0), expected);
        assert_eq!(warnings(1), [""; 0]);
    }
}

#[test]
fn nothing_readable_is_an_error() {
    const ALL: &[usize] = &[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36,
    ];
    let training = loader(Broken::new(ALL, None), LoaderOptions::train(5, 0, 2));
    let results: Vec<_> = training.epoch(0, 0).collect();
    assert!(matches!(results.as_slice(), [Err(DataError::Picture { .. })]));
    let evaluation = loader(Broken::new(ALL, None), LoaderOptions::eval(5, 2));
    assert!(evaluation.epoch(0, 0).all(|batch| batch.unwrap().count == 0));
}

#[test]
fn what_the_system_refuses_ends_the_epoch_unless_it_is_one_file() {
    use std::io::ErrorKind::{NotFound, Other, OutOfMemory, PermissionDenied};
    let batches = |kind, on_broken| {
        let data = Arc::new(Refused { data: numbered(), index: 13, kind });
        let options = LoaderOptions { on_broken, ..LoaderOptions::eval(5, 0) };
        let batches: Result<Vec<Batch>, _> = loader(data, options).epoch(0, 0).collect();
        batches.map(|batches| batches.iter().map(|batch| batch.count).sum::<usize>())
    };
    for kind in [OutOfMemory, Other] {
        for on_broken in [OnBroken::Replace, OnBroken::LeaveOut] {
            assert!(batches(kind, on_broken).unwrap_err().is_of_system(), "{kind}");
        }
    }
    for kind in [NotFound, PermissionDenied] {
        assert_eq!(batches(kind, OnBroken::Replace).unwrap(), 37, "{kind}");
        assert_eq!(batches(kind, OnBroken::LeaveOut).unwrap(), 36, "{kind}");
    }
}

#[test]
fn a_panic_becomes_an_error() {
    for workers in [0, 1, 3] {
        let loader = loader(Broken::new(&[], Some(22)), LoaderOptions::eval(5, workers));
        let results: Vec<_> = loader.epoch(7, 0).collect();
        assert_eq!(results.len(), 5);
        let error = results[4].as_ref().err().unwrap().to_string();
        assert!(
            error.starts_with("loading batch 4 of epoch 7 failed inside:")
                && error.contains("picture 22 is cursed"),
            "{error}"
        );
        assert_eq!(loader.epoch(7, 5).count(), 3, "the loader still works");
    }
    let share = Share { of: 2, mine: 0..1 };
    let loader =
        loader(Broken::new(&[], Some(22)), LoaderOptions { share, ..LoaderOptions::eval(5, 1) });
    let error = loader.epoch(7, 2).next().unwrap().err().unwrap().to_string();
    assert!(error.starts_with("loading batch 4 of epoch 7 failed inside:"), "{error}");
}

#[test]
fn dropping_midway_stops_the_workers() {
    let data = Broken::new(&[], None);
    for taken in 0..4 {
        let loader =
            loader(data.clone(), LoaderOptions { prefetch: 1, ..LoaderOptions::eval(1, 3) });
        let mut epoch = loader.epoch(0, 0);
        let kept: Vec<_> = epoch.by_ref().take(taken).collect();
        drop(epoch);
        drop(loader);
        assert_eq!(kept.len(), taken); // batches outlive their loader
    }
    // At most the batches handed over, and three places ahead of them, were made.
    let reads = data.reads.load(Ordering::Relaxed);
    assert!(reads <= (1 + 2 + 3) + 4 * 3, "{reads} pictures were read");
}

#[test]
fn buffers_are_used_again() {
    let loader = loader(numbered(), LoaderOptions { prefetch: 2, ..LoaderOptions::eval(2, 1) });
    let mut seen = HashSet::new();
    for epoch in 0..5 {
        for batch in loader.epoch(epoch, 0) {
            seen.insert(batch.unwrap().x.as_ptr());
        }
    }
    // Two places, one batch in the caller's hands, one in the worker's.
    assert!(seen.len() <= 4, "{} buffers", seen.len());
}

#[test]
fn settings_must_fit_the_data() {
    let refused = |options| {
        Loader::new(numbered(), transform(SHAPE), options)
            .err()
            .expect("it was accepted")
            .to_string()
    };
    assert!(refused(LoaderOptions::train(0, 0, 0)).contains("must be at least 1"));
    let error = refused(LoaderOptions::train(38, 0, 0));
    assert!(
        error.contains(
            "the batch is 38, but the data has only 37 pictures; use a batch of 37 or less"
        ),
        "{error}"
    );
    let shared =
        |of, mine| LoaderOptions { share: Share { of, mine }, ..LoaderOptions::train(9, 0, 0) };
    assert!(refused(shared(5, 0..1)).contains("5 batches of 9 pictures are wanted at once"));
    assert!(refused(shared(2, 2..2)).contains("at least one of them"));
    assert_eq!(loader(numbered(), shared(4, 1..3)).steps(), 2);
    assert!(refused(LoaderOptions::eval(usize::MAX / 8, 0)).contains("does not fit in memory"));
    assert_eq!(loader(numbered(), LoaderOptions::train(37, 0, 0)).steps(), 1);
    assert_eq!(loader(numbered(), LoaderOptions::eval(38, 0)).steps(), 1);
}

#[test]
fn waiting_is_counted() {
    let loader = loader(numbered(), LoaderOptions::eval(5, 0));
    assert_eq!(loader.epoch(0, 0).count(), 8);
    let once = loader.wait();
    assert!(once > Duration::ZERO);
    assert_eq!(loader.epoch(0, 0).count(), 8);
    assert!(loader.wait() > once);
}

#[test]
fn photos_of_many_sizes_in_a_folder() {
    let dir = TempDir::new("loader");
    for number in 0..9u8 {
        let (width, height) = (5 + usize::from(number) * 3, 29 - usize::from(number));
        dir.write(
            &format!("{}/{number}.png", ["cold", "warm"][usize::from(number % 2)]),
            &flat_png(width, height, [number, 0, 0]),
        );
    }
    let data = open(dir.text(), &OpenOptions::default()).unwrap().train;
    std::fs::write(data.name(3), b"no longer a picture").unwrap();
    let made = |workers| {
        let shape = Shape::new(3, 8, 8);
        let loader =
            Loader::new(data.clone(), transform(shape), LoaderOptions::train(4, 0, workers))
                .unwrap();
        seen(&loader, 0, 0)
    };
    let expected = made(0);
    for batch in &expected {
        assert!(!batch.4.contains(&3));
    }
    assert_eq!(made(1), expected);
    assert_eq!(made(3), expected);
}

#[test]
fn balanced_turns_take_every_class_equally_often() {
    // 20 of class 0, 5 of class 1, 2 of class 2, none of class 3.
    let labels: Vec<u8> = [vec![0; 20], vec![1; 5], vec![2; 2]].concat();
    let pixels = (0..27u8).flat_map(|index| [index; 16]).collect();
    let classes = (0..4).map(|label| format!("class {label}")).collect();
    let data: Arc<dyn Dataset> =
        Arc::new(Memory::new("train", SHAPE, pixels, labels, classes).unwrap());
    let options = LoaderOptions { balanced: true, ..LoaderOptions::train(9, 4, 1) };
    let loader = loader(data, options);
    assert_eq!(loader.steps(), 3);
    for epoch in 0..3 {
        let batches = seen(&loader, epoch, 0);
        let labels: Vec<u32> = batches.iter().flat_map(|b| b.3.clone()).collect();
        let counts = [0, 1, 2].map(|class| labels.iter().filter(|l| **l == class).count());
        assert_eq!(counts, [9, 9, 9]);
        let indices: Vec<u32> = batches.iter().flat_map(|b| b.4.clone()).collect();
        for class in [20..25u32, 25..27] {
            let turns = class.clone().map(|i| indices.iter().filter(|x| **x == i).count());
            let turns: Vec<usize> = turns.collect();
            let (least, most) = (turns.iter().min(), turns.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{turns:?}");
        }
        assert!(!labels.is_sorted(), "classes come mixed");
        // The same picture's turns are augmented apart: not all of its inputs are the same.
        let first = indices.iter().position(|i| *i == 25).unwrap();
        let input = |at: usize| &batches[at / 9].2[at % 9 * 16..][..16];
        let others = (0..27).filter(|at| indices[*at] == 25);
        assert!(others.into_iter().any(|at| input(at) != input(first)), "epoch {epoch}");
    }
    assert_ne!(seen(&loader, 0, 0), seen(&loader, 1, 0));
    assert_eq!(seen(&loader, 1, 1), seen(&loader, 1, 0)[1..]);
}

#[test]
fn crops_of_a_picture_stand_together() {
    let options = LoaderOptions { crops: crate::data::CROPS, ..LoaderOptions::eval(5, 1) };
    let loader = loader(numbered(), options);
    let one = self::loader(numbered(), LoaderOptions::eval(5, 1));
    for (ten, one) in seen(&loader, 0, 0).iter().zip(seen(&one, 0, 0)) {
        assert_eq!((ten.1, &ten.3), (one.1, &one.3));
        assert_eq!(ten.2.len(), 10 * one.2.len());
        for (crops, centre) in ten.2.chunks(160).zip(one.2.chunks(16)) {
            assert_eq!(crops[..16], *centre);
            // A picture of the input's size has no corners to choose: mirrored or not is all there
            // is.
            assert_eq!(crops[..80], crops[..16].repeat(5));
            assert_eq!(crops[80..], crops[80..96].repeat(5));
        }
    }
}

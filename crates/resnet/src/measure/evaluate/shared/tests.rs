use std::io::ErrorKind::{NotFound, Other};
use std::sync::Arc;
use std::thread;

use super::super::{Crops, Prepared, evaluate_as, evaluate_while, prepare};
use super::*;
use crate::Shape;
use crate::data::testing::Refused;
use crate::data::{Memory, Normalize, Preprocess};
use crate::measure::evaluate::Evaluation;
use crate::model::{self, Confidence};
use crate::net::Arch;
use crate::ranks::threads;
use resnet_engine::exec;
use resnet_engine::plan::{Options, Plan};

const SHAPE: Shape = Shape::new(1, 8, 8);
/// 14 batches of 7, and one of 5.
const PICTURES: usize = 103;
const HOW: How =
    How { crops: Crops::One, precision: resnet_engine::step::Precision::F32, batch: Some(7) };

fn classes() -> Vec<String> {
    ["a", "b", "c"].map(String::from).to_vec()
}

/// A network of three classes that has learned nothing.
fn model(seed: u64, std: f32) -> Model {
    let device = exec::cpu(1).unwrap();
    let arch = Arch::parse("resnet8").unwrap();
    let graph = arch.graph(SHAPE, 3).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(device.as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, seed).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.0], std: vec![std] };
    let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
    Model::of(&session, arch, classes(), preprocess).unwrap()
}

/// Patterns of which each third is black.
fn pictures(name: &str) -> Arc<dyn Dataset> {
    let pixel = |index: usize, i: usize| index * 37 * (i + index) % 256 * (index % 3).min(1);
    let pixels = (0..PICTURES).flat_map(|index| (0..64).map(move |i| pixel(index, i) as u8));
    let labels = (0..PICTURES as u32).map(|index| index % 7 % 3).collect();
    Arc::new(Memory::new(name, SHAPE, pixels.collect(), labels, classes()).unwrap())
}

fn refusing(data: Arc<dyn Dataset>, kind: std::io::ErrorKind, index: usize) -> Arc<dyn Dataset> {
    Arc::new(Refused { data, index, kind })
}

/// What `work` comes to on each of several ranks.
fn on_ranks<T: Send + 'static>(
    count: usize,
    work: impl Fn(&dyn Ranks) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let each = threads(count).into_iter().map(|ranks| {
        let work = work.clone();
        thread::spawn(move || work(ranks.as_ref()))
    });
    let each: Vec<_> = each.collect();
    each.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// An evaluation, and what was told on the way.
fn evaluated(
    model: &Model,
    data: &Arc<dyn Dataset>,
    how: How,
    ranks: Option<&dyn Ranks>,
) -> (Result<Evaluation, UseError>, Vec<usize>) {
    let (device, mut told) = (exec::cpu(1).unwrap(), Vec::new());
    let on = &mut |done| told.push(done);
    let (mut model, data) = (model.clone(), data.clone());
    let evaluation = evaluate_as(&mut model, data, how, ranks, device.as_ref(), on);
    (evaluation, told)
}

/// Every bit of it: numbers are written with all of their digits.
fn text(evaluation: &Evaluation) -> String {
    format!("{evaluation:?}")
}

#[test]
fn every_rank_has_what_one_process_has() {
    let whole = pictures("whole");
    let broken = [0, 20, 21, 60, 102]
        .iter()
        .fold(whole.clone(), |data, &index| refusing(data, NotFound, index));
    let plain = model(5, 0.25);
    let confidence = Confidence {
        temperature: 1.7,
        threshold: None,
        precision: 0.9,
        data: "held out".into(),
        count: 9,
        likeness: None,
    };
    let mut calibrated = plain.clone();
    calibrated.confidence = Some(confidence);
    let ten = How { crops: Crops::Ten, ..HOW };
    let cases: [(&Model, _, How, &[usize], usize); 3] = [
        (&plain, &whole, HOW, &[1, 2, 20], 0),
        (&calibrated, &broken, HOW, &[3, 4], 5),
        (&calibrated, &broken, ten, &[3], 5),
    ];
    for (model, data, how, counts, unread) in cases {
        let (expected, expected_told) = evaluated(model, data, how, None);
        let expected = expected.unwrap();
        let read = PICTURES - unread;
        assert_eq!((expected.count, expected.warnings.len()), (read as u64, unread));
        assert!(expected.wrong > 10 && !expected.mistakes.worst().is_empty());
        assert!(expected.shown.len() > 3);
        for &count in counts {
            let (model, data) = (model.clone(), data.clone());
            let all = on_ranks(count, move |ranks| evaluated(&model, &data, how, Some(ranks)));
            for (found, told) in all {
                assert_eq!(text(&found.unwrap()), text(&expected), "{count} ranks");
                assert_eq!(told, expected_told);
            }
        }
    }
}

/// The same without the word on answers that are not numbers, while `go_on(rank, done)`; with how
/// often that was asked.
fn evaluated_while(
    model: &Model,
    ranks: Option<&dyn Ranks>,
    go_on: fn(usize, usize) -> bool,
) -> (Option<Evaluation>, usize) {
    let (device, data, mut asked) = (exec::cpu(1).unwrap(), pictures("whole"), 0);
    let prepared = prepare(&mut model.clone(), data, HOW, ranks, device.as_ref());
    let Prepared { mut session, loader, .. } = prepared.unwrap();
    let on = &mut |done| {
        asked += 1;
        go_on(ranks.map_or(0, |ranks| ranks.rank()), done)
    };
    let evaluation = evaluate_while(None, &mut session, &loader, ranks, on).unwrap();
    (evaluation, asked)
}

#[test]
fn answers_that_are_not_numbers_are_told_by_all() {
    let model = model(5, 2e-38);
    let expected = evaluated_while(&model, None, |_, _| true).0.unwrap();
    assert!((20..=80).contains(&expected.not_finite.len()), "{:?}", expected.not_finite);
    let error = evaluated(&model, &pictures("whole"), HOW, None).0.unwrap_err().to_string();
    let all = on_ranks(3, move |ranks| {
        let error = evaluated(&model, &pictures("whole"), HOW, Some(ranks)).0.unwrap_err();
        (evaluated_while(&model, Some(ranks), |_, _| true).0.unwrap(), error.to_string())
    });
    for found in all {
        assert_eq!((text(&found.0), found.1), (text(&expected), error.clone()));
    }
}

#[test]
fn a_rank_that_fails_ends_all() {
    let model = model(5, 0.25);
    for (count, index) in [(1, 50), (2, 0), (3, 30), (3, 102), (4, 97)] {
        let (model, data) = (model.clone(), refusing(pictures("whole"), Other, index));
        let all = on_ranks(count, move |ranks| evaluated(&model, &data, HOW, Some(ranks)).0);
        let errors: Vec<UseError> = all.into_iter().map(Result::unwrap_err).collect();
        let failed = index / 7 % count;
        for (at, error) in errors.iter().enumerate() {
            assert!(error.to_string().contains(&format!("whole {index}")), "{error}");
            match error {
                UseError::Data(_) => assert_eq!((at, failed), (0, 0)),
                UseError::Ranks(RanksError::Other { rank, .. }) => {
                    assert!((at, failed) != (0, 0) && *rank == failed, "{at}: {error}");
                }
                other => panic!("{other}"),
            }
        }
    }
    // Where none can be read, that is found by all.
    let none = (0..PICTURES).fold(pictures("none"), |data, index| refusing(data, NotFound, index));
    for found in on_ranks(2, move |ranks| evaluated(&model, &none, HOW, Some(ranks)).0) {
        let error = found.unwrap_err().to_string();
        assert!(error.contains("none of the pictures"), "{error}");
    }
}

#[test]
fn what_one_rank_cannot_begin_none_does() {
    let model = model(5, 0.25);
    let errors = on_ranks(3, move |ranks| {
        let labels = vec![0u32; 4];
        let unknown = Memory::new("x", SHAPE, vec![0; 256], labels, vec!["unknown".into()]);
        let data = match ranks.rank() {
            1 => Arc::new(unknown.unwrap()),
            _ => pictures("whole"),
        };
        evaluated(&model, &data, HOW, Some(ranks)).0.unwrap_err()
    });
    for error in errors {
        assert!(error.to_string().contains("class `unknown`"), "{error}");
        assert!(matches!(error, UseError::Ranks(RanksError::Other { rank: 1, .. })), "{error}");
    }
}

#[test]
fn ranks_that_were_given_different_things_do_not_begin() {
    let found = |other: fn(&mut Model, &mut Arc<dyn Dataset>, &mut How)| {
        let errors = on_ranks(3, move |ranks| {
            let (mut model, mut data, mut how) = (model(5, 0.25), pictures("whole"), HOW);
            if ranks.rank() == 2 {
                other(&mut model, &mut data, &mut how);
            }
            evaluated(&model, &data, how, Some(ranks)).0.unwrap_err().to_string()
        });
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        errors[0].clone()
    };
    let starts = |error: String, what: &str| {
        assert!(error.starts_with(&format!("{what} of rank 2 on ")), "{error}");
    };
    starts(found(|other, _, _| *other = model(6, 0.25)), "the model");
    starts(found(|other, _, _| *other = model(5, 0.5)), "the model");
    starts(found(|_, data, _| *data = pictures("other")), "the pictures");
    starts(found(|_, _, how| how.crops = Crops::Ten), "the crops");
    starts(found(|_, _, how| how.batch = Some(8)), "the batch");
}

#[test]
fn all_stop_where_one_is_told_to() {
    let model = model(5, 0.25);
    let stops: [fn(usize, usize) -> bool; 3] = [
        |rank, _| rank != 1,
        |rank, done| rank != 1 || done < 50,
        // At the last batch, when all have been computed.
        |rank, done| rank != 1 || done < PICTURES,
    ];
    for (i, go_on) in stops.into_iter().enumerate() {
        for count in [2, 3, 16] {
            let model = model.clone();
            let all = on_ranks(count, move |ranks| evaluated_while(&model, Some(ranks), go_on));
            assert!(all.iter().all(|(found, _)| found.is_none()), "{count} ranks");
            assert!(all.iter().all(|(_, asked)| *asked == all[0].1), "{count} ranks");
            if i < 2 && count < 4 {
                assert!(all[0].1 < 15, "{} batches on {count} ranks", all[0].1);
            }
        }
    }
    let all = on_ranks(3, move |ranks| evaluated_while(&model, Some(ranks), |_, _| true));
    assert!(all.iter().all(|(found, asked)| found.is_some() && *asked == 15));
}

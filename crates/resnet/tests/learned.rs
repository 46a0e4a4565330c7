//! What trained networks have learned, on the built-in pictures.

use resnet::data::{self, OpenOptions};
use resnet::engine::exec;
use resnet::measure::feature::{Learned, learned};
use resnet::train::Trainer;

/// What a network has learned after some steps.
fn after_training(arch: &str) -> Learned {
    let training = Trainer::recipe("depth").set("model.arch", arch);
    let settings =
        [("train.steps", "200"), ("train.precision", "f32"), ("train.monitor_every", "0it")];
    let training = settings.into_iter().fold(training, |t, (key, value)| t.set(key, value));
    let trained = training.run().unwrap();
    let splits = data::open("builtin", &OpenOptions::default()).unwrap();
    let device = exec::cpu(0).unwrap();
    let test = splits.test.unwrap();
    learned(&trained.model, &splits.train, &test, 600, device.as_ref()).unwrap()
}

#[test]
fn depth_makes_classes_easy_and_blocks_of_residual_networks_can_be_spared() {
    let [plain, residual] = ["plain20", "resnet20"].map(after_training);
    // What a linear classifier tells rises over the blocks, and stage by stage.
    let shares: Vec<f64> = residual.told.iter().map(|told| told.share).collect();
    assert_eq!(shares.len(), 10);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let stages = [shares[0], mean(&shares[1..4]), mean(&shares[4..7]), mean(&shares[7..])];
    assert!(stages.is_sorted(), "{shares:?}");
    assert!(shares[9] > shares[0] + 0.2, "{shares:?}");
    // Without one block a plain network breaks, a residual one bends.
    let lost = |learned: &Learned| {
        let of = |wrong: u64| wrong as f64 / learned.lesions.pictures as f64;
        let blocks = learned.lesions.blocks.iter().filter_map(|block| block.score.as_ref()?.wrong);
        let without: Vec<f64> = blocks.map(of).collect();
        mean(&without) - of(learned.lesions.whole.wrong.unwrap())
    };
    let (chain, sum) = (lost(&plain), lost(&residual));
    assert!(chain > 0.4 && chain > 1.5 * sum, "plain {chain}, residual {sum}");
}

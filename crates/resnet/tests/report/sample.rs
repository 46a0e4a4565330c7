//! Invented runs, for looking at the report and for testing it. None of these numbers was measured.

use resnet::base::rng::Rng;
use resnet::page::charts::{
    ConfusedPair, EpochPoint, Headline, Picture, RunReport, Status, StepPoint,
};

/// Owner of what a [`RunReport`] borrows.
pub(crate) struct Sample {
    pub(crate) classes: Vec<String>,
    pub(crate) confusion: Vec<u64>,
    pub(crate) confused: Vec<ConfusedPair>,
    pub(crate) epochs: Vec<EpochPoint>,
    pub(crate) steps: Vec<StepPoint>,
    pub(crate) environment: Vec<(String, String)>,
}

const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

impl Sample {
    /// A run of `n_epochs` epochs of `steps_per_epoch` steps over `n_classes` classes.
    pub(crate) fn new(n_classes: usize, n_epochs: u32, steps_per_epoch: u64) -> Sample {
        let mut rng = Rng::named(1, "sample report");
        let classes: Vec<String> = match n_classes {
            10 => CLOTHES.map(str::to_owned).into(),
            n => (0..n).map(|i| format!("class {i:03}")).collect(),
        };
        let total = u64::from(n_epochs) * steps_per_epoch;
        let lr = |step: u64| {
            0.05 * (1.0 + (std::f64::consts::PI * step as f64 / total.max(1) as f64).cos())
        };
        let level = |step: u64| 0.12 + 2.1 * (-(step as f64) / (0.12 * total as f64 + 1.0)).exp();
        let steps: Vec<StepPoint> = (1..=total)
            .map(|step| StepPoint {
                step,
                loss: level(step) * (0.16 * rng.normal()).exp(),
                lr: lr(step),
            })
            .collect();
        let epochs: Vec<EpochPoint> = (1..=n_epochs)
            .map(|epoch| {
                let step = u64::from(epoch) * steps_per_epoch;
                let loss = level(step) * (1.0 + 0.01 * rng.normal());
                EpochPoint {
                    epoch: f64::from(epoch),
                    step,
                    train_loss: loss,
                    train_top1: 1.0 - (0.32 * loss).min(0.88),
                    test_loss: Some(loss + 0.11 + 0.05 * rng.unit()),
                    test_top1: Some(1.0 - (0.32 * loss + 0.035 + 0.02 * rng.unit()).min(0.89)),
                    lr: lr(step),
                    seconds: 15.5 + 0.4 * rng.unit(),
                }
            })
            .collect();

        let mut confusion = vec![0; n_classes * n_classes];
        for truth in 0..n_classes {
            for _ in 0..200 {
                let predicted = match rng.unit() {
                    u if u < 0.9 => truth,
                    u if u < 0.96 => (truth + if truth % 3 == 0 { 6 } else { 2 }) % n_classes,
                    u if u < 0.98 => (truth * 7 + 4) % n_classes,
                    _ => rng.below(n_classes),
                };
                confusion[truth * n_classes + predicted] += 1;
            }
        }
        let mut confused = Vec::new();
        for truth in 0..n_classes.min(6) {
            let predicted = (truth + if truth % 3 == 0 { 6 } else { 2 }) % n_classes;
            let count = confusion[truth * n_classes + predicted];
            let pictures = (0..8).map(|i| picture(truth, predicted, i, &mut rng)).collect();
            confused.push(ConfusedPair { truth, predicted, count, pictures });
        }
        confused.sort_by_key(|p| std::cmp::Reverse(p.count));
        let environment = [
            ("cpu", "an invented processor, 2 cores"),
            ("features", "avx2 fma"),
            ("threads", "2"),
            ("precision", "f32"),
            ("kernels", "f32 8x16 avx2"),
            ("peak memory", "212 MiB"),
        ];
        let environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Sample { classes, confusion, confused, epochs, steps, environment }
    }

    /// The report of this sample.
    pub(crate) fn report(&self) -> RunReport<'_> {
        let n: u64 = self.confusion.iter().sum();
        let k = self.classes.len();
        let right: u64 = (0..k).map(|i| self.confusion[i * k + i]).sum();
        RunReport {
            title: "resnet20 on invented clothes",
            arch: "resnet20",
            params: 272_186,
            macs: 31_021_952,
            data: "12,000 training and 2,000 test pictures of clothes, 28 x 28 pixels, grey, 10 classes. All numbers on this page \
                   are invented.",
            command: "resnet train resnet20 --data builtin --epochs 10 --batch 128 --lr 0.1 --seed 1",
            started: Some("2015-12-10 09:00:00 UTC"),
            finished: Some("2015-12-10 09:02:41 UTC"),
            status: Status::Finished { patience: None },
            headline: Some(Headline {
                top1: right as f64 / n.max(1) as f64,
                top5: Some(0.998),
                loss: 0.2713,
                count: n,
                split: "test",
                weights: "last epoch",
            }),
            seconds: Some(161.3),
            images_per_s: Some(774.2),
            epochs: &self.epochs,
            steps: &self.steps,
            classes: &self.classes,
            confusion: &self.confusion,
            confused: &self.confused,
            config_toml: CONFIG,
            environment: &self.environment,
        }
    }
}

const CONFIG: &str = "arch = \"resnet20\"\nepochs = 10\nbatch = 128\nseed = 1\n\n[optimiser]\nlr = 0.1\nmomentum = 0.9\n\
                      weight_decay = 1e-4\nschedule = \"cosine\"\n\n[augment]\npad = 2\nflip = true\n";

/// A blob whose outline depends on its class.
fn picture(truth: usize, predicted: usize, index: usize, rng: &mut Rng) -> Picture {
    let side = 28;
    let (narrow, sleeve) = (4.0 + truth as f64, 3.0 + (predicted % 5) as f64);
    let mut pixels = Vec::with_capacity(side * side);
    for y in 0..side {
        for x in 0..side {
            let (dx, dy) = ((x as f64 - 13.5).abs(), y as f64);
            let inside = dx < narrow + (index % 3) as f64 || (dy < 12.0 && dx < narrow + sleeve);
            let shade = if inside && (2.0..26.0).contains(&dy) {
                110.0 + 6.0 * dy * rng.unit()
            } else {
                0.0
            };
            pixels.push(shade.min(255.0) as u8);
        }
    }
    let name = format!("test/{:05}", truth * 1000 + index * 37);
    Picture {
        width: side,
        height: side,
        channels: 1,
        pixels,
        name,
        probability: 0.5 + 0.49 * rng.unit() as f32,
    }
}

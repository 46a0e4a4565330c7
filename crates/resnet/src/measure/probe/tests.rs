use super::{Measurement, Probe, Trend, Verdict};
use crate::base::rng::Rng;
use crate::model;
use crate::net::Arch;
use resnet_engine::exec;
use resnet_engine::graph::Shape;

const PICTURES: usize = 8;

fn measure(name: &str, side: usize, threads: usize) -> Measurement {
    let graph = Arch::parse(name).unwrap().graph(Shape::new(3, side, side), 10).unwrap();
    let mut probe = Probe::new(&graph, PICTURES, exec::cpu(threads).unwrap().as_ref()).unwrap();
    model::initialise(probe.session(), &graph, 1).unwrap();
    let mut rng = Rng::new(5, &[]);
    let x: Vec<f32> = (0..PICTURES * 3 * side * side).map(|_| rng.normal() as f32).collect();
    let labels: Vec<u32> = (0..PICTURES as u32).collect();
    probe.measure(&x, &labels).unwrap()
}

#[test]
fn every_kind_of_block_is_taken_apart() {
    let networks = [
        ("resnet20", 9, 32),
        ("resnet20:shortcut=B", 9, 16),
        ("resnet20:shortcut=C", 9, 16),
        ("resnet20:norm=none", 9, 16),
        ("preresnet20", 9, 16),
        ("preresnet29", 9, 16),
        ("preresnet20:shortcut=C", 9, 16),
        ("preresnet18", 8, 32),
        ("resnet18", 8, 32),
        ("resnet50", 16, 32),
        ("resnext50_32x4d", 16, 32),
        ("plain20", 0, 16),
        ("vgg16_bn", 0, 32),
    ];
    for (name, blocks, side) in networks {
        let found = measure(name, side, 2);
        assert_eq!(found.blocks.len(), blocks, "{name}");
        let arch = Arch::parse(name).unwrap();
        if blocks > 0 {
            let names: Vec<&str> = found.blocks.iter().map(|b| b.name.as_str()).collect();
            assert_eq!(names, arch.blocks(), "{name}");
        }
        for block in &found.blocks {
            assert!(block.residue < 1e-6, "{name} {}: {}", block.name, block.residue);
            assert!(block.shortcut_norm > 0.0 && block.branch_norm > 0.0, "{name}");
            // |s|^2 = |t - b|^2, with s.t = share |t|^2 and so b.t = (1 - share) |t|^2.
            let [t, s, b] = [block.gradient_norm, block.shortcut_norm, block.branch_norm];
            let expected = t * t - 2.0 * (1.0 - block.shortcut_share) * t * t + b * b;
            assert!(
                (s * s - expected).abs() < 1e-4 * (t * t + s * s + b * b),
                "{name} {}",
                block.name
            );
        }
        let main = found.layers.iter().filter(|layer| layer.main).count();
        assert_eq!(main, arch.depth(), "{name}");
        let relu = |layer: &&super::LayerMeasure| layer.main && layer.conv;
        assert!(found.layers.iter().filter(relu).all(|l| l.dead.is_some()), "{name}");
        for layer in &found.layers {
            let numbers = [
                layer.gradient_norm,
                layer.activation_gradient_norm,
                layer.weight_norm,
                layer.response_std,
            ];
            assert!(numbers.iter().all(|v| v.is_finite() && *v > 0.0), "{name} {layer:?}");
            assert!(layer.dead.is_none_or(|dead| (0.0..=1.0).contains(&dead)));
        }
    }
}

#[test]
fn a_gain_multiplies_gradients_and_its_verdict_follows() {
    let verdict = |name: &str| Trend::of(&measure(name, 16, 2));
    for (gain, verdict_of, low, high) in [
        ("0.5", Verdict::Vanishing, 0.45, 0.55),
        ("1", Verdict::Healthy, 0.9, 1.1),
        ("2", Verdict::Exploding, 1.8, 2.2),
    ] {
        let trend = verdict(&format!("plain56:norm=none,gain={gain}"));
        assert_eq!(trend.verdict, verdict_of, "{gain}: {trend:?}");
        assert!((low..high).contains(&trend.per_layer()), "{gain}: {trend:?}");
    }
    assert_eq!(verdict("resnet56").verdict, Verdict::Healthy);
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let one = measure("resnet20", 16, 1);
    assert_eq!(one, measure("resnet20", 16, 2));
    assert_eq!(one, measure("resnet20", 16, 3));
}

#[test]
fn a_channel_that_never_fires_is_dead() {
    let graph = Arch::parse("plain8").unwrap().graph(Shape::new(1, 8, 8), 3).unwrap();
    let mut probe = Probe::new(&graph, 2, exec::cpu(1).unwrap().as_ref()).unwrap();
    model::initialise(probe.session(), &graph, 1).unwrap();
    let session = probe.session();
    let plan = session.plan().clone();
    let beta = plan.params.iter().find(|p| p.name == "bn1.bias").unwrap();
    let mut values = vec![0.0; 16];
    values[..4].fill(-100.0);
    model::write(session, &beta.param, beta.value, &values).unwrap();
    let x: Vec<f32> = (0..128).map(|i| (i % 7) as f32).collect();
    let found = probe.measure(&x, &[0, 1]).unwrap();
    assert_eq!(found.layers[0].dead, Some(0.25));
}

//! What a gradient becomes on its way down a plain network, and down its residual twin.
//! `cargo run --release -p resnet --example inspect_gradients`

use resnet::engine::exec;
use resnet::measure::probe::{Probe, Trend};
use resnet::net::Arch;
use resnet::train::recipe::Recipe;
use resnet::train::task::Task;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = exec::cpu(0)?;
    let task = Task::open(Recipe::default())?; // the built-in pictures
    let (x, labels) = task.sample(8)?;
    for name in ["plain20", "resnet20"] {
        let network = Arch::parse(&format!("{name}:norm=none,gain=0.5"))?;
        let graph = network.graph(task.preprocess.shape, task.classes.len())?;
        let mut probe = Probe::new(&graph, labels.len(), device.as_ref())?;
        resnet::model::initialise(probe.session(), &graph, 1)?;
        let found = probe.measure(&x, &labels)?;
        println!("{name}: loss {:.3}", found.loss);
        for layer in found.path().step_by(4) {
            let (gradient, response) = (layer.activation_gradient_norm, layer.response_std);
            println!("  {:<16} gradient {gradient:.2e}, response {response:.2e}", layer.name);
        }
        let trend = Trend::of(&found);
        println!("  {} a layer: {}", trend.per_layer(), trend.verdict.word());
    }
    Ok(())
}

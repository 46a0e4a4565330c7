mod pytorch;

use std::collections::BTreeMap;

use resnet_engine::plan::ParamSlots;
use resnet_engine::step::SlotId;

use super::*;

fn task(changes: &[(&str, &str)]) -> Task {
    let always = [
        ("arch", "resnet8"),
        ("batch", "8"),
        ("steps", "6"),
        ("precision", "f32"),
        ("threads", "1"),
    ];
    let changes = always.iter().chain(changes).map(|(k, v)| (k.to_string(), v.to_string()));
    Task::open(Recipe::load("default", &changes.collect::<Vec<_>>()).unwrap()).unwrap()
}

/// What lies in a slot of each parameter, by name.
fn numbers(
    learner: &Learner,
    slot: impl Fn(&ParamSlots) -> Option<SlotId>,
) -> BTreeMap<String, Vec<f32>> {
    let plan = learner.session.plan();
    let of = |p: &ParamSlots| Some((p.name.clone(), learner.session.get(slot(p)?).unwrap()));
    plan.params.iter().filter_map(of).collect()
}

fn momentum(learner: &Learner) -> BTreeMap<String, Vec<f32>> {
    numbers(learner, |p| Some(p.training.as_ref()?.state[0]))
}

#[test]
fn momentum_and_averages_go_along_when_frozen_layers_thaw() {
    let task = task(&[("freeze", "3it"), ("ema", "0.5")]);
    let calendar = task.recipe.calendar(task.train.len() as u64).unwrap();
    let [frozen, thawed] = calendar.phases() else { panic!("{calendar:?}") };
    let mut learner = Learner::new(&task, *frozen).unwrap();
    model::initialise(&mut learner.session, &task.graph, 1).unwrap();
    let mut batches = learner.loader.epoch(0, 0);
    for step in 0..3 {
        let gradient = learner.gradient(&mut batches, false, &mut |_| Ok(())).unwrap().unwrap();
        learner.update(&gradient, &task.recipe, 0.1, step).unwrap();
    }
    let (values, averages) = (|p: &ParamSlots| Some(p.value), |p: &ParamSlots| p.average);
    let before = (momentum(&learner), numbers(&learner, averages), numbers(&learner, values));
    assert!(before.0.keys().eq(["fc.bias", "fc.weight"]));
    assert!(before.0.values().flatten().any(|v| *v != 0.0), "the head has learnt");
    assert!(before.1["fc.weight"] != before.2["fc.weight"], "the average lags behind");

    learner.enter(&task, *thawed).unwrap();
    let after = momentum(&learner);
    assert!(after.len() > before.0.len());
    for (name, after) in &after {
        match before.0.get(name) {
            Some(before) => assert_eq!(after, before, "{name}"),
            None => assert!(after.iter().all(|v| *v == 0.0), "{name} was frozen"),
        }
    }
    assert_eq!(numbers(&learner, averages), before.1);
    assert_eq!(numbers(&learner, values), before.2);
}

/// However uneven the classes, a step's loss is a mean of its images' losses.
#[test]
fn rare_classes_do_not_make_the_loss_large() {
    let (pixels, labels) = (vec![7u8; 2002 * 64], (0..2002u32).map(|i| u32::from(i >= 2000)));
    let classes = vec!["often".to_string(), "seldom".to_string()];
    let shape = Shape::new(1, 8, 8);
    let data =
        crate::data::Memory::new("uneven", shape, pixels, labels.collect(), classes).unwrap();
    let changes = [("arch", "resnet8"), ("class_weights", "balanced"), ("sampling", "balanced")];
    let changes: Vec<_> = changes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let recipe = Recipe::load("default", &changes).unwrap();
    let device = resnet_engine::exec::cpu(1).unwrap();
    let task = Task::of_data(recipe, Arc::new(data), None, None, device).unwrap();
    let calendar = task.recipe.calendar(task.train.len() as u64).unwrap();
    let mut learner = Learner::new(&task, calendar.phases()[0]).unwrap();
    model::initialise(&mut learner.session, &task.graph, 1).unwrap();
    let mut batches = learner.loader.epoch(0, 0);
    let gradient = learner.gradient(&mut batches, false, &mut |_| Ok(())).unwrap().unwrap();
    let most = learner.targets.class_weights.iter().copied().fold(0.0, f32::max);
    assert!(most > 100.0, "{:?}", learner.targets.class_weights);
    assert!(gradient.loss < 10.0, "{}", gradient.loss);
}

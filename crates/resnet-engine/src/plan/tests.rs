use std::ops::Range;

use super::*;
use crate::graph::{Graph, LayerId, Op, Shape, Window};
use crate::step::{LossSlots, Memory, Precision, Rule, SlotId, Space, Step, StepKind};

const NORM: Op = Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init: false };

/// 3x3, without bias.
fn conv(c_out: usize, stride: usize) -> Op {
    Op::Conv2d { c_out, kernel: 3, stride, padding: 1, groups: 1, bias: false }
}

/// conv, norm, relu, then one residual block whose shortcut is option A, then pool and head.
fn residual() -> Graph {
    with_head(block_with_pooled_shortcut())
}

/// Without pool and head; the layer that they read.
fn block_with_pooled_shortcut() -> (Graph, LayerId) {
    let mut g = Graph::new(Shape::new(3, 8, 8));
    let x = g.push("conv1", conv(4, 1), &[LayerId(0)]);
    let x = g.push("bn1", NORM, &[x]);
    let x = g.push("relu", Op::Relu, &[x]);
    let y = g.push("layer1.0.conv1", conv(8, 2), &[x]);
    let y = g.push("layer1.0.bn1", NORM, &[y]);
    let y = g.push("layer1.0.relu1", Op::Relu, &[y]);
    let y = g.push("layer1.0.conv2", conv(8, 1), &[y]);
    let y = g.push("layer1.0.bn2", NORM, &[y]);
    let s =
        g.push("layer1.0.downsample", Op::AvgPool2d(Window::Square { kernel: 1, stride: 2 }), &[x]);
    let y = g.push("layer1.0.add", Op::Add, &[y, s]);
    let y = g.push("layer1.0.relu2", Op::Relu, &[y]);
    (g, y)
}

fn with_head((mut g, y): (Graph, LayerId)) -> Graph {
    let y = g.push("avgpool", Op::AvgPool2d(Window::Global), &[y]);
    g.push("fc", Op::Linear { out: 5 }, &[y]);
    g
}

fn names(plan: &Plan, steps: Range<usize>) -> Vec<String> {
    let line = |s: &Step| format!("{} {}", plan.layer_names[s.layer.0], Plan::kind_name(&s.kind));
    plan.steps[steps].iter().map(line).collect()
}

#[test]
fn the_plan_reads_like_the_network() {
    let plan = Plan::build(&residual(), Options::train(2, 0.0)).unwrap();
    assert_eq!(
        names(&plan, plan.forward.clone()),
        [
            "conv1 conv",
            "bn1 norm+relu",
            "layer1.0.conv1 conv",
            "layer1.0.bn1 norm+relu",
            "layer1.0.conv2 conv",
            "layer1.0.downsample avg_pool",
            "layer1.0.bn2 norm+add+relu",
            "avgpool global_avg_pool",
            "fc linear",
            "fc softmax_cross_entropy",
        ]
    );
    assert_eq!(
        names(&plan, plan.backward.clone()),
        [
            "fc linear dw",
            "fc linear dx",
            "avgpool global_avg_pool backward",
            "layer1.0.bn2 norm backward",
            "layer1.0.downsample avg_pool backward",
            "layer1.0.bn1 norm again",
            "layer1.0.conv2 conv dw",
            "layer1.0.conv2 conv dx",
            "layer1.0.bn1 norm backward",
            "bn1 norm again",
            "layer1.0.conv1 conv dw",
            "layer1.0.conv1 conv dx",
            "bn1 norm backward",
            "conv1 conv dw",
        ]
    );
    assert_eq!(names(&plan, plan.update.clone()), ["conv1 sgd", "bn1 sgd"]);
}

/// Three blocks of one convolution each, and behind them another convolution or the head alone.
fn row_of_blocks(conv_behind: bool) -> Graph {
    let mut g = Graph::new(Shape::new(4, 16, 16));
    let mut x = g.push("conv0", conv(4, 1), &[LayerId(0)]);
    for i in 1..4 {
        let y = g.push(format!("conv{i}"), conv(4, 1), &[x]);
        let y = g.push(format!("bn{i}"), NORM, &[y]);
        let y = g.push(format!("add{i}"), Op::Add, &[y, x]);
        x = g.push(format!("relu{i}"), Op::Relu, &[y]);
    }
    if conv_behind {
        x = g.push("conv4", conv(4, 1), &[x]);
    }
    with_head((g, x))
}

/// Images whose maps in [`row_of_blocks`] take 16 MiB in f32.
const LARGE_BATCH: usize = 4096;

/// Every second output of a row of blocks is kept, of large maps every third, and the last if only
/// the head reads it.
#[test]
fn outputs_are_computed_again_one_from_another_where_maps_are_large() {
    let again = |conv_behind, batch, precision| {
        let options = Options { precision, ..Options::train(batch, 0.0) };
        let plan = Plan::build(&row_of_blocks(conv_behind), options).unwrap();
        // What is computed again is not kept beside it.
        for slot in plan.slots.iter().filter(|slot| slot.name.ends_with(" again")) {
            let mut read = plan.steps[plan.backward.clone()].iter().flat_map(|s| &s.reads);
            let kept = read.any(|id| format!("{} again", plan.slots[id.0].name) == slot.name);
            assert!(!kept, "{}", slot.name);
        }
        let backward = names(&plan, plan.backward.clone());
        let keep = |name: &String| name.ends_with("again") || name.ends_with("conv dw");
        backward.into_iter().filter(keep).collect::<Vec<_>>()
    };
    let small = [
        "bn3 norm again",
        "conv4 conv dw",
        "conv3 conv dw",
        "bn1 norm again",
        "conv2 conv dw",
        "conv1 conv dw",
        "conv0 conv dw",
    ];
    let large = [
        "conv4 conv dw",
        "bn1 norm again",
        "bn2 norm again",
        "conv3 conv dw",
        "conv2 conv dw",
        "conv1 conv dw",
        "conv0 conv dw",
    ];
    assert_eq!(again(true, LARGE_BATCH - 1, Precision::F32), small);
    assert_eq!(again(true, LARGE_BATCH, Precision::F32), large);
    assert_eq!(again(true, 2 * LARGE_BATCH - 1, Precision::Bf16), small);
    assert_eq!(again(true, 2 * LARGE_BATCH, Precision::Bf16), large);
    assert_eq!(again(false, 1, Precision::F32), small[2..]);
}

/// A shortcut that nothing reads in the backward pass is not kept for the sake of the block's
/// output.
#[test]
fn an_output_is_kept_if_its_residual_is_not() {
    let (mut g, y) = block_with_pooled_shortcut();
    let y = g.push("conv2", conv(8, 1), &[y]);
    let plan = Plan::build(&with_head((g, y)), Options::train(2, 0.0)).unwrap();
    let backward = names(&plan, plan.backward.clone());
    let again: Vec<_> = backward.iter().filter(|s| s.ends_with("again")).collect();
    assert_eq!(again, ["layer1.0.bn1 norm again", "bn1 norm again"]);
}

#[test]
fn what_lives_together_does_not_overlap() {
    for options in [
        Options::train(3, 0.1),
        Options { fuse: false, ..Options::train(3, 0.0) },
        Options::infer(2),
        fixed_norms(),
        staged(),
        Options { accumulate: true, average: true, ..staged() },
        explaining(),
    ] {
        let plan = Plan::build(&residual(), options).unwrap();
        for step in &plan.steps {
            let ids = step.reads.iter().chain(&step.writes);
            let places: Vec<_> = ids.map(|id| (memory(&plan, *id), plan.range(*id))).collect();
            for (i, (memory, a)) in places.iter().enumerate() {
                assert!(!a.is_empty() && a.end <= plan.len_of(*memory));
                let apart = |(other, b): &(Memory, Range<usize>)| {
                    memory != other || a.end <= b.start || b.end <= a.start
                };
                assert!(places[..i].iter().all(apart), "{step:?}");
            }
        }
    }
}

fn memory(plan: &Plan, id: SlotId) -> Memory {
    plan.slots[id.0].space.memory()
}

/// Two stages, the head apart, each with a rate of its own.
fn staged() -> Options {
    let optimizer = Optimizer { backbone: 0.5, stage: 0.25, ..Optimizer::default() };
    Options { optimizer, ..Options::train(2, 0.0) }
}

#[test]
fn a_slot_keeps_its_numbers_until_its_last_reader() {
    // Every read sees the last write to that slot: no other slot was written over it in between.
    for options in [Options::train(2, 0.0), fixed_norms(), explaining()] {
        every_read_sees_the_last_write(&Plan::build(&residual(), options).unwrap());
    }
    let in_chains = Options::train(LARGE_BATCH, 0.0);
    every_read_sees_the_last_write(&Plan::build(&row_of_blocks(true), in_chains).unwrap());
}

fn fixed_norms() -> Options {
    let frozen = Frozen { layers: 0, norm: true };
    Options { frozen, ..Options::train(2, 0.0) }
}

/// Back to the output of the block.
fn explaining() -> Options {
    let mode = Mode::Explain { layer: LayerId(11) };
    Options { mode, ..Options::infer(2) }
}

#[test]
fn an_explaining_plan_goes_back_to_its_layer_and_no_further() {
    let plan = Plan::build(&residual(), explaining()).unwrap();
    assert_eq!(
        names(&plan, plan.backward.clone()),
        ["fc linear dx", "avgpool global_avg_pool backward"]
    );
    assert_eq!(plan.update.len(), 0);
    let gradient = plan.gradients[11].expect("the layer has a gradient");
    assert_eq!(plan.slots[gradient.0].len, 2 * 8 * 4 * 4);
    assert!(plan.gradients[13].is_some(), "the logits' gradient is written from outside");
}

#[test]
fn a_frozen_backbone_has_no_backward_steps() {
    let frozen = Frozen { layers: residual().head().0, norm: false };
    let options = Options { frozen, ..Options::train(2, 0.0) };
    let plan = Plan::build(&residual(), options).unwrap();
    assert_eq!(names(&plan, plan.backward.clone()), ["fc linear dw"]);
    assert_eq!(plan.region(Space::Param).len(), 8 * 5 + 5);
    let inference = Plan::build(&residual(), Options::infer(2)).unwrap();
    let forward = plan.forward.start..plan.forward.end - 1;
    assert_eq!(names(&plan, forward), names(&inference, inference.forward.clone()));
}

#[test]
fn fixed_norms_hand_the_gradient_on_without_learning() {
    let plan = Plan::build(&residual(), fixed_norms()).unwrap();
    assert_eq!(
        names(&plan, plan.backward.clone()),
        [
            "fc linear dw",
            "fc linear dx",
            "avgpool global_avg_pool backward",
            "layer1.0.bn2 add backward",
            "layer1.0.bn2 norm scale",
            "layer1.0.downsample avg_pool backward",
            "layer1.0.conv2 conv dw",
            "layer1.0.conv2 conv dx",
            "layer1.0.bn1 relu backward",
            "layer1.0.bn1 norm scale",
            "layer1.0.conv1 conv dw",
            "layer1.0.conv1 conv dx",
            "bn1 relu backward",
            "bn1 norm scale",
            "conv1 conv dw",
        ]
    );
}

fn every_read_sees_the_last_write(plan: &Plan) {
    let number = |id: SlotId| u16::try_from(id.0).unwrap();
    // Two bytes a word: the plan of large maps has tens of millions.
    let mut owners = [Memory::Weights, Memory::Arena].map(|m| vec![u16::MAX; plan.len_of(m)]);
    let mut claim = |id: SlotId| {
        owners[memory(plan, id) as usize][plan.range(id)].fill(number(id));
    };
    plan.params.iter().for_each(|p| claim(p.value));
    claim(plan.input);
    match plan.loss {
        Some(LossSlots { target, weight, total, .. }) => {
            [target, weight, total].into_iter().for_each(claim);
        }
        None => claim(plan.gradients.last().unwrap().unwrap()),
    }
    for step in plan.steps.iter().filter(|s| !s.kind.spans()) {
        for id in &step.reads {
            assert!(
                owners[memory(plan, *id) as usize][plan.range(*id)]
                    .iter()
                    .all(|&o| o == number(*id)),
                "{} was overwritten",
                plan.slots[id.0].name
            );
        }
        for id in &step.writes {
            owners[memory(plan, *id) as usize][plan.range(*id)].fill(number(*id));
        }
    }
}

#[test]
fn memory_is_reused() {
    let plan = |keep_all| {
        Plan::build(&residual(), Options { keep_all, ..Options::train(8, 0.0) }).unwrap()
    };
    assert!(
        plan(false).region(Space::Activation).len() < plan(true).region(Space::Activation).len()
    );
}

#[test]
fn weights_come_before_norms_and_biases() {
    let plan = Plan::build(&residual(), Options::train(1, 0.0)).unwrap();
    let last_weight = plan
        .params
        .iter()
        .filter(|p| p.param.role.is_weight())
        .map(|p| plan.range(p.value).end)
        .max();
    let others =
        plan.params.iter().filter(|p| !p.param.role.is_weight() && p.param.role.is_trained());
    assert!(others.map(|p| plan.range(p.value).start).min() >= last_weight);
    let spans: Vec<_> =
        plan.steps[plan.update.clone()].iter().map(|s| plan.range(s.writes[0])).collect();
    assert_eq!(spans[0].end, spans[1].start);
    assert_eq!(spans[0].start..spans[1].end, plan.region(Space::Param));
    let within = |space, slot: SlotId| plan.range(slot).start - plan.region(space).start;
    for (p, training) in plan.params.iter().filter_map(|p| Some((p, p.training.as_ref()?))) {
        let at = within(Space::Param, p.value);
        assert_eq!(within(Space::Grad, training.grad), at);
        assert_eq!(within(Space::Optimizer, training.state[0]), at);
    }
}

#[test]
fn sums_and_averages_lie_as_what_they_are_of() {
    let options = Options { accumulate: true, average: true, ..Options::train(1, 0.0) };
    let plan = Plan::build(&residual(), options).unwrap();
    let within = |space, slot: SlotId| plan.range(slot).start - plan.region(space).start;
    for p in &plan.params {
        let space = plan.slots[p.value.0].space;
        let behind = if space == Space::State { plan.region(Space::Param).len() } else { 0 };
        assert_eq!(
            within(Space::Average, p.average.unwrap()),
            behind + within(space, p.value),
            "{}",
            p.name
        );
        if let Some(training) = &p.training {
            let sum = training.sum.unwrap();
            assert_eq!(within(Space::Sum, sum), within(Space::Grad, training.grad), "{}", p.name);
        }
    }
}

/// What is done once a step touches every number of its spaces once.
#[test]
fn updates_and_averages_cover_their_spaces() {
    let options = Options { accumulate: true, average: true, ..staged() };
    let plan = Plan::build(&residual(), options).unwrap();
    assert_eq!(names(&plan, plan.accumulate.clone()), ["input accumulate"]);
    let update = &plan.steps[plan.update.clone()];
    assert_eq!(
        names(&plan, plan.update.clone()),
        [
            "conv1 sgd",
            "layer1.0.conv1 sgd",
            "fc sgd",
            "bn1 sgd",
            "layer1.0.bn1 sgd",
            "fc sgd",
            "input clear",
            "input average",
            "input average",
        ]
    );
    // Through reads or writes, by position.
    let covered = |of: fn(&Step) -> &Vec<SlotId>, at: usize, only: fn(&StepKind) -> bool| {
        let slots = update.iter().filter(|s| only(&s.kind)).map(|s| of(s)[at]);
        let ranges: Vec<_> = slots.map(|slot| plan.range(slot)).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        ranges[0].start..ranges[ranges.len() - 1].end
    };
    let updates = |kind: &StepKind| matches!(kind, StepKind::Update(_));
    assert_eq!(covered(|s| &s.reads, 0, updates), plan.region(Space::Sum));
    assert_eq!(covered(|s| &s.writes, 0, updates), plan.region(Space::Param));
    assert_eq!(covered(|s| &s.writes, 1, updates), plan.region(Space::Optimizer));
    let clears = |kind: &StepKind| *kind == StepKind::Clear;
    assert_eq!(covered(|s| &s.writes, 0, clears), plan.region(Space::Sum));
    let averages = |kind: &StepKind| *kind == StepKind::Average;
    assert_eq!(covered(|s| &s.writes, 0, averages), plan.region(Space::Average));
    let accumulate = &plan.steps[plan.accumulate.start];
    assert_eq!(plan.range(accumulate.reads[0]), plan.region(Space::Grad));
    assert_eq!(plan.range(accumulate.writes[0]), plan.region(Space::Sum));
}

#[test]
fn stages_have_rates_of_their_own() {
    let plan = Plan::build(&residual(), staged()).unwrap();
    let factors = plan.steps[plan.update.clone()].iter().map(|step| match step.kind {
        StepKind::Update(update) => update.lr_factors,
        _ => panic!("{step:?}"),
    });
    let stages = [[0.5, 0.25], [0.5, 1.0], [1.0, 1.0]];
    assert_eq!(factors.collect::<Vec<_>>(), [stages, stages].concat());
    let equal = Plan::build(&residual(), Options::train(2, 0.0)).unwrap();
    assert_eq!(equal.update.len(), 2);
}

#[test]
fn only_matrices_decay_where_norms_and_biases_do_not() {
    for decay_norm_bias in [true, false] {
        let optimizer = Optimizer { weight_decay: 0.5, decay_norm_bias, ..Optimizer::default() };
        let plan =
            Plan::build(&residual(), Options { optimizer, ..Options::train(2, 0.0) }).unwrap();
        let decays = plan.steps[plan.update.clone()].iter().map(|step| match step.kind {
            StepKind::Update(update) => {
                assert_eq!(update.rule, Rule::Sgd { momentum: 0.9, nesterov: false });
                update.weight_decay
            }
            _ => panic!("{step:?}"),
        });
        let others = if decay_norm_bias { 0.5 } else { 0.0 };
        assert_eq!(decays.collect::<Vec<_>>(), [0.5, others]);
    }
}

/// LARS looks at one matrix at a time; norms and biases of a stage stay together, their rate as it
/// is.
#[test]
fn rates_are_fitted_to_one_matrix_at_a_time() {
    let rule = Rule::Lars { momentum: 0.9, nesterov: false, trust: 0.001 };
    for accumulate in [false, true] {
        for optimizer in
            [Optimizer { rule, ..Optimizer::default() }, Optimizer { rule, ..staged().optimizer }]
        {
            let options = Options { optimizer, accumulate, ..Options::train(2, 0.0) };
            let plan = Plan::build(&residual(), options).unwrap();
            let updates = plan.steps[plan.update.clone()].iter().filter_map(|s| match s.kind {
                StepKind::Update(update) => Some((s, update)),
                _ => None,
            });
            let (fitted, rest): (Vec<_>, Vec<_>) = updates.partition(|(_, u)| u.fitted);
            let weights: Vec<_> = plan.params.iter().filter(|p| p.param.role.is_weight()).collect();
            let places = |step: &Step| {
                [step.reads[0], step.writes[0], step.writes[1]].map(|slot| plan.range(slot))
            };
            let found: Vec<_> = fitted.iter().map(|(step, _)| places(step)).collect();
            let expected = weights.iter().map(|p| {
                let training = p.training.as_ref().unwrap();
                let gradient = training.sum.unwrap_or(training.grad);
                [gradient, p.value, training.state[0]].map(|slot| plan.range(slot))
            });
            assert_eq!(found, expected.collect::<Vec<_>>());
            assert_eq!(rest.len(), if optimizer.is_staged() { 3 } else { 1 });
            assert_eq!(plan.range(rest[0].0.writes[0]).start, found[found.len() - 1][1].end);
            let last = plan.range(rest[rest.len() - 1].0.writes[0]).end;
            assert_eq!(last, plan.region(Space::Param).end);
            let text = plan.to_string();
            assert!(text.contains(" lars ") && text.contains("momentum of conv1.weight"), "{text}");
        }
    }
}

#[test]
fn a_map_is_not_added_to_itself() {
    let mut g = Graph::new(Shape::new(3, 8, 8));
    let x = g.push("conv1", conv(4, 1), &[LayerId(0)]);
    let y = g.push("add", Op::Add, &[x, x]);
    let error = Plan::build(&with_head((g, y)), Options::infer(1)).unwrap_err();
    assert_eq!(error.to_string(), "layer `add`: its two inputs are one map, expected two maps");
}

#[test]
fn the_text_names_every_step() {
    let plan = Plan::build(&residual(), Options::infer(1)).unwrap();
    let text = plan.to_string();
    assert_eq!(text.lines().count(), plan.steps.len() + 2);
    assert!(text.contains("layer1.0.bn2"), "{text}");
    assert!(text.ends_with("state 0.0, activation 0.0\n"), "{text}");
}

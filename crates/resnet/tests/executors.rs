//! What sessions on one model cost: the second and the third take little beside the first. Alone in
//! its process, whose memory it watches.

use std::sync::Arc;

use resnet::base::rng::Rng;
use resnet::engine::exec::{self, Session};
use resnet::engine::plan::{Options, Plan};
use resnet::model;
use resnet::net::Arch;

/// Most of the first session's memory that each further one may take.
const MOST: f64 = 0.15;

/// Memory that the process holds, in MiB, where the system tells.
fn held() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

#[test]
fn further_sessions_on_a_model_take_little_memory() {
    let device = exec::cpu(2).unwrap();
    let arch = Arch::parse("resnet50").unwrap();
    let graph = arch.graph(arch.default_input(), 1000).unwrap();
    let mut rng = Rng::new(5, &[]);
    let x: Vec<f32> = (0..arch.default_input().len()).map(|_| rng.normal() as f32).collect();
    let mut answers = vec![vec![0.0; 1000]; 3];

    let plan = Arc::new(Plan::build(&graph, Options::infer(1)).unwrap());
    // What drawing the weights leaves behind is not the session's.
    plan.params.iter().for_each(|p| drop(model::initial(&p.name, &p.param, &graph, 1)));
    let Some(start) = held() else {
        println!("skipped: the system does not tell how much memory the process holds");
        return;
    };
    let mut sessions = vec![Session::to_run(device.as_ref(), plan).unwrap()];
    model::initialise(&mut sessions[0], &graph, 1).unwrap();
    sessions[0].infer(&x, &mut answers[0]).unwrap();
    let mut last = held().unwrap_or(start);
    let first = last - start;
    let mut each = vec![first];
    for answer in &mut answers[1..] {
        let mut fork = sessions[0].fork(None).unwrap();
        fork.infer(&x, answer).unwrap();
        sessions.push(fork);
        let now = held().unwrap_or(last);
        each.push(now - last);
        last = now;
    }
    println!("ResNet-50, batch 1, MiB of each session: {each:.1?}");
    assert!(answers[1] == answers[0] && answers[2] == answers[0]);
    assert!(each[1..].iter().all(|more| *more <= MOST * first), "{each:?}");
}

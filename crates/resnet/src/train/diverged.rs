//! Finds the first layer whose numbers are no longer finite.

use resnet_engine::exec::{ExecError, Session, Target};
use resnet_engine::plan::{Options, Plan};

use super::job::Job;
use crate::data::Batch;
use crate::model;

/// Runs the same batch through a plan that keeps everything, one step per operation, and names the
/// first bad number: weights first, then outputs in the order of the forward pass, then gradients
/// in the order of the backward pass.
pub(super) fn first_bad_layer(job: &Job, batch: &Batch) -> Result<String, ExecError> {
    if batch.x.iter().any(|x| !x.is_finite()) {
        return Ok("the images of the batch are not finite".into());
    }
    let trained = &job.learner.session;
    for slots in &trained.plan().params {
        if !trained.is_finite(slots.value)? {
            return Ok(format!("weight `{}` is not finite", slots.name));
        }
    }
    let options = Options {
        fuse: false,
        keep_all: true,
        accumulate: false,
        shards: None,
        average: false,
        ..trained.plan().options
    };
    let Ok(plan) = Plan::build(&job.learner.graph, options) else {
        unreachable!("the network was planned before")
    };
    let Ok(mut session) = Session::new(job.task.device.as_ref(), plan) else {
        let why = "a loss or gradient is not finite (there is too little memory to find the layer)";
        return Ok(why.into());
    };
    model::copy(trained, &mut session, false)?;
    let plan = session.plan().clone();
    let total = batch.weight.iter().sum();
    let (target, weight) = (&batch.target, &batch.weight);
    session.feed(&batch.x, Target { target, weight, total })?;
    session.forward()?;
    for step in &plan.steps[plan.forward.clone()] {
        let written = step.writes[0];
        if !session.is_finite(written)? {
            let is_loss = plan.loss.is_some_and(|loss| loss.losses == written);
            let what = if is_loss { "loss after" } else { "output of" };
            let layer = &plan.layer_names[step.layer.0];
            return Ok(format!("the {what} layer `{layer}` is not finite"));
        }
    }
    session.backward()?;
    for step in &plan.steps[plan.backward.clone()] {
        for slot in &step.writes {
            if !session.is_finite(*slot)? {
                let layer = &plan.layer_names[step.layer.0];
                return Ok(format!("the gradient at layer `{layer}` is not finite"));
            }
        }
    }
    Ok("the sum of many finite numbers overflowed".into())
}

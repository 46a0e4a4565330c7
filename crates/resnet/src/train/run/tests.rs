use resnet_engine::exec;
use resnet_engine::graph::Shape;

use super::*;
use crate::base::files::TestDir;
use crate::data::{Dataset, Memory};
use crate::train::Trainer;
use crate::train::task::Task;

fn pictures() -> Memory {
    let shape = Shape::new(1, 8, 8);
    let labels: Vec<u8> = (0..16).map(|i| i % 2).collect();
    let pixels = labels.iter().flat_map(|&label| vec![40 + 100 * label; shape.len()]).collect();
    Memory::new("two", shape, pixels, labels, vec!["dark".into(), "light".into()]).unwrap()
}

fn trainer<'a>(network: &str) -> Trainer<'a> {
    let trainer = Trainer::new(network).set("steps", 2).set("batch", 4).set("threads", 1);
    trainer.data(pictures()).evaluate_on(pictures())
}

#[test]
fn a_run_that_goes_on_holds_its_checkpoint_no_longer_than_it_must() {
    let dir = TestDir::new("resumed");
    let (base, root) = (dir.0.join("base.safetensors"), dir.0.join("run"));
    trainer("resnet8").run().unwrap().model.save(&base).unwrap();
    trainer("resnet8").set("model.start", base.display()).out(&root).run().unwrap();

    let (directory, recipe) = Directory::open(&root).unwrap();
    let last = Arc::new(Model::load(&directory.path(LAST)).unwrap());
    let held = Arc::downgrade(&last);
    let eval: Arc<dyn Dataset> = Arc::new(pictures());
    let (start, device) = (Some(last.clone()), exec::cpu(1).unwrap());
    let task = Task::of_data(recipe, eval.clone(), Some(eval), start, device).unwrap();
    let mut nobody = ();
    let job = Job::prepare(task).unwrap();
    let run = Run::resume(job, Some(directory), Some(last), &mut nobody).unwrap();
    assert_eq!(run.progress.step, 2);
    assert!(run.job.task.start.is_none() && held.upgrade().is_none());
}

//! Who watches a run.

use super::event::Event;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// Save a checkpoint and stop; the run can be resumed.
    Stop,
}

/// Where a run is, told after every step.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// The present epoch, the first being 1.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Loss of this step.
    pub loss: f64,
    /// Images in this step.
    pub images: usize,
}

/// Who watches a run.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// A step was done.
    fn tick(&mut self, tick: &Tick) -> Flow;

    /// An evaluation is under way: images done, and all of them. One that is stopped is done again
    /// when the run goes on.
    fn evaluating(&mut self, _done: u64, _of: u64) -> Flow {
        Flow::Go
    }

    /// Another process asks the run to stop, which it is about to do.
    fn asked_to_stop(&mut self) {}
}

/// Watches nothing.
impl Observer for () {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, _: &Tick) -> Flow {
        Flow::Go
    }
}

/// Tells events to a closure.
pub(super) struct Events<'a>(pub(super) Box<dyn FnMut(&Event) + 'a>);

impl Observer for Events<'_> {
    fn event(&mut self, event: &Event) {
        (self.0)(event);
    }

    fn tick(&mut self, _: &Tick) -> Flow {
        Flow::Go
    }
}

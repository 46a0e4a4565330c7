//! The CPU behind a gate: while it is closed, networks wait where they would compute. So a test
//! says how long a picture takes, and nothing is left to time.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use resnet::engine::exec::{Backend, Device, ExecError, Keep, Kernel, Limits, Rates, Reduce, cpu};
use resnet::engine::plan::Plan;
use resnet::engine::step::{Precision, SlotId, Space};

use super::PATIENCE;

/// What happens to the next picture that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The thread that computes it panics.
    Panic,
    /// The device fails.
    Device,
}

/// Where pictures wait.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    waiting: usize,
    passed: usize,
    /// Pictures that may pass while it is closed.
    tickets: usize,
    fault: Option<Fault>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    pub(crate) fn open(&self) {
        self.lock().closed = false;
        self.changed.notify_all();
    }

    /// Lets one picture pass while it is closed.
    pub(crate) fn pass_one(&self) {
        self.lock().tickets += 1;
        self.changed.notify_all();
    }

    /// Comes back once so many pictures wait at the gate.
    pub(crate) fn wait_for(&self, waiting: usize) {
        let fewer = |state: &mut State| state.waiting < waiting;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, fewer);
        assert!(!waited.unwrap().1.timed_out(), "no {waiting} pictures came to the gate");
    }

    /// Pictures that were computed, those of warming up too.
    pub(crate) fn passed(&self) -> usize {
        self.lock().passed
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    fn pass(&self) -> Result<(), ExecError> {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        let barred = |state: &mut State| state.closed && state.tickets == 0;
        let mut state = self.changed.wait_while(state, barred).unwrap();
        if state.closed {
            state.tickets -= 1;
        }
        state.waiting -= 1;
        state.passed += 1;
        let fault = state.fault.take();
        drop(state);
        match fault {
            None => Ok(()),
            Some(Fault::Device) => Err(ExecError::Device("the device has failed".into())),
            Some(Fault::Panic) => panic!("a panic that a test wants"),
        }
    }
}

/// The CPU with so many threads, behind a gate.
pub(crate) fn gated(threads: usize) -> (Arc<dyn Device>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    (Arc::new(Gated { inner: cpu(threads).unwrap(), gate: gate.clone() }), gate)
}

struct Gated {
    inner: Arc<dyn Device>,
    gate: Arc<Gate>,
}

impl Device for Gated {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn about(&self) -> String {
        self.inner.about()
    }

    fn threads(&self) -> usize {
        self.inner.threads()
    }

    fn precision(&self) -> (Precision, &'static str) {
        self.inner.precision()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn kernels(&self, plan: &Plan) -> Vec<Kernel> {
        self.inner.kernels(plan)
    }

    fn prepare(&self, plan: Arc<Plan>, keep: Keep) -> Result<Box<dyn Backend>, ExecError> {
        let inner = self.inner.prepare(plan, keep)?;
        Ok(Box::new(GatedBackend { inner, gate: self.gate.clone() }))
    }
}

struct GatedBackend {
    inner: Box<dyn Backend>,
    gate: Arc<Gate>,
}

impl Backend for GatedBackend {
    fn plan(&self) -> &Arc<Plan> {
        self.inner.plan()
    }

    fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError> {
        // What is computed for a heat map follows the forward pass.
        if steps.start == self.plan().forward.start {
            self.gate.pass()?;
        }
        self.inner.run(steps)
    }

    fn set_rates(&mut self, rates: Rates) {
        self.inner.set_rates(rates);
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError> {
        self.inner.write(slot, from)
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError> {
        self.inner.read(slot, into)
    }

    fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError> {
        self.inner.reduce(slot, what)
    }

    fn all_finite(&self, space: Space) -> Result<bool, ExecError> {
        self.inner.all_finite(space)
    }

    fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Box<dyn Backend>, ExecError> {
        let inner = self.inner.fork(plan)?;
        Ok(Box::new(GatedBackend { inner, gate: self.gate.clone() }))
    }

    fn set_gang(&mut self, all: bool) {
        self.inner.set_gang(all);
    }
}

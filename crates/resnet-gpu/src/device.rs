//! A GPU as a device of the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resnet_engine::exec::{Backend, Device, ExecError, Keep, Kernel, Limits, OpenError, Session};
use resnet_engine::graph::{Graph, LayerId, Op, Shape};
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::{Precision, SlotId};

use crate::adapter::{Adapter, Kind};
use crate::backend::GpuBackend;
use crate::gpu::Gpu;
use crate::op;

/// How long a measurement is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// An opened GPU. All that it prepares share its pipelines.
pub(crate) struct GpuDevice {
    gpu: Arc<Gpu>,
    adapter: Adapter,
    threads: usize,
}

impl GpuDevice {
    /// Opens an adapter.
    ///
    /// # Errors
    /// The driver refuses, or has less than kernels take.
    pub(crate) fn open(
        adapter: Adapter,
        found: &wgpu::Adapter,
        threads: usize,
    ) -> Result<GpuDevice, OpenError> {
        Ok(GpuDevice { gpu: Arc::new(Gpu::open(found)?), adapter, threads: threads.max(1) })
    }

    /// Seconds of the fastest of some inferences of a network of one layer.
    fn seconds(&self, input: Shape, batch: usize, op: Op) -> Option<f64> {
        let mut graph = Graph::new(input);
        graph.push("probe", op, &[LayerId(0)]);
        let plan = Arc::new(Plan::build(&graph, Options::infer(batch)).ok()?);
        let mut session = Session::new(self, plan.clone()).ok()?;
        let mut fastest = f64::INFINITY;
        let (end, mut rounds) = (Instant::now() + Duration::from_millis(200), 0);
        while rounds < 2 || (Instant::now() < end && rounds < 50) {
            let began = Instant::now();
            session.run(plan.forward.clone()).ok()?;
            // A driver that never answers is not waited for where nobody asked for it.
            self.gpu.finish_within(Some(PATIENCE)).ok()?;
            fastest = fastest.min(began.elapsed().as_secs_f64());
            rounds += 1;
        }
        Some(fastest)
    }
}

impl Device for GpuDevice {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn about(&self) -> String {
        format!("{} by {}", self.adapter.name, self.adapter.api)
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn precision(&self) -> (Precision, &'static str) {
        (
            Precision::F32,
            "bf16 halves what maps take of the GPU's memory, and its kernels are slower",
        )
    }

    fn limits(&self) -> Limits {
        // Software takes seconds for what a card does in a millisecond.
        let (side, channels) = match self.adapter.kind {
            Kind::Software => (16, 64),
            _ => (64, 256),
        };
        let conv = Op::Conv2d {
            c_out: channels,
            kernel: 3,
            stride: 1,
            padding: 1,
            groups: 1,
            bias: false,
        };
        let input = Shape::new(channels, side, side);
        let flops = 2.0 * (side * side * 9 * channels * channels) as f64;
        let bytes = 2.0 * 4.0 * (side * side * channels * 16) as f64;
        let rate = |amount: f64, seconds: Option<f64>| seconds.map_or(0.0, |s| amount / s);
        Limits {
            flops: rate(flops, self.seconds(input, 1, conv)),
            bf16_flops: None,
            bandwidth: rate(bytes, self.seconds(input, 16, Op::Relu)),
        }
    }

    fn kernels(&self, plan: &Plan) -> Vec<Kernel> {
        let whole = |spans: &[SlotId]| op::uncut(plan, spans);
        let name = |step| {
            let launches = op::launches(plan, step, &whole);
            let name = launches.kernels.first().map_or("none", |kernel| kernel.name);
            Kernel { name: format!("{name} wgsl"), multiplies_bf16: false }
        };
        plan.steps.iter().map(name).collect()
    }

    fn prepare(&self, plan: Arc<Plan>, _: Keep) -> Result<Box<dyn Backend>, ExecError> {
        // Kernels read weights as they are, so that they are there to be read back.
        Ok(Box::new(GpuBackend::new(self.gpu.clone(), plan)?))
    }
}

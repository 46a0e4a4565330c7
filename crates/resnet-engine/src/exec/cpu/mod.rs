//! The CPU: kernels are chosen once (`chosen`), then each step borrows its slots and calls one
//! (`step`).
//!
//! All memory is taken with an executor, its arena in one allocation; running steps allocates
//! nothing. Executors of one device share its threads, and those of one model its weights
//! (`weights`).

mod chosen;
mod executor;
mod memory;
mod shapes;
mod step;
mod time;
mod weights;

use std::sync::Arc;

use resnet_kernels::{Isa, peak, winograd_switch};

use super::device::{Backend, Device, Keep, Kernel, Limits};
use super::error::{ExecError, OpenError};
use crate::plan::Plan;
use crate::step::Precision;
use chosen::{Chosen, choose};
use executor::Executor;

pub use resnet_kernels::Telling;
pub use time::{ConvTime, time_convolution};

/// This machine's cores.
struct CpuDevice {
    cpu: Arc<resnet_kernels::Cpu>,
    about: String,
}

/// Opens it with so many threads, at least 1.
pub(super) fn open(threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    let isa = Isa::best().map_err(|error| OpenError(error.to_string()))?;
    let about = match winograd_switch().map_err(OpenError)? {
        true => isa.to_string(),
        false => format!("{isa} without Winograd"),
    };
    Ok(Arc::new(CpuDevice { cpu: Arc::new(resnet_kernels::Cpu::new(threads)), about }))
}

/// Names of the instruction sets of this CPU that kernels are compiled for, slowest first; the last
/// is taken where nothing restricts it.
pub fn instruction_sets() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

impl Device for CpuDevice {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn about(&self) -> String {
        self.about.clone()
    }

    fn threads(&self) -> usize {
        self.cpu.threads()
    }

    fn precision(&self) -> (Precision, &'static str) {
        match (self.cpu.isa(), self.cpu.isa().favours_bf16()) {
            (Isa::Amx, _) => {
                (Precision::Bf16, "this CPU multiplies tiles of bf16 many times faster than f32")
            }
            (Isa::Avx512Bf16, true) => {
                (Precision::Bf16, "this CPU multiplies pairs of bf16 twice as fast as f32")
            }
            (Isa::Avx512Bf16, false) => {
                (Precision::F32, "this CPU multiplies pairs of bf16, but more slowly than f32")
            }
            _ => (
                Precision::F32,
                "without instructions that multiply bf16 it saves memory, but seldom time",
            ),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            flops: peak::flops(&self.cpu),
            bf16_flops: peak::bf16_flops(&self.cpu),
            bandwidth: peak::bandwidth(&self.cpu),
        }
    }

    fn kernels(&self, plan: &Plan) -> Vec<Kernel> {
        let (convs, _) = choose(&self.cpu, plan);
        let kernel = |conv: &Option<Chosen>| match conv {
            Some(conv) => {
                Kernel { name: conv.name().to_string(), multiplies_bf16: conv.multiplies_bf16() }
            }
            None => Kernel { name: self.cpu.isa().vectors().to_string(), multiplies_bf16: false },
        };
        convs.iter().map(kernel).collect()
    }

    fn prepare(&self, plan: Arc<Plan>, keep: Keep) -> Result<Box<dyn Backend>, ExecError> {
        Ok(Box::new(Executor::new(self.cpu.clone(), plan, keep)?))
    }
}

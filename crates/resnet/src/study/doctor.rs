//! What this machine is to the program: the first thing to know when something is slow or missing.
//!
//! Nothing is measured, and what cannot be told is told as that.

use resnet_engine::exec::{self, CgroupLimits, DefaultThreads, Device};
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::StepKind;
use serde::Serialize;

use crate::base::machine::{self, Memory};
use crate::device::{self, Listed};
use crate::net::Arch;
use crate::ranks::mpi::{self, Prospect};

/// The network whose kernels are told.
const TYPICAL: &str = "resnet18";
/// Images a step of it.
const BATCH: usize = 32;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The system.
    pub system: String,
    /// The processor's name, where the system tells it.
    pub cpu: Option<String>,
    /// Instruction sets that it has and kernels are made for, slowest first.
    pub instruction_sets: Vec<&'static str>,
    /// What computes on it, or why nothing does.
    #[serde(flatten)]
    pub computes: Told<Computes>,
    /// How many threads compute where nobody says.
    pub threads: &'static DefaultThreads,
    /// What that follows from.
    pub threads_why: String,
    /// The machine's memory, where the system tells it.
    pub memory: Option<Memory>,
    /// What control groups, those of a container say, leave of the machine.
    pub limits: CgroupLimits,
    /// GPUs.
    pub gpus: &'static [Listed],
    /// Why there is none that is no software.
    pub no_gpu: Option<String>,
    /// What is known of an MPI.
    pub mpi: Prospect,
}

/// Something, or why there is none.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Told<T> {
    /// It.
    Found(T),
    /// What is in its way.
    Failed {
        /// In words.
        error: String,
    },
}

/// How the CPU computes.
#[derive(Debug, Serialize)]
pub struct Computes {
    /// The instruction set that was taken.
    pub taken: String,
    /// How training stores maps here where nobody says.
    pub precision: &'static str,
    /// Why so.
    pub precision_why: &'static str,
    /// Kernels of a typical network's convolutions, in training.
    pub kernels: Vec<Used>,
}

/// A kernel and where it is used.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Its name.
    pub kernel: String,
    /// The first convolution that it computes.
    pub convolution: String,
    /// How many more it computes.
    pub more: usize,
}

/// Looks at this machine. It takes the time of opening the CPU and asking drivers for their GPUs.
pub fn look() -> Findings {
    let computes = match exec::cpu(0) {
        Ok(cpu) => Told::Found(computes(cpu.as_ref())),
        Err(error) => Told::Failed { error: error.to_string() },
    };
    let threads = DefaultThreads::get();
    Findings {
        system: machine::system(),
        cpu: machine::cpu(),
        instruction_sets: exec::instruction_sets(),
        computes,
        threads,
        threads_why: threads.why(),
        memory: machine::memory(),
        limits: CgroupLimits::read(),
        gpus: device::gpus(),
        no_gpu: device::no_gpu(),
        mpi: mpi::prospect(),
    }
}

/// The network whose kernels are told, in words.
pub fn typical() -> String {
    format!("{TYPICAL}, training, batch {BATCH}")
}

fn computes(cpu: &dyn Device) -> Computes {
    let (precision, precision_why) = cpu.precision();
    let options = Options { precision, ..Options::train(BATCH, 0.0) };
    let plan = Arch::parse(TYPICAL).ok().and_then(|arch| {
        let graph = arch.graph(arch.default_input(), arch.default_classes()).ok()?;
        Plan::build(&graph, options).ok()
    });
    let kernels = plan.map_or(Vec::new(), |plan| kernels(cpu, &plan));
    Computes { taken: cpu.about(), precision: precision.name(), precision_why, kernels }
}

/// The kernels of a plan's forward convolutions, in the order of their first.
fn kernels(cpu: &dyn Device, plan: &Plan) -> Vec<Used> {
    let mut found: Vec<Used> = Vec::new();
    for (step, kernel) in plan.steps.iter().zip(cpu.kernels(plan)) {
        let StepKind::Conv { conv, .. } = step.kind else { continue };
        match found.iter_mut().find(|used| used.kernel == kernel.name) {
            Some(used) => used.more += 1,
            None => found.push(Used {
                kernel: kernel.name,
                convolution: format!(
                    "{k}x{k}/{} {}->{} at {}x{}",
                    conv.stride,
                    conv.c_in,
                    conv.c_out,
                    conv.h,
                    conv.w,
                    k = conv.kernel
                ),
                more: 0,
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_convolution_of_the_typical_network_is_told_once() {
        let found = look();
        let Told::Found(computes) = &found.computes else { panic!("{found:?}") };
        let count: usize = computes.kernels.iter().map(|used| 1 + used.more).sum();
        assert_eq!(count, 20, "{computes:?}");
        assert_eq!(computes.kernels[0].convolution, "7x7/2 3->64 at 224x224");
        let names: std::collections::BTreeSet<_> =
            computes.kernels.iter().map(|used| &used.kernel).collect();
        assert_eq!(names.len(), computes.kernels.len());
        assert!(found.instruction_sets.contains(&"scalar"));
    }

    #[test]
    fn what_fails_is_part_of_what_is_told() {
        let failed = Told::<Computes>::Failed { error: "no".into() };
        let found = Findings { computes: failed, ..look() };
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json["error"], json["threads"]["count"].is_u64()), (&"no".into(), true));
        assert!(json["taken"].is_null());
    }
}

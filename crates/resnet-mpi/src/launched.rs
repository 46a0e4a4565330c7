//! Who started this process: told from the environment alone.

use std::env;
use std::fmt;

/// Names the library to load; `none` means that no MPI is used.
pub const LIBRARY_VARIABLE: &str = "RESNET_MPI";

/// Programs that start the processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `mpirun` and `mpiexec` of Open MPI.
    OpenMpi,
    /// `mpirun` and `mpiexec` of MPICH, Intel MPI and others that use Hydra.
    Hydra,
    /// Slurm's `srun`.
    Slurm(Wire),
    /// Something else that speaks PMIx, such as `prterun`.
    Pmix,
}

/// How `srun` and its processes speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// PMIx, as Open MPI wants it.
    Pmix,
    /// PMI-1 or PMI-2, as MPICH and its kin want it.
    Pmi,
    /// Not at all.
    None,
}

impl Launcher {
    /// How it is told to bind processes to no CPU.
    pub fn unbound(self) -> &'static str {
        match self {
            Self::Slurm(_) => "srun --cpu-bind=none",
            Self::Hydra => "mpirun -bind-to none (Intel MPI: I_MPI_PIN=off)",
            Self::OpenMpi | Self::Pmix => "mpirun --bind-to none",
        }
    }

    /// What to start the run with instead.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::OpenMpi => {
                "Install Open MPI's library beside its launcher, or start with the mpirun of the \
                 library"
            }
            Self::Hydra => {
                "Install the library of the launcher's MPI (MPICH, Intel MPI), or start with the \
                 mpirun of the library"
            }
            Self::Slurm(_) => {
                "Choose srun's plugin by SLURM_MPI_TYPE (pmix for Open MPI, pmi2 for MPICH and \
                 Intel MPI)"
            }
            Self::Pmix => "Start with the mpirun of the library",
        }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "Open MPI's launcher",
            Self::Hydra => "MPICH's launcher (Hydra)",
            Self::Slurm(Wire::Pmix) => "Slurm's srun (PMIx)",
            Self::Slurm(Wire::Pmi) => "Slurm's srun (PMI)",
            Self::Slurm(Wire::None) => "Slurm's srun (without an MPI plugin)",
            Self::Pmix => "a launcher that speaks PMIx",
        })
    }
}

/// What a launcher says of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Who it is.
    pub launcher: Launcher,
    /// This process's number, from 0.
    pub rank: Option<usize>,
    /// How many processes there are.
    pub count: Option<usize>,
    /// How many of them are on this machine.
    pub local: Option<usize>,
}

/// The launcher that started this process, if one did; nothing is loaded. `RESNET_MPI=none` says
/// that the process is to be by itself whoever started it.
pub fn launched() -> Option<Launched> {
    read(&|name| env::var(name).ok())
}

fn read(variable: &dyn Fn(&str) -> Option<String>) -> Option<Launched> {
    let number = |name: &str| variable(name)?.trim().parse().ok();
    let has = |name: &str| variable(name).is_some();
    if variable(LIBRARY_VARIABLE).is_some_and(|path| path == "none") {
        return None;
    }
    if has("OMPI_COMM_WORLD_SIZE") {
        return Some(Launched {
            launcher: Launcher::OpenMpi,
            rank: number("OMPI_COMM_WORLD_RANK"),
            count: number("OMPI_COMM_WORLD_SIZE"),
            local: number("OMPI_COMM_WORLD_LOCAL_SIZE"),
        });
    }
    // Hydra may start its proxies by srun, whose variables then speak of the proxies.
    let step: Option<usize> = number("SLURM_STEP_NUM_TASKS");
    if has("PMI_SIZE") && (has("MPI_LOCALRANKID") || step.is_none()) {
        return Some(Launched {
            launcher: Launcher::Hydra,
            rank: number("PMI_RANK"),
            count: number("PMI_SIZE"),
            local: number("MPI_LOCALNRANKS"),
        });
    }
    let pmix = has("PMIX_RANK") && has("PMIX_NAMESPACE");
    if let Some(count) = step {
        let wire = match (pmix, has("PMI_RANK") || has("PMI_FD")) {
            (true, _) => Wire::Pmix,
            (false, true) => Wire::Pmi,
            (false, false) => Wire::None,
        };
        // One process of a step without a plugin is a program like any other.
        return (count > 1 || wire != Wire::None).then(|| Launched {
            launcher: Launcher::Slurm(wire),
            rank: number("SLURM_PROCID"),
            count: Some(count),
            local: None,
        });
    }
    let rank = number("PMIX_RANK");
    pmix.then_some(Launched { launcher: Launcher::Pmix, rank, count: None, local: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<Launched> {
        let pairs: Vec<_> = text.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        read(&|name| pairs.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn launchers_are_told_apart() {
        let found = |launcher, rank, count, local| Some(Launched { launcher, rank, count, local });
        let open = "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_SIZE=2 \
                    PMIX_RANK=1 PMIX_NAMESPACE=7";
        assert_eq!(told(open), found(Launcher::OpenMpi, Some(1), Some(4), Some(2)));
        let hydra = "PMI_RANK=0 PMI_SIZE=1 MPI_LOCALNRANKS=1 MPI_LOCALRANKID=0 PMI_FD=6";
        assert_eq!(told(hydra), found(Launcher::Hydra, Some(0), Some(1), Some(1)));
        let through_srun = format!("{hydra} SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1");
        assert_eq!(told(&through_srun), told(hydra));
        let slurm = |wire| found(Launcher::Slurm(wire), Some(3), Some(8), None);
        let step = "SLURM_STEP_NUM_TASKS=8 SLURM_PROCID=3 SLURM_JOB_ID=5";
        assert_eq!(told(step), slurm(Wire::None));
        assert_eq!(told(&format!("{step} PMIX_RANK=3 PMIX_NAMESPACE=x")), slurm(Wire::Pmix));
        assert_eq!(told(&format!("{step} PMI_RANK=3 PMI_SIZE=8")), slurm(Wire::Pmi));
        let other = "PMIX_RANK=2 PMIX_NAMESPACE=prterun";
        assert_eq!(told(other), found(Launcher::Pmix, Some(2), None, None));
    }

    #[test]
    fn what_no_launcher_started_is_alone() {
        let script = "SLURM_JOB_ID=5 SLURM_PROCID=0 SLURM_NTASKS=64 SLURM_NNODES=8";
        for alone in ["", script, "SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", "PMIX_RANK=1"] {
            assert_eq!(told(alone), None, "{alone}");
        }
        let by_itself = "RESNET_MPI=none OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4";
        assert_eq!(told(by_itself), None);
    }
}

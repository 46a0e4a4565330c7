//! Which device computes: the one place that knows what kinds of devices there are.
//!
//! [`open`] makes one of what is [`Wanted`], [`list`] says what could be wanted here.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use resnet_engine::exec::{self, Device, OpenError};
use serde::{Deserialize, Serialize};

use crate::base::machine;

/// A GPU must compute so many times as fast as the CPU to be taken unasked.
const WORTH: f64 = 1.5;

/// Whether this program can use GPUs at all.
pub const HAS_GPUS: bool = cfg!(feature = "gpu");

/// The device that is wanted, as text `auto`, `cpu`, `gpu`, `gpu:1` or `gpu:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Wanted {
    /// The first GPU that is no software, if it computes faster than the CPU; else the CPU.
    #[default]
    Auto,
    /// This machine's cores.
    Cpu,
    /// A GPU: by its number in [`list`] or by a part of its name, or else the first that is no
    /// software.
    Gpu(Option<String>),
}

impl Wanted {
    /// The texts it is read from, in words.
    pub const EXPECTED: &str = "`auto`, `cpu`, `gpu`, `gpu:NUMBER` or `gpu:NAME`";
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Auto => f.write_str("auto"),
            Wanted::Cpu => f.write_str("cpu"),
            Wanted::Gpu(None) => f.write_str("gpu"),
            Wanted::Gpu(Some(which)) => write!(f, "gpu:{which}"),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Wanted::Auto),
            None if text == "cpu" => Ok(Wanted::Cpu),
            None if text == "gpu" => Ok(Wanted::Gpu(None)),
            Some(("gpu", which)) if !which.trim().is_empty() => {
                Ok(Wanted::Gpu(Some(which.to_owned())))
            }
            _ => Err(format!("`{text}` is no device; expected {}", Wanted::EXPECTED)),
        }
    }
}

impl From<Wanted> for String {
    fn from(wanted: Wanted) -> String {
        wanted.to_string()
    }
}

impl TryFrom<String> for Wanted {
    type Error = String;

    fn try_from(text: String) -> Result<Wanted, String> {
        text.parse()
    }
}

/// A device that is open.
pub struct Opened {
    /// It.
    pub device: Arc<dyn Device>,
    /// Which one: never [`Wanted::Auto`].
    pub taken: Wanted,
    /// Why this one, where there was a choice.
    pub why: Option<String>,
}

/// Opens a device with so many threads of the host, or what is fastest for 0.
///
/// What [`Wanted::Auto`] takes is measured where there is a GPU, once in a process, which takes
/// seconds; elsewhere it is the CPU.
///
/// # Errors
/// There is no such device, or it cannot be used; an environment variable that restricts the CPU's
/// instructions is wrong.
pub fn open(wanted: &Wanted, threads: usize) -> Result<Opened, OpenError> {
    match wanted {
        Wanted::Cpu => Ok(of_cpu(exec::cpu(threads)?, None)),
        Wanted::Gpu(_) => {
            let device = open_gpu(wanted, threads)?;
            Ok(Opened { device, taken: wanted.clone(), why: None })
        }
        Wanted::Auto => {
            let cpu = exec::cpu(threads)?;
            if !may_have_gpu(Path::new("/dev")) {
                return Ok(of_cpu(cpu, None));
            }
            match gpus().iter().find(|gpu| !gpu.is_software()) {
                None => Ok(of_cpu(cpu, None)),
                Some(gpu) => Ok(choose(cpu, gpu, |which| open_gpu(which, threads), measured)),
            }
        }
    }
}

/// Whether this machine may have a GPU: on Linux each is a file among the devices, so that without
/// one no driver need be asked, which takes time, and may say things of its own.
fn may_have_gpu(devices: &Path) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let drawn = names(&devices.join("dri")).iter().any(|name| name.starts_with("renderD"));
    drawn || names(devices).iter().any(|name| name.starts_with("nvidia") || name == "dxg")
}

fn of_cpu(device: Arc<dyn Device>, why: Option<String>) -> Opened {
    Opened { device, taken: Wanted::Cpu, why }
}

/// Of the CPU and a GPU the one that is worth it; `measure` gives operations a second of the CPU
/// and of the GPU.
fn choose(
    cpu: Arc<dyn Device>,
    gpu: &Listed,
    open: impl FnOnce(&Wanted) -> Result<Arc<dyn Device>, OpenError>,
    measure: impl FnOnce(&dyn Device, &dyn Device) -> [f64; 2],
) -> Opened {
    let named = format!("{} ({})", gpu.device, gpu.name);
    let device = match open(&gpu.device) {
        Ok(device) => device,
        Err(error) => return of_cpu(cpu, Some(format!("{named} cannot be used: {error}"))),
    };
    let [slow, fast] = measure(cpu.as_ref(), device.as_ref());
    let figures = format!("{:.0} GFLOP/s beside the CPU's {:.0}", fast / 1e9, slow / 1e9);
    // A GPU that measures no number is not faster.
    if fast >= WORTH * slow {
        let why = Some(format!("{} computes {figures}", gpu.name));
        return Opened { device, taken: gpu.device.clone(), why };
    }
    if fast == 0.0 || fast.is_nan() {
        return of_cpu(cpu, Some(format!("{named} gave no answer when it was measured")));
    }
    of_cpu(cpu, Some(format!("{named} computes {figures}, less than {WORTH} times as much")))
}

/// Operations a second of the CPU and of the GPU. They are measured once for each number of
/// threads, so that one process never takes now this device and now that.
fn measured(cpu: &dyn Device, gpu: &dyn Device) -> [f64; 2] {
    static MEASURED: Mutex<Vec<(usize, [f64; 2])>> = Mutex::new(Vec::new());
    let mut known = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, flops)) = known.iter().find(|(threads, _)| *threads == cpu.threads()) {
        return *flops;
    }
    let flops = [cpu, gpu].map(|device| device.limits().flops);
    known.push((cpu.threads(), flops));
    flops
}

/// A device that could be wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// What names it: `cpu`, `gpu:0`, `gpu:1`, ...
    pub device: Wanted,
    /// What it is called: a processor, or a GPU as its driver has it.
    pub name: String,
    /// `cpu`; or of a GPU `discrete`, `integrated`, `virtual`, or `software`, which is the CPU in
    /// the place of one.
    pub kind: &'static str,
    /// Of the CPU, its instruction set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Of the CPU, how many threads compute where no number is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Of a GPU, the interface it is reached by, such as `Vulkan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<&'static str>,
    /// Of a GPU, its driver and the driver's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Of a GPU, bytes that one array of numbers may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_slot: Option<u64>,
}

/// The kind of GPU that is none.
const SOFTWARE: &str = "software";

impl Listed {
    /// Whether it is a GPU in whose place the CPU computes.
    pub fn is_software(&self) -> bool {
        self.kind == SOFTWARE
    }
}

/// All devices, the CPU first.
///
/// # Errors
/// An environment variable that restricts the CPU's instructions is wrong.
pub fn list() -> Result<Vec<Listed>, OpenError> {
    let cpu = exec::cpu(0)?;
    let cpu = Listed {
        device: Wanted::Cpu,
        name: machine::cpu().unwrap_or_else(|| "this machine's cores".into()),
        kind: "cpu",
        about: Some(cpu.about()),
        threads: Some(cpu.threads()),
        api: None,
        driver: None,
        largest_slot: None,
    };
    Ok([cpu].into_iter().chain(gpus().iter().cloned()).collect())
}

/// What is told of a device where the CPU needs no words: `cpu`, or what the GPU is called.
pub fn label(device: &dyn Device) -> String {
    match device.name() {
        "cpu" => "cpu".into(),
        _ => device.about(),
    }
}

/// The device that was told of by a [`label`], if it is here.
pub fn named(told: &str) -> Option<Wanted> {
    match told {
        "" => None,
        "cpu" => Some(Wanted::Cpu),
        _ => named_among(gpus(), told),
    }
}

fn named_among(gpus: &[Listed], told: &str) -> Option<Wanted> {
    let is_told =
        |gpu: &&Listed| told.strip_prefix(&gpu.name).is_some_and(|rest| rest.starts_with(" by "));
    gpus.iter().find(is_told).map(|gpu| gpu.device.clone())
}

/// Of a program that cannot use them.
const WITHOUT: &str = "this program was built without GPUs";

/// Why there is no GPU here that is no software, and what to do about it; `None` where there is.
pub fn no_gpu() -> Option<String> {
    why_none(gpus(), std::env::consts::OS)
}

fn why_none(gpus: &[Listed], system: &str) -> Option<String> {
    if !HAS_GPUS {
        return Some(WITHOUT.into());
    }
    let software = match gpus {
        [] => String::new(),
        [first, ..] if first.is_software() => format!(
            ", only software in the place of one: {} ({}), slow, and taken where it is named",
            first.device, first.name
        ),
        _ => return None,
    };
    let advice = match system {
        "linux" => {
            "GPUs are reached through Vulkan, whose loader (libvulkan.so.1) or driver is missing: \
             on Debian and Ubuntu the package mesa-vulkan-drivers is for AMD and Intel, NVIDIA's \
             own driver package for NVIDIA; a container needs the driver of its host"
        }
        "macos" => "macOS brings its driver, so this machine may have no GPU that it lends",
        "windows" => {
            "Windows brings DirectX 12, and its updates or the maker of the GPU its driver"
        }
        _ => "GPUs are reached through Vulkan, whose loader or driver is missing",
    };
    Some(format!("no GPU was found{software}; {advice}"))
}

/// The GPUs, discrete ones first and software last; they are looked for once.
pub fn gpus() -> &'static [Listed] {
    static GPUS: OnceLock<Vec<Listed>> = OnceLock::new();
    GPUS.get_or_init(found)
}

#[cfg(feature = "gpu")]
fn found() -> Vec<Listed> {
    let listed = |(index, adapter): (usize, resnet_gpu::Adapter)| Listed {
        device: Wanted::Gpu(Some(index.to_string())),
        name: adapter.name,
        kind: adapter.kind.name(),
        about: None,
        threads: None,
        api: Some(adapter.api),
        driver: Some(adapter.driver),
        largest_slot: Some(adapter.largest_slot),
    };
    resnet_gpu::adapters().into_iter().enumerate().map(listed).collect()
}

#[cfg(not(feature = "gpu"))]
fn found() -> Vec<Listed> {
    Vec::new()
}

/// Opens a GPU. What is wrong with a name is said by who knows what there is; where there is
/// nothing, what to do about it is of more use.
fn open_gpu(wanted: &Wanted, threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    let any = matches!(wanted, Wanted::Gpu(None));
    match no_gpu().filter(|_| any || gpus().is_empty()) {
        Some(why) => Err(OpenError(format!("device `{wanted}`: {why}; `cpu` is always there"))),
        None => driver(wanted, exec::threads(threads)),
    }
}

#[cfg(feature = "gpu")]
fn driver(wanted: &Wanted, threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    let which = wanted.to_string().parse().map_err(OpenError)?;
    resnet_gpu::open(&which, threads)
}

#[cfg(not(feature = "gpu"))]
fn driver(_: &Wanted, _: usize) -> Result<Arc<dyn Device>, OpenError> {
    Err(OpenError(WITHOUT.into()))
}

#[cfg(test)]
mod tests;

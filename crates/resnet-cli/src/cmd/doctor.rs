//! `resnet doctor`.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use resnet::base::text;
use resnet::data::without_secrets;
use resnet::device::{self, Listed};
use resnet::study::doctor::{self, Computes, Findings, Told};
use serde_json::{Map, Value, json};

use crate::places;
use crate::term::{self, Out, scaled_bytes};

/// Arguments of `resnet doctor`.
#[derive(clap::Args)]
#[command(after_help = "Nothing is measured and nothing leaves this machine: the text is for you \
to paste. `resnet devices` also measures which device auto takes, `resnet bench` how fast it is.")]
pub(crate) struct Args {
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What begins the names of our variables.
const OURS: &str = "RESNET_";
/// Those whose values may be shown.
const SHOWN: [&str; 6] = [
    "RESNET_ISA",
    "RESNET_MAX_PIXELS",
    "RESNET_MPI",
    "RESNET_MPI_TIMEOUT",
    "RESNET_WEIGHTS",
    "RESNET_WINOGRAD",
];
/// Those whose values are secrets.
const HIDDEN: [&str; 1] = ["RESNET_DATA_QUERY"];
/// Most files of a folder whose sizes are added.
const MOST_FILES: usize = 100_000;
/// Most rows of one kind in the text, which fits a screen.
const MOST_ROWS: usize = 7;
/// Most characters of a row.
const COLUMNS: usize = 480;

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut found = doctor::look();
    found.mpi.library = found.mpi.library.map(|library| of_home(&library));
    let folders = folders();
    let variables = variables(env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    }));
    let mut out = term::out();
    if args.json {
        let mut json = json!({
            "version": env!("CARGO_PKG_VERSION"), "build": build(), "features": features(),
            "folders": folders.iter().map(Folder::json).collect::<Vec<_>>(),
            "variables": variables.into_iter()
                .map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>(),
        });
        if let (Some(all), Value::Object(more)) =
            (json.as_object_mut(), serde_json::to_value(&found)?)
        {
            all.extend(more);
        }
        out.json(json)?;
        return Ok(());
    }
    let mut rows = vec![
        ("resnet", format!("{}, {}", env!("CARGO_PKG_VERSION"), build())),
        ("features", some(&features(), ", ")),
    ];
    of_machine(&found, &mut rows);
    of_devices(&found, &mut rows);
    let mpi = &found.mpi;
    let started = mpi.launcher.as_ref().map_or(String::new(), |by| format!("; started by {by}"));
    let library = mpi.library.as_ref().or(mpi.missing.as_ref());
    rows.push(("MPI", format!("{}{started}", library.map_or("not told", String::as_str))));
    rows.extend(folders.iter().map(|folder| (folder.what, folder.text())));
    let set = variables.iter().map(|(name, value)| format!("{name}={value}"));
    list(&mut rows, "variables", set.collect());
    write(&mut out, &rows)?;
    Ok(())
}

type Row = (&'static str, String);

/// Rows with their names in a column; of equal names beneath each other one is shown.
fn write(out: &mut Out, rows: &[Row]) -> io::Result<()> {
    let mut last = "";
    for (name, text) in rows {
        let shown = if *name == last { "" } else { name };
        let text: String = text.chars().take(COLUMNS).collect();
        writeln!(out, "{shown:<13} {text}")?;
        last = name;
    }
    Ok(())
}

/// A row for each text, of many the first.
fn list(rows: &mut Vec<Row>, name: &'static str, texts: Vec<String>) {
    let more = texts.len().saturating_sub(MOST_ROWS);
    if texts.is_empty() {
        rows.push((name, "none".into()));
    }
    rows.extend(texts.into_iter().take(MOST_ROWS).map(|text| (name, text)));
    if more > 0 {
        rows.push((name, format!("and {more} more")));
    }
}

fn some(texts: &[&str], between: &str) -> String {
    if texts.is_empty() { "none".into() } else { texts.join(between) }
}

/// What the program was built for.
fn build() -> String {
    let abi = match () {
        () if cfg!(target_env = "gnu") => "-gnu",
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "msvc") => "-msvc",
        () => "",
    };
    let kind = if cfg!(debug_assertions) { ", debug build: slow" } else { "" };
    format!("{}-{}{abi}{kind}", env::consts::ARCH, env::consts::OS)
}

fn features() -> Vec<&'static str> {
    let all = [
        ("gpu", device::HAS_GPUS),
        ("cloud", cfg!(feature = "cloud")),
        ("tls", cfg!(feature = "tls")),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}

fn of_machine(found: &Findings, rows: &mut Vec<Row>) {
    rows.push(("system", found.system.clone()));
    rows.push(("CPU", found.cpu.clone().unwrap_or_else(|| "not told".into())));
    let sets = found.instruction_sets.join(", ");
    match &found.computes {
        Told::Failed { error } => rows.push(("instructions", format!("{sets}; {error}"))),
        Told::Found(Computes { taken, precision, precision_why, kernels }) => {
            let capped = env::var("RESNET_ISA").ok().filter(|isa| !isa.is_empty());
            let capped =
                capped.map_or(String::new(), |isa| format!(" (at most {isa}: RESNET_ISA)"));
            rows.push(("instructions", format!("{sets}; {taken} is taken{capped}")));
            rows.push(("precision", format!("{precision} in training: {precision_why}")));
            let used = kernels.iter().map(|used| match used.more {
                0 => format!("{}: {}", used.kernel, used.convolution),
                more => format!("{}: {}, and {more} more", used.kernel, used.convolution),
            });
            rows.push(("kernels", format!("of {}:", doctor::typical())));
            list(rows, "kernels", used.collect());
        }
    }
    rows.push(("threads", format!("{}: {}", found.threads.count, found.threads_why)));
    let memory = found.memory.map_or("not told".into(), |memory| {
        format!("{}, {} free", scaled_bytes(memory.installed), scaled_bytes(memory.available))
    });
    rows.push(("memory", memory));
    let limits = [
        found.limits.cpus.map(|cpus| format!("{cpus:.3} CPUs")),
        found.limits.memory.map(|bytes| format!("{} of memory", scaled_bytes(bytes))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let limits = if limits.is_empty() { "none".into() } else { limits.join(", ") };
    rows.push(("cgroup limits", limits));
}

fn of_devices(found: &Findings, rows: &mut Vec<Row>) {
    let gpu = |gpu: &Listed| {
        let driver = [gpu.api, gpu.driver.as_deref()].into_iter().flatten();
        let driver: Vec<&str> = driver.filter(|text| !text.is_empty()).collect();
        format!("{}: {}, {}, {}", gpu.device, gpu.name, gpu.kind, driver.join(", "))
    };
    if !found.gpus.is_empty() {
        list(rows, "GPUs", found.gpus.iter().map(gpu).collect());
    }
    rows.extend(found.no_gpu.iter().map(|why| ("GPUs", why.clone())));
}

/// A folder that the program uses.
struct Folder {
    what: &'static str,
    /// Where it is, or why there is none.
    path: Result<PathBuf, String>,
    /// Bytes of its files, where it is there.
    bytes: Option<u64>,
    /// What is in the way of writing there.
    writes: Result<(), String>,
}

fn folders() -> Vec<Folder> {
    let cache = places::cache();
    let inside = |name: &str| cache.clone().map(|cache| cache.join(name));
    let torch = places::torch().ok_or_else(|| "there is no place for caches".to_owned());
    [
        ("weights", cache.clone()),
        ("models", cache.clone().map(|cache| places::models(&cache))),
        ("data indexes", inside("data")),
        ("PyTorch's", torch),
        ("this folder", env::current_dir().map_err(|error| error.to_string())),
    ]
    .into_iter()
    .map(|(what, path)| {
        // What is in the folder of somebody's work is their business, and may be much.
        let counted = path.as_ref().ok().filter(|_| what != "this folder");
        // Files of weights lie beside the folders of what was made of them.
        let bytes = counted.and_then(|path| size(path, what != "weights"));
        let writes = path.as_ref().map_or(Ok(()), |path| try_to_write(path));
        Folder { what, bytes, writes, path }
    })
    .collect()
}

impl Folder {
    fn text(&self) -> String {
        let path = match &self.path {
            Ok(path) => of_home(&text::path(path).to_string()),
            Err(why) => return why.clone(),
        };
        let size = match self.bytes {
            Some(bytes) => format!(", {}", scaled_bytes(bytes)),
            None if self.what == "this folder" => String::new(),
            None => ", not there yet".into(),
        };
        match &self.writes {
            Ok(()) => format!("{path}{size}"),
            Err(why) => format!("{path}{size}, cannot be written: {why}"),
        }
    }

    fn json(&self) -> Value {
        let path = self.path.as_ref().map(|path| of_home(&text::path(path).to_string()));
        let error = self.path.as_ref().err().or(self.writes.as_ref().err());
        json!({"what": self.what, "path": path.ok(), "bytes": self.bytes, "error": error})
    }
}

/// Bytes of the files of a folder, and of the folders in it where it is `deep`; links are not
/// followed.
fn size(folder: &Path, deep: bool) -> Option<u64> {
    let (mut bytes, mut files) = (0u64, 0);
    let mut folders = vec![fs::read_dir(folder).ok()?];
    while let Some(entries) = folders.pop() {
        for entry in entries.flatten() {
            let Ok(about) = entry.metadata() else { continue };
            files += 1;
            if files > MOST_FILES {
                return Some(bytes);
            }
            match about.is_dir() {
                true if deep => folders.extend(fs::read_dir(entry.path()).ok()),
                true => {}
                false => bytes = bytes.saturating_add(about.len()),
            }
        }
    }
    Some(bytes)
}

/// Makes a file and removes it again, in a folder or in the nearest one above that is there.
fn try_to_write(folder: &Path) -> Result<(), String> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    let file = there.join(format!(".resnet-doctor-{}", std::process::id()));
    let made = File::create_new(&file).map(drop).and_then(|()| fs::remove_file(&file));
    made.map_err(|error| error.to_string())
}

/// Our variables that are set, with what may be shown of their values.
fn variables(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let shown = |(name, value): (String, String)| {
        let value = match name.as_str() {
            name if SHOWN.contains(&name) => of_home(&without_secrets(&value)),
            name if HIDDEN.contains(&name) => "(set)".into(),
            _ => "(set; this program knows no such variable)".into(),
        };
        (name, value)
    };
    let mut ours: Vec<_> = all.filter(|(name, _)| name.starts_with(OURS)).map(shown).collect();
    ours.sort();
    ours
}

/// A text in which `~` stands for the user's folder, whose name is nobody's business.
fn of_home(text: &str) -> String {
    let home = env::home_dir().map(|home| home.to_string_lossy().into_owned());
    match home.filter(|home| home.len() > 1) {
        Some(home) => text.replace(home.trim_end_matches('/'), "~"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_may_be_secrets_are_not_shown() {
        let all = [
            ("PATH", "/bin"),
            ("RESNET_WEIGHTS", "https://me:pass@mirror.example/w?signature=abc"),
            ("RESNET_ISA", "avx2"),
            ("RESNET_DATA_QUERY", "signature=abc"),
            ("RESNET_TOKEN", "secret"),
        ];
        let own = all.map(|(name, value)| (name.to_string(), value.to_string()));
        let shown: Vec<String> = variables(own.into_iter())
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "RESNET_DATA_QUERY=(set)",
                "RESNET_ISA=avx2",
                "RESNET_TOKEN=(set; this program knows no such variable)",
                "RESNET_WEIGHTS=https://mirror.example/w",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut_and_empty_ones_said() {
        let mut rows = Vec::new();
        list(&mut rows, "a", Vec::new());
        list(&mut rows, "b", (0..20).map(|n| n.to_string()).collect());
        assert_eq!(rows[0], ("a", "none".into()));
        assert_eq!((rows.len(), &rows[8]), (2 + MOST_ROWS, &("b", "and 13 more".into())));
    }
}

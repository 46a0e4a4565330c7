use resnet_engine::exec::{Backend, ExecError, Keep, Kernel, Limits};
use resnet_engine::plan::Plan;
use resnet_engine::step::Precision;

use super::*;

/// A GPU that computes nothing.
struct Fake;

impl Device for Fake {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn about(&self) -> String {
        "Fake 9".into()
    }

    fn threads(&self) -> usize {
        1
    }

    fn precision(&self) -> (Precision, &'static str) {
        (Precision::F32, "it has no other")
    }

    fn limits(&self) -> Limits {
        Limits { flops: 0.0, bf16_flops: None, bandwidth: 0.0 }
    }

    fn kernels(&self, _: &Plan) -> Vec<Kernel> {
        Vec::new()
    }

    fn prepare(&self, _: Arc<Plan>, _: Keep) -> Result<Box<dyn Backend>, ExecError> {
        Err(ExecError::Device("a fake".into()))
    }
}

fn listed(index: usize, name: &str, kind: &'static str) -> Listed {
    Listed {
        device: Wanted::Gpu(Some(index.to_string())),
        name: name.into(),
        kind,
        about: None,
        threads: None,
        api: Some("Vulkan"),
        driver: Some("1.0".into()),
        largest_slot: Some(1 << 31),
    }
}

#[test]
fn what_is_wanted_is_a_text() {
    let gpu = |which: &str| Wanted::Gpu(Some(which.into()));
    for (text, wanted) in [
        ("auto", Wanted::Auto),
        ("cpu", Wanted::Cpu),
        ("gpu", Wanted::Gpu(None)),
        ("gpu:1", gpu("1")),
        ("gpu:NVIDIA H200", gpu("NVIDIA H200")),
        ("gpu:a:b", gpu("a:b")),
    ] {
        assert_eq!(text.parse(), Ok(wanted.clone()), "{text}");
        assert_eq!(wanted.to_string(), text);
        let json = serde_json::to_string(&wanted).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Wanted>(&json).unwrap(), wanted);
    }
    for text in ["", "GPU", "gpu:", "gpu: ", "cpu:0", "auto:1", "gpu1", "cuda", "cpu "] {
        let error = text.parse::<Wanted>().unwrap_err();
        assert!(error.contains(&format!("`{text}`")) && error.contains("gpu:NAME"), "{error}");
        assert!(serde_json::from_str::<Wanted>(&format!("\"{text}\"")).is_err(), "{text}");
    }
    assert_eq!(Wanted::default(), Wanted::Auto);
}

#[test]
fn the_cpu_is_always_there_and_needs_no_words() {
    let opened = open(&Wanted::Cpu, 2).unwrap();
    assert_eq!((opened.taken, opened.why), (Wanted::Cpu, None));
    assert_eq!((opened.device.name(), opened.device.threads()), ("cpu", 2));
    assert_eq!(label(opened.device.as_ref()), "cpu");
    assert_eq!(label(&Fake), "Fake 9");
    let all = list().unwrap();
    assert_eq!((&all[0].device, all[0].kind), (&Wanted::Cpu, "cpu"));
    assert_eq!(all.iter().filter(|one| one.kind == "cpu").count(), 1);
}

#[test]
fn nobody_who_asks_for_nothing_waits_or_hears_where_there_is_no_gpu() {
    // What the machine has decides which way this goes; both say what was taken.
    let opened = open(&Wanted::Auto, 1).unwrap();
    let real = gpus().iter().any(|gpu| !gpu.is_software());
    assert_eq!(opened.why.is_some(), real);
    assert!(opened.taken != Wanted::Auto);
    if !real {
        assert_eq!(opened.taken, Wanted::Cpu);
        let error = open(&Wanted::Gpu(None), 1).err().unwrap().to_string();
        assert!(error.contains("`gpu`") && error.contains(&no_gpu().unwrap()), "{error}");
    }
}

#[test]
fn a_gpu_is_taken_unasked_if_it_is_worth_it() {
    let gpu = listed(0, "Fake 9", "discrete");
    let cpu = || exec::cpu(1).unwrap();
    let fake = |_: &Wanted| -> Result<Arc<dyn Device>, OpenError> { Ok(Arc::new(Fake)) };
    let flops = |fast: f64| move |_: &dyn Device, _: &dyn Device| [100e9, fast];

    let taken = choose(cpu(), &gpu, fake, flops(150e9));
    assert_eq!((taken.taken, taken.device.name()), (gpu.device.clone(), "gpu"));
    let why = taken.why.unwrap();
    assert_eq!(why, "Fake 9 computes 150 GFLOP/s beside the CPU's 100");

    for (slow, words) in [
        (149e9, "computes 149 GFLOP/s beside the CPU's 100, less than 1.5 times as much"),
        (0.0, "gave no answer when it was measured"),
        (f64::NAN, "gave no answer when it was measured"),
    ] {
        let left = choose(cpu(), &gpu, fake, flops(slow));
        assert_eq!((left.taken, left.device.name()), (Wanted::Cpu, "cpu"));
        assert_eq!(left.why.unwrap(), format!("gpu:0 (Fake 9) {words}"));
    }

    let broken = |_: &Wanted| Err(OpenError("its driver is too old".into()));
    let left = choose(cpu(), &gpu, broken, |_, _| panic!("what is not open is not measured"));
    assert_eq!((left.taken, left.device.name()), (Wanted::Cpu, "cpu"));
    assert_eq!(left.why.unwrap(), "gpu:0 (Fake 9) cannot be used: its driver is too old");
}

#[test]
fn who_wants_a_gpu_where_none_is_hears_how_to_get_one() {
    if !HAS_GPUS {
        assert_eq!(why_none(&[], "linux").unwrap(), WITHOUT);
        assert!(WITHOUT.starts_with("this program was built without GPUs"));
        return;
    }
    let text = why_none(&[], "linux").unwrap();
    for word in ["no GPU was found", "Vulkan", "mesa-vulkan-drivers", "NVIDIA", "container"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    for system in ["macos", "windows", "freebsd"] {
        let text = why_none(&[], system).unwrap();
        assert!(text.contains("no GPU was found") && !text.contains("Debian"), "{text}");
    }
    let software = listed(0, "llvmpipe", SOFTWARE);
    let text = why_none(std::slice::from_ref(&software), "linux").unwrap();
    assert!(text.contains("only software") && text.contains("gpu:0 (llvmpipe)"), "{text}");
    assert_eq!(why_none(&[listed(0, "Fake 9", "discrete"), software], "linux"), None);
}

/// A run goes on with what it began with.
#[test]
fn a_device_is_found_by_what_was_told_of_it() {
    let gpus = [listed(0, "Fake 90", "discrete"), listed(1, "Fake 9", "discrete")];
    let found = |told| named_among(&gpus, told);
    assert_eq!(found("Fake 9 by Vulkan"), Some(Wanted::Gpu(Some("1".into()))));
    assert_eq!(found("Fake 90 by Metal"), Some(Wanted::Gpu(Some("0".into()))));
    assert_eq!((found("Fake 8 by Vulkan"), found("Fake")), (None, None));
    assert_eq!((named("cpu"), named("")), (Some(Wanted::Cpu), None));
}

#[cfg(target_os = "linux")]
#[test]
fn no_driver_is_asked_where_no_gpu_is_among_the_devices() {
    let folder = std::env::temp_dir().join(format!("resnet-devices-{}", std::process::id()));
    let made = |names: &[&str]| {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("dri")).unwrap();
        names.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
        may_have_gpu(&folder)
    };
    assert!(!made(&["null", "sda", "dri/card0"]));
    for gpu in ["dri/renderD128", "nvidia0", "nvidiactl", "dxg"] {
        assert!(made(&["null", gpu]), "{gpu}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!may_have_gpu(&folder));
}

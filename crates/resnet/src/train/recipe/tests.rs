use super::*;
use crate::base::files::TestDir;
use crate::device::Wanted;
use crate::train::schedule::Duration;
use std::fs;

fn with(name: &str, overrides: &[&str]) -> Result<Recipe, RecipeError> {
    let overrides: Result<Vec<_>, _> = overrides.iter().map(|text| split_override(text)).collect();
    Recipe::load(name, &overrides?)
}

/// Asserts that an error says all these things, on one line.
fn says(result: Result<Recipe, RecipeError>, parts: &[&str]) {
    let error = result.expect_err("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    }
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn the_default_recipe_sets_every_key() {
    let table: toml::Table = RECIPES[0].text.parse().unwrap();
    let is_option = |key: &Key| crate::net::OPTIONS.iter().any(|o| o.key == key.last());
    // Phases, which have no section, are what a recipe may have beside its keys.
    let fields = KEYS.iter().filter(|key| !key.section().is_empty() && !is_option(key));
    for key in fields {
        let set = table[key.section()].get(key.last());
        assert!(set.is_some(), "{}", key.name);
    }
    assert_eq!(Recipe::default().phase, []);
    assert_eq!(with("default", &[]).unwrap(), Recipe::default());
}

#[test]
fn every_built_in_recipe_is_read_and_written() {
    for built_in in RECIPES {
        let recipe = with(built_in.name, &["source=builtin"]).unwrap();
        assert_eq!(Recipe::from_toml(&recipe.to_toml()).unwrap(), recipe, "{}", built_in.name);
    }
}

#[test]
fn a_recipe_may_name_the_device() {
    assert_eq!(Recipe::default().train.device, Wanted::Auto);
    for text in ["cpu", "gpu", "gpu:1", "gpu:NVIDIA H200", "auto"] {
        let recipe = with("default", &[&format!("train.device={text}")]).unwrap();
        assert_eq!(recipe.train.device.to_string(), text);
        let toml = recipe.to_toml();
        assert!(toml.contains(&format!("device = \"{text}\"\n")), "{toml}");
        assert_eq!(Recipe::from_toml(&toml).unwrap(), recipe);
    }
    for wrong in ["device=quantum", "device=gpu:", "device=1"] {
        says(with("default", &[wrong]), &["train.device", "`gpu:NAME`"]);
    }
}

#[test]
fn the_toml_has_every_section_once() {
    let text = Recipe::default().to_toml();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table.len(), 6);
    assert!(
        text.starts_with("[model]\narch = \"resnet20\"\nstart = \"\"\nblock = \"auto\"\n"),
        "{text}"
    );
    assert!(text.contains("weight_decay = 0.0005\n"), "{text}");
    assert!(text.contains("steps = \"auto\"\n"), "{text}");
}

#[test]
fn keys_are_described_and_their_last_parts_differ() {
    for key in KEYS.iter() {
        assert!(key.help.ends_with('.'), "{}", key.name);
        assert!(!key.expected().is_empty());
        assert_eq!(
            KEYS.iter().filter(|other| other.last() == key.last()).count(),
            1,
            "{}",
            key.name
        );
    }
}

#[test]
fn the_paper_recipe_is_the_papers() {
    let recipe = with("paper-cifar", &[]).unwrap();
    assert_eq!(recipe.train.batch, 128);
    assert_eq!(recipe.train.label_smoothing, 0.0);
    let optimizer = Optimizer {
        rule: UpdateRule::Sgd,
        lr: 0.1,
        momentum: 0.9,
        nesterov: false,
        trust: 0.001,
        weight_decay: 1e-4,
        decay_norm_bias: true,
        backbone_lr: 1.0,
        stage_lr: 1.0,
    };
    assert_eq!(recipe.optimizer, optimizer);
    assert_eq!(recipe.network, [("init", Setting("he".into()))].into());
    let augment = Augment {
        pad: Some(4),
        flip: true,
        random_resized_crop: Some(false),
        normalize: Normalize::Pixel,
        least_area: 0.08,
        mixup: 0.0,
    };
    assert_eq!(recipe.augment, augment);
    assert_eq!((recipe.train.epochs, recipe.calendar(391 * 128).unwrap().total()), (None, 64_000));

    let schedule = recipe.schedule(&recipe.calendar(391 * 128).unwrap());
    assert_eq!(schedule.milestones, [32_000, 48_000]);
    for (step, lr) in [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (48_000, 0.001)] {
        assert!((schedule.lr(step) - lr).abs() < 1e-15, "step {step}");
    }
    for (depth, warm) in [(20, false), (56, false), (110, true), (1202, true)] {
        let start = recipe.warm_start(depth);
        assert_eq!(start.active(), warm, "depth {depth}");
        assert_eq!(schedule.lr_with(0, &start), if warm { 0.01 } else { 0.1 });
    }
    let short = with("paper-cifar", &["epochs=10"]).unwrap();
    assert_eq!(short.schedule(&short.calendar(391 * 128).unwrap()).milestones, [1955, 2933]);
}

#[test]
fn the_imagenet_recipe_asks_for_data() {
    says(with("paper-imagenet", &[]), &["`data.source`", "folder:DIR"]);
    let recipe = with("paper-imagenet", &["data.source=folder:photos"]).unwrap();
    assert_eq!((recipe.train.batch, recipe.data.crop), (256, Some(224)));
    assert_eq!(
        recipe.schedule(&recipe.calendar(5005 * 256).unwrap()).milestones,
        [150_150, 300_300]
    );
}

/// Goyal et al. 2017, section 5.1.
#[test]
fn the_large_batch_recipe_is_the_papers() {
    let recipe = with("imagenet-large-batch", &["data.source=folder:photos"]).unwrap();
    let optimizer = Optimizer {
        rule: UpdateRule::Sgd,
        lr: 0.1 * 8192.0 / 256.0,
        momentum: 0.9,
        nesterov: true,
        trust: 0.001,
        weight_decay: 1e-4,
        decay_norm_bias: false,
        backbone_lr: 1.0,
        stage_lr: 1.0,
    };
    assert_eq!(recipe.optimizer, optimizer);
    let train = &recipe.train;
    assert_eq!((train.batch, train.shards, train.epochs), (8192, Some(256), Some(90)));
    assert_eq!(recipe.train.label_smoothing, 0.0);
    let options = [("init", Setting("he".into())), ("zero_init", Setting("true".into()))];
    assert_eq!(recipe.network, options.into());
}

/// The rates of PyTorch's schedulers, of that recipe and of its changes.
#[test]
fn rates_are_those_of_pytorch() {
    #[derive(serde::Deserialize)]
    struct Fixture {
        rates: Vec<Rates>,
    }
    #[derive(serde::Deserialize)]
    struct Rates {
        images: u64,
        batch: u64,
        steps_per_epoch: u64,
        steps: Vec<u64>,
        lr: Vec<f64>,
    }
    let text = include_str!("../../../tests/fixtures/large_batch.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    assert!(fixture.rates.len() > 1);
    for Rates { images, batch, steps_per_epoch, steps, lr } in fixture.rates {
        let overrides = ["data.source=folder:photos".to_owned(), format!("batch={batch}")];
        let rate = format!("lr={}", 0.1 * batch as f64 / 256.0);
        let recipe = with("imagenet-large-batch", &[&overrides[0], &overrides[1], &rate]).unwrap();
        let calendar = recipe.calendar(images).unwrap();
        assert_eq!(calendar.total(), 90 * steps_per_epoch);
        let schedule = recipe.schedule(&calendar);
        assert_eq!(steps.len(), lr.len());
        for (step, lr) in steps.into_iter().zip(lr) {
            let found = schedule.lr(step);
            assert!((found - lr).abs() < 1e-8 * lr, "step {step} of {batch}: {found}, {lr}");
        }
    }
}

/// What a run wrote before there was a choice of rules.
#[test]
fn a_recipe_without_a_rule_is_of_sgd() {
    let recipe = with("paper-cifar", &[]).unwrap();
    let text = recipe.to_toml();
    let without = text.replace("rule = \"sgd\"\n", "").replace("trust = 0.001\n", "");
    assert_eq!(without.lines().count() + 2, text.lines().count());
    assert_eq!(Recipe::from_toml(&without).unwrap(), recipe);
}

#[test]
fn overrides_are_typed() {
    type Case = (&'static str, fn(&Recipe) -> bool);
    let cases: &[Case] = &[
        ("lr=0.05", |r| r.optimizer.lr == 0.05),
        ("lr=.05", |r| r.optimizer.lr == 0.05),
        ("lr=5e-2", |r| r.optimizer.lr == 0.05),
        ("optimizer.lr=1", |r| r.optimizer.lr == 1.0),
        ("arch=resnet56:shortcut=B", |r| r.model.arch == "resnet56:shortcut=B"),
        ("source=2024", |r| r.data.source == "2024"),
        ("source=cifar10:/data dir", |r| r.data.source == "cifar10:/data dir"),
        ("source=tar:https://h/x.tar?sig=1", |r| r.data.source == "tar:https://h/x.tar"),
        ("norm=none", |r| r.network["norm"] == Setting("none".into())),
        ("block=bottleneck", |r| r.network["block"] == Setting("bottleneck".into())),
        ("gain=0.5", |r| r.network["gain"] == Setting("0.5".into())),
        ("zero_init=true", |r| r.network["zero_init"] == Setting("true".into())),
        ("init=normal:0.01", |r| r.network["init"] == Setting("normal:0.01".into())),
        ("norm=auto", |r| r.network.is_empty()),
        ("pad=4", |r| r.augment.pad == Some(4)),
        ("flip=false", |r| !r.augment.flip),
        ("normalize=pixel", |r| r.augment.normalize == Normalize::Pixel),
        ("bad_files=\"refuse\"", |r| r.data.bad_files == BadFiles::Refuse),
        ("precision=f32", |r| r.train.precision == Precision::F32),
        ("precision=bf16", |r| r.train.precision == Precision::Bf16),
        ("seed=9223372036854775807", |r| r.train.seed == i64::MAX as u64),
        ("milestones=50%,75%", |r| {
            r.schedule.milestones == [Duration::Percent(50.0), Duration::Percent(75.0)]
        }),
        ("milestones=[3ep, 9it]", |r| {
            r.schedule.milestones == [Duration::Epochs(3.0), Duration::Steps(9)]
        }),
        ("milestones=[\"3ep\"]", |r| r.schedule.milestones == [Duration::Epochs(3.0)]),
        ("milestones=", |r| r.schedule.milestones.is_empty()),
        ("checkpoint_every=500it", |r| r.train.checkpoint_every == Duration::Steps(500)),
        ("checkpoint_every=0.001ep", |r| {
            r.calendar(188 * 64).unwrap().is_due(r.train.checkpoint_every, 1)
        }),
        ("warmup=2ep", |r| r.schedule(&r.calendar(188 * 64).unwrap()).warmup == 376),
        ("rule=lars", |r| r.optimizer.rule == UpdateRule::Lars && r.optimizer.trust == 0.001),
        ("trust=0.02", |r| r.optimizer.trust == 0.02),
        ("kind=linear", |r| r.schedule.kind == Course::Linear),
    ];
    for (text, holds) in cases {
        let recipe = with("default", &[text]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(holds(&recipe), "{text}");
        assert_eq!(Recipe::from_toml(&recipe.to_toml()).unwrap(), recipe, "{text}");
    }
    assert_eq!(with("default", &["lr=1", "lr=2"]).unwrap().optimizer.lr, 2.0);
}

#[test]
fn wrong_overrides_are_explained() {
    let cases: &[(&str, &[&str])] = &[
        ("lr=-0.1", &["`optimizer.lr`", "a number above 0", "found -0.1"]),
        ("lr=0", &["`optimizer.lr`", "found 0"]),
        ("lr=nan", &["`optimizer.lr`", "found nan"]),
        ("lr=inf", &["`optimizer.lr`", "found inf"]),
        ("lr=fast", &["`optimizer.lr`", "found \"fast\""]),
        ("lr=", &["`optimizer.lr`", "found \"\""]),
        ("batch=0", &["`train.batch`", "an integer from 1 to 65536", "found 0"]),
        ("batch=-1", &["`train.batch`", "found -1"]),
        ("batch=64.5", &["`train.batch`", "found 64.5"]),
        ("batch=99999999999999999999", &["`train.batch`"]),
        ("epochs=0", &["`train.epochs`", "`auto` or an integer from 1", "found 0"]),
        ("momentum=1", &["`optimizer.momentum`", "from 0 to below 1", "found 1"]),
        ("label_smoothing=1.0", &["`train.label_smoothing`", "found 1.0"]),
        ("val_fraction=0", &["`data.val_fraction`"]),
        ("seed=-1", &["`train.seed`", "found -1"]),
        ("flip=yes", &["`augment.flip`", "`true` or `false`", "found \"yes\""]),
        ("bad_files=ignore", &["`data.bad_files`", "`skip` or `refuse`"]),
        ("precision=f64", &["`train.precision`", "`f32`", "`bf16`", "`auto`"]),
        ("warmup=100", &["`schedule.warmup`", "`32000it`", "found 100"]),
        ("milestones=1,2", &["`schedule.milestones`", "`32000it`"]),
        ("gamma=2", &["`schedule.gamma`"]),
        ("threads=100000", &["`train.threads`", "1024"]),
        ("kind=step", &["`schedule.milestones`", "50%"]),
        ("momentum=0", &["`optimizer.nesterov`", "set nesterov to false"]),
        ("epochs=auto", &["`train.epochs`", "`train.steps`", "exactly one"]),
        ("warmup_until_train_error=0.8", &["`schedule.warmup`", "exclude"]),
        ("learning_rate=0.1", &["unknown key `learning_rate`"]),
        ("lrr=0.1", &["unknown key `lrr`; did you mean `optimizer.lr`?"]),
        (
            "optimizer=adam",
            &["stochastic gradient descent with momentum (no Adam)", "optimizer.lr"],
        ),
        ("optimizer.kind=adam", &["`optimizer.rule`", "optimizer.momentum"]),
        ("rule=adam", &["`optimizer.rule`", "`sgd` or `lars`", "found \"adam\""]),
        ("trust=0", &["`optimizer.trust`", "a number above 0, at most 1", "found 0"]),
        ("Train=5", &["`train` is a section, whose keys are train.", "train.epochs"]),
        ("train.lr=0.1", &["unknown key `train.lr`; did you mean `optimizer.lr`?"]),
        ("weight-decay=0.1", &["did you mean `optimizer.weight_decay`?"]),
        ("optimiser.lr=0.1", &["did you mean `optimizer.lr`?"]),
        ("epoch=3", &["did you mean `train.epochs`?"]),
        ("epochs", &["key=value", "found `epochs`"]),
        ("=3", &["key=value"]),
        ("phase=3", &["`phase`", "a list of tables", "found 3"]),
        ("phase=[{side=8}]", &["`phase`", "each with `from`"]),
        ("phase=[{from=\"1ep\", side=0}]", &["`phase`", "`side` (pixels)"]),
        ("phase=[{from=\"1ep\", batch=0}]", &["`phase`", "`batch` (images)"]),
        ("phase=[{from=\"1ep\", lr=0}]", &["`phase`", "`lr` (a factor)"]),
        ("phase=[{from=\"1ep\", speed=2}]", &["`phase`", "each with `from`"]),
    ];
    for (text, parts) in cases {
        says(with("default", &[text]), parts);
    }
    let error = with("default", &["x=3"]).unwrap_err().to_string();
    assert!(error.ends_with("unknown key `x`"), "no key is near: {error}");
    says(with("default", &["crop=64", "resize=32"]), &["`data.crop`", "`data.resize`"]);
    says(
        with("default", &["epochs=3", "steps=100"]),
        &["`train.epochs`, `train.steps`", "one budget"],
    );
}

#[test]
fn one_budget_unsets_the_other() {
    let budget = |recipe: Recipe| (recipe.train.epochs, recipe.train.steps);
    assert_eq!(budget(with("default", &["steps=100"]).unwrap()), (None, Some(100)));
    assert_eq!(budget(with("paper-cifar", &["epochs=3"]).unwrap()), (Some(3), None));
    assert_eq!(budget(with("paper-cifar", &["steps=7", "epochs=auto"]).unwrap()), (None, Some(7)));
    assert_eq!(with("default", &["epochs=3"]).unwrap().calendar(188 * 64).unwrap().total(), 564);
}

#[test]
fn files_stand_on_bases() {
    let dir = TestDir::new("recipe-bases");
    let file = |name: &str, text: &str| {
        let path = dir.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    file("first.toml", "base = \"paper-cifar\"\n[optimizer]\nlr = 0.5\nmomentum = 0.8\n");
    let second = file(
        "second.toml",
        "base = \"first.toml\"\n[optimizer]\nmomentum = 0.7\n[train]\nepochs = 2\n",
    );
    let recipe = with(&second, &["momentum=0.6"]).unwrap();
    assert_eq!((recipe.optimizer.lr, recipe.optimizer.momentum), (0.5, 0.6));
    assert_eq!((recipe.train.batch, recipe.train.epochs, recipe.train.steps), (128, Some(2), None));

    let itself = file("itself.toml", "base = \"itself.toml\"\n");
    says(with(&itself, &[]), &["itself.toml: `base`", "its own base"]);
    let nowhere = file("nowhere.toml", "base = \"paper-cifr\"\n");
    says(with(&nowhere, &[]), &["`paper-cifr`; did you mean `paper-cifar`?"]);
    let missing = file("missing.toml", "base = \"none.toml\"\n");
    says(with(&missing, &[]), &["cannot read", "none.toml"]);

    let written = file("config.toml", &recipe.to_toml());
    assert_eq!(with(&written, &[]).unwrap(), recipe);
}

#[test]
fn wrong_files_are_explained() {
    let dir = TestDir::new("recipe-files");
    let path = dir.0.join("my.toml");
    let name = path.to_str().unwrap();
    let deep = format!("a = {}", "[".repeat(50_000));
    let cases: &[(&[u8], &[&str])] = &[
        (
            b"[train]\nbatch = 64\nepoks = 3\n",
            &["unknown key `train.epoks`; did you mean `train.epochs`?"],
        ),
        (b"[optimiser]\nlr = 1\n", &["`optimiser.lr`; did you mean `optimizer.lr`?"]),
        (b"[optimiser]\n", &["`optimiser`; did you mean `optimizer`?"]),
        (b"batch = 64\n", &["unknown key `batch`; did you mean `train.batch`?"]),
        (b"train = 64\n", &["`train`: expected a section of keys, found 64"]),
        (b"[[train]]\nbatch = 1\n", &["`train`: expected a section of keys"]),
        (b"base = 3\n", &["`base`: expected the name or file of a recipe, found 3"]),
        (
            b"[train]\nbatch = \"64\"\n",
            &["`train.batch`: expected an integer from 1 to 65536, found \"64\""],
        ),
        (b"[train]\nbatch = { size = 64 }\n", &["`train.batch`", "found { size = 64 }"]),
        (b"[train]\nepochs = 2\nsteps = 3\n", &["`train.epochs`, `train.steps`", "one budget"]),
        (b"[train]\nbatch = 1\nbatch = 2\n", &["not valid TOML, line 3"]),
        (b"[train]\n\nbatch = \n", &["not valid TOML, line 3"]),
        (b"\xff\xfe", &["not valid TOML", "UTF-8"]),
        (deep.as_bytes(), &["not valid TOML"]),
        (&[b'#'; (1 << 20) + 1], &["larger than 1048576 bytes"]),
    ];
    for (bytes, parts) in cases {
        fs::write(&path, bytes).unwrap();
        says(with(name, &[]), parts);
        says(with(name, &[]), &["my.toml"]);
    }
    fs::write(&path, "").unwrap();
    assert_eq!(with(name, &[]).unwrap(), Recipe::default());
    says(with("defualt", &[]), &["`defualt`; did you mean `default`?", "paper-cifar", ".toml"]);
    says(with("", &[]), &["no recipe ``"]);
    says(with("/nowhere/my.toml", &[]), &["cannot read /nowhere/my.toml"]);
}

#[test]
fn automatic_values_follow_the_images() {
    struct Case {
        overrides: &'static [&'static str],
        size: Option<(usize, usize)>,
        resize: usize,
        crop: usize,
        pad: usize,
        random: bool,
    }
    let case = |overrides, size, resize, crop, pad, random| Case {
        overrides,
        size,
        resize,
        crop,
        pad,
        random,
    };
    let cases = [
        case(&[], Some((28, 28)), 0, 0, 3, false),
        case(&[], Some((32, 48)), 0, 0, 4, false),
        case(&["pad=2"], Some((28, 28)), 0, 0, 2, false),
        case(&["resize=64"], Some((28, 28)), 64, 0, 8, false),
        case(&["crop=24"], Some((32, 32)), 0, 24, 3, false),
        case(&["crop=48"], Some((32, 32)), 48, 48, 6, false),
        case(&["random_resized_crop=true"], Some((32, 32)), 0, 32, 0, true),
        case(&[], None, 256, 224, 0, true),
        case(&["crop=64"], None, 73, 64, 0, true),
        case(&["resize=64"], None, 64, 56, 0, true),
        case(&["random_resized_crop=false"], None, 256, 224, 0, false),
    ];
    for Case { overrides, size, resize, crop, pad, random } in cases {
        let mut recipe = with("default", overrides).unwrap();
        recipe.resolve(ImageFacts { size }).unwrap();
        assert_eq!(recipe.data.resize, Some(resize), "{overrides:?} {size:?}");
        assert_eq!(recipe.data.crop, Some(crop), "{overrides:?} {size:?}");
        assert_eq!(recipe.augment.pad, Some(pad), "{overrides:?} {size:?}");
        assert_eq!(recipe.augment.random_resized_crop, Some(random), "{overrides:?} {size:?}");
        let resolved = recipe.clone();
        recipe.resolve(ImageFacts { size }).unwrap();
        assert_eq!(recipe, resolved);
    }
    for (overrides, size) in
        [(&["crop=0"][..], None), (&["resize=0"], None), (&["crop=33", "resize=0"], Some((32, 32)))]
    {
        let mut recipe = with("default", overrides).unwrap();
        let error = recipe.resolve(ImageFacts { size }).unwrap_err().to_string();
        assert!(error.contains("`data.resize`, `data.crop`"), "{error}");
    }
}

#[test]
fn phases_are_read_and_written() {
    let text = "phase=[{from=\"0it\", side=16, lr=0.5}, {from=\"50%\", side=32}, \
                {from=\"2ep\", batch=8, freeze=true}]";
    let recipe = with("default", &[text]).unwrap();
    let none = Phase { from: Duration::Steps(0), side: None, batch: None, lr: None, freeze: None };
    let phases = [
        Phase { side: Some(16), lr: Some(0.5), ..none.clone() },
        Phase { from: Duration::Percent(50.0), side: Some(32), ..none.clone() },
        Phase { from: Duration::Epochs(2.0), batch: Some(8), freeze: Some(true), ..none },
    ];
    assert_eq!(recipe.phase, phases);
    let written = recipe.to_toml();
    assert_eq!(written.matches("\n[[phase]]\n").count(), 3, "{written}");
    assert_eq!(Recipe::from_toml(&written).unwrap(), recipe);
    // Given phases take the place of a recipe's.
    assert_eq!(recipe.with(&[("phase".to_owned(), "[]".to_owned())]).unwrap().phase, []);

    let sides = "phase=[{from=\"1ep\", side=8}]";
    says(with("default", &[sides, "normalize=pixel"]), &["`phase`, `augment.normalize`"]);
    let dir = TestDir::new("recipe-phases");
    let path = dir.0.join("my.toml");
    fs::write(&path, "[phase]\nfrom = \"1ep\"\n").unwrap();
    says(with(path.to_str().unwrap(), &[]), &["`phase`: expected a list of tables"]);
}

#[test]
fn fields_set_by_hand_are_checked() {
    let mut recipe = Recipe::default();
    assert!(recipe.check().is_ok());
    recipe.optimizer.lr = f64::NAN;
    assert!(recipe.check().unwrap_err().to_string().contains("`optimizer.lr`"));
    recipe = Recipe::default();
    recipe.train.steps = Some(3);
    assert!(recipe.check().unwrap_err().to_string().contains("one budget"));
}

//! The networks: one row each, and one row for each family of any depth.

use super::arch::{Arch, Body};
use super::chain::Chain;
use super::error::ArchError;
use super::residual::{Block, First, Order, Residual, Shortcut, Shortcuts, Stem, Stride};
use crate::base::suggest;
use resnet_engine::graph::{Init, Shape};

/// Most layers of a network of any depth; the deepest published has 1,202.
const MAX_DEPTH: usize = 10_000;
/// Largest widening factor of a wide network; the largest published is 12.
const MAX_WIDEN: usize = 64;

/// A network.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Layers with weights, as counted by its source.
    pub depth: usize,
    /// Trained parameters for the images and classes it was designed for.
    pub params: u64,
    /// Multiply-adds for one such image.
    pub macs: u64,
    /// Where it was published.
    pub source: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    task: Task,
    norm: bool,
    body: Body,
}

/// Networks of one kind and any depth.
#[derive(Debug)]
pub struct Family {
    /// Its names, such as `resnet{6n+2}`.
    pub pattern: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    prefix: &'static str,
    /// Layers that one more block in each stage adds.
    step: usize,
    /// Layers besides.
    offset: usize,
    /// Whether a widening factor follows the depth.
    wide: bool,
    net: Residual,
}

/// The images and classes a network was designed for.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// 3x32x32, 10 classes.
    Cifar10,
    /// 3x224x224, 1000 classes.
    ImageNet,
}

const RESNET: Residual = Residual {
    stem: Stem::ImageNet,
    stem_width: 64,
    first: First::Stem,
    blocks: [0; 4],
    width: 64,
    block: Block::Basic,
    any_depth: false,
    order: Order::After,
    shortcut: Shortcut::B,
    shortcuts: Shortcuts::Kept,
    stride: Stride::V15,
    groups: 1,
    width_per_group: 64,
    zero_init: false,
};
const BOTTLENECK: Residual = Residual { block: Block::Bottleneck, ..RESNET };
const RESNET_V1: Residual = Residual { stride: Stride::V1, ..BOTTLENECK };
const PRERESNET: Residual = Residual { order: Order::Before, ..RESNET };
const PRE_BOTTLENECK: Residual = Residual { order: Order::Before, ..BOTTLENECK };
const PLAIN: Residual = Residual { shortcuts: Shortcuts::Absent, ..RESNET };
const RESNEXT_4: Residual = Residual { groups: 32, width_per_group: 4, ..BOTTLENECK };
const RESNEXT_8: Residual = Residual { groups: 32, width_per_group: 8, ..BOTTLENECK };
const RESNEXT_64: Residual = Residual { groups: 64, width_per_group: 4, ..BOTTLENECK };
const WIDE: Residual = Residual { width_per_group: 128, ..BOTTLENECK };

const CIFAR: Residual = Residual {
    stem: Stem::Cifar,
    stem_width: 16,
    width: 16,
    any_depth: true,
    shortcut: Shortcut::A,
    ..RESNET
};
const CIFAR_PLAIN: Residual = Residual { shortcuts: Shortcuts::Absent, ..CIFAR };
const CIFAR_PRE: Residual = Residual { order: Order::Before, first: First::Both, ..CIFAR };
const CIFAR_PRE_BOTTLENECK: Residual =
    Residual { block: Block::Bottleneck, shortcut: Shortcut::B, stride: Stride::V1, ..CIFAR_PRE };
const CIFAR_WIDE: Residual = Residual { any_depth: false, shortcut: Shortcut::B, ..CIFAR_PRE };

const CLASSIC: Chain = Chain { stages: &[&[32], &[64], &[128]], hidden: &[256] };
const VGG16: Chain =
    Chain { stages: &[&[64; 2], &[128; 2], &[256; 3], &[512; 3], &[512; 3]], hidden: &[4096; 2] };
const VGG19: Chain =
    Chain { stages: &[&[64; 2], &[128; 2], &[256; 4], &[512; 4], &[512; 4]], hidden: &[4096; 2] };

const HE: &str = "He et al. 2015, section 4.2";
const HE_IMAGENET: &str = "He et al. 2015, table 1";
const V15: &str = "torchvision; He et al. 2015, table 1, with the stride on the 3x3";
const IDENTITY: &str = "He et al. 2016, Identity Mappings";
const VGG: &str = "Simonyan & Zisserman 2014, table 1";
const RESNEXT: &str = "Xie et al. 2017; torchvision";
const WRN: &str = "Zagoruyko & Komodakis 2016";

/// Every network with a name of its own; others of the same kinds are in [`FAMILIES`].
#[rustfmt::skip]
pub static CATALOG: &[Row] = &[
    chain("classic",   5, Task::Cifar10,  false, CLASSIC,     620_362,     10_848_768, "after LeCun et al. 1998", "textbook network: convolution, ReLU, max pool, fully connected"),
    chain("vgg16",    16, Task::ImageNet, false, VGG16,   138_357_544, 15_470_264_320, VGG, "configuration D"),
    chain("vgg19",    19, Task::ImageNet, false, VGG19,   143_667_240, 19_632_062_464, VGG, "configuration E"),
    chain("vgg16_bn", 16, Task::ImageNet, true,  VGG16,   138_365_992, 15_470_264_320, VGG, "configuration D with batch norm"),
    chain("vgg19_bn", 19, Task::ImageNet, true,  VGG19,   143_678_248, 19_632_062_464, VGG, "configuration E with batch norm"),

    cifar("plain20",    20,   CIFAR_PLAIN, [3; 3],      269_722,    40_551_040, HE, "no shortcuts"),
    cifar("plain32",    32,   CIFAR_PLAIN, [5; 3],      464_154,    68_862_592, HE, "no shortcuts"),
    cifar("plain44",    44,   CIFAR_PLAIN, [7; 3],      658_586,    97_174_144, HE, "no shortcuts"),
    cifar("plain56",    56,   CIFAR_PLAIN, [9; 3],      853_018,   125_485_696, HE, "no shortcuts"),
    cifar("plain110",   110,  CIFAR_PLAIN, [18; 3],   1_727_962,   252_887_680, HE, "no shortcuts"),
    cifar("resnet20",   20,   CIFAR,       [3; 3],      269_722,    40_551_040, HE, "shortcut A"),
    cifar("resnet32",   32,   CIFAR,       [5; 3],      464_154,    68_862_592, HE, "shortcut A"),
    cifar("resnet44",   44,   CIFAR,       [7; 3],      658_586,    97_174_144, HE, "shortcut A"),
    cifar("resnet56",   56,   CIFAR,       [9; 3],      853_018,   125_485_696, HE, "shortcut A"),
    cifar("resnet110",  110,  CIFAR,       [18; 3],   1_727_962,   252_887_680, HE, "shortcut A"),
    cifar("resnet1202", 1202, CIFAR,       [200; 3], 19_421_274, 2_829_238_912, HE, "shortcut A"),

    imagenet("plain18",      18,  PLAIN,      [2, 2, 2, 2],  11_515_688,  1_794_805_760, HE_IMAGENET, "no shortcuts"),
    imagenet("plain34",      34,  PLAIN,      [3, 4, 6, 3],  21_623_848,  3_644_493_824, HE_IMAGENET, "no shortcuts"),
    imagenet("resnet18",     18,  RESNET,     [2, 2, 2, 2],  11_689_512,  1_814_073_344, HE_IMAGENET, "basic blocks, shortcut B"),
    imagenet("resnet34",     34,  RESNET,     [3, 4, 6, 3],  21_797_672,  3_663_761_408, HE_IMAGENET, "basic blocks, shortcut B"),
    imagenet("resnet50",     50,  BOTTLENECK, [3, 4, 6, 3],  25_557_032,  4_089_184_256, V15, "bottlenecks, v1.5"),
    imagenet("resnet101",    101, BOTTLENECK, [3, 4, 23, 3], 44_549_160,  7_801_405_440, V15, "bottlenecks, v1.5"),
    imagenet("resnet152",    152, BOTTLENECK, [3, 8, 36, 3], 60_192_808, 11_513_626_624, V15, "bottlenecks, v1.5"),
    imagenet("resnet50_v1",  50,  RESNET_V1,  [3, 4, 6, 3],  25_557_032,  3_857_973_248, HE_IMAGENET, "bottlenecks, the paper's stride"),
    imagenet("resnet101_v1", 101, RESNET_V1,  [3, 4, 23, 3], 44_549_160,  7_570_194_432, HE_IMAGENET, "bottlenecks, the paper's stride"),
    imagenet("resnet152_v1", 152, RESNET_V1,  [3, 8, 36, 3], 60_192_808, 11_282_415_616, HE_IMAGENET, "bottlenecks, the paper's stride"),

    cifar("preresnet110",  110,  CIFAR_PRE,            [18; 3],    1_727_962,    252_887_680, IDENTITY, "pre-activation, basic blocks, shortcut A"),
    cifar("preresnet164",  164,  CIFAR_PRE_BOTTLENECK, [18; 3],    1_703_258,    244_500_992, IDENTITY, "pre-activation, bottlenecks"),
    cifar("preresnet1001", 1001, CIFAR_PRE_BOTTLENECK, [111; 3],  10_327_706,  1_487_849_984, IDENTITY, "pre-activation, bottlenecks"),
    imagenet("preresnet18",  18,  PRERESNET,      [2, 2, 2, 2],   11_687_720,  1_814_073_344, IDENTITY, "pre-activation, basic blocks"),
    imagenet("preresnet34",  34,  PRERESNET,      [3, 4, 6, 3],   21_795_880,  3_663_761_408, IDENTITY, "pre-activation, basic blocks"),
    imagenet("preresnet50",  50,  PRE_BOTTLENECK, [3, 4, 6, 3],   25_549_352,  4_089_184_256, IDENTITY, "pre-activation, bottlenecks"),
    imagenet("preresnet101", 101, PRE_BOTTLENECK, [3, 4, 23, 3],  44_541_480,  7_801_405_440, IDENTITY, "pre-activation, bottlenecks"),
    imagenet("preresnet152", 152, PRE_BOTTLENECK, [3, 8, 36, 3],  60_185_128, 11_513_626_624, IDENTITY, "pre-activation, bottlenecks"),
    imagenet("preresnet200", 200, PRE_BOTTLENECK, [3, 24, 36, 3], 64_666_152, 15_007_481_856, IDENTITY, "pre-activation, bottlenecks"),

    imagenet("resnext50_32x4d",  50,  RESNEXT_4, [3, 4, 6, 3],   25_028_904,  4_230_479_872, RESNEXT, "32 groups of 4 channels"),
    imagenet("resnext101_32x8d", 101, RESNEXT_8, [3, 4, 23, 3],  88_791_336, 16_414_015_488, RESNEXT, "32 groups of 8 channels"),
    imagenet("resnext101_64x4d", 101, RESNEXT_64, [3, 4, 23, 3], 83_455_272, 15_460_270_080, RESNEXT, "64 groups of 4 channels"),
    imagenet("wide_resnet50_2",  50,  WIDE,      [3, 4, 6, 3],   68_883_240, 11_398_021_120, "Zagoruyko & Komodakis 2016; torchvision", "twice the inner channels"),
    imagenet("wide_resnet101_2", 101, WIDE,      [3, 4, 23, 3], 126_886_696, 22_753_050_624, "Zagoruyko & Komodakis 2016; torchvision", "twice the inner channels"),
    cifar("wrn28_10", 28, widen(CIFAR_WIDE, 10), [4; 3],         36_479_194,  5_243_328_768, WRN, "pre-activation, ten times the channels"),
    cifar("wrn40_4",  40, widen(CIFAR_WIDE, 4),  [6; 3],          8_949_210,  1_298_582_016, WRN, "pre-activation, four times the channels"),
];

/// Networks for 32-pixel images at any depth, beside the rows of [`CATALOG`]. Where two families
/// have the same depth the first row wins: of the pre-activation networks with 6n+2 layers only
/// `preresnet164` has bottlenecks unless `block=bottleneck` says so.
#[rustfmt::skip]
pub static FAMILIES: &[Family] = &[
    Family { pattern: "plain{6n+2}",     prefix: "plain",     step: 6, offset: 2, wide: false, net: CIFAR_PLAIN,          source: HE,       about: "no shortcuts, for 32-pixel images" },
    Family { pattern: "resnet{6n+2}",    prefix: "resnet",    step: 6, offset: 2, wide: false, net: CIFAR,                source: HE,       about: "basic blocks, shortcut A, for 32-pixel images" },
    Family { pattern: "preresnet{6n+2}", prefix: "preresnet", step: 6, offset: 2, wide: false, net: CIFAR_PRE,            source: IDENTITY, about: "pre-activation, basic blocks, for 32-pixel images" },
    Family { pattern: "preresnet{9n+2}", prefix: "preresnet", step: 9, offset: 2, wide: false, net: CIFAR_PRE_BOTTLENECK, source: IDENTITY, about: "pre-activation, bottlenecks, for 32-pixel images" },
    Family { pattern: "wrn{6n+4}_{k}",   prefix: "wrn",       step: 6, offset: 4, wide: true,  net: CIFAR_WIDE,           source: WRN,      about: "pre-activation, k times the channels, for 32-pixel images" },
];

const fn cifar(
    name: &'static str,
    depth: usize,
    net: Residual,
    [a, b, c]: [usize; 3],
    params: u64,
    macs: u64,
    source: &'static str,
    about: &'static str,
) -> Row {
    let body = Body::Residual(Residual { blocks: [a, b, c, 0], ..net });
    Row { name, depth, params, macs, source, about, task: Task::Cifar10, norm: true, body }
}

const fn imagenet(
    name: &'static str,
    depth: usize,
    net: Residual,
    blocks: [usize; 4],
    params: u64,
    macs: u64,
    source: &'static str,
    about: &'static str,
) -> Row {
    let body = Body::Residual(Residual { blocks, ..net });
    Row { name, depth, params, macs, source, about, task: Task::ImageNet, norm: true, body }
}

const fn chain(
    name: &'static str,
    depth: usize,
    task: Task,
    norm: bool,
    net: Chain,
    params: u64,
    macs: u64,
    source: &'static str,
    about: &'static str,
) -> Row {
    Row { name, depth, params, macs, source, about, task, norm, body: Body::Chain(net) }
}

const fn widen(net: Residual, k: usize) -> Residual {
    Residual { width: net.width * k, ..net }
}

impl Row {
    /// The network of this row.
    pub fn arch(&self) -> Arch {
        Arch::new(self.name.into(), self.depth, self.task, self.norm, self.body)
    }
}

impl Arch {
    fn new(base: String, depth: usize, task: Task, norm: bool, body: Body) -> Arch {
        let (input, classes) = match task {
            Task::Cifar10 => (Shape::new(3, 32, 32), 10),
            Task::ImageNet => (Shape::new(3, 224, 224), 1000),
        };
        Arch { base, depth, input, classes, body, norm, init: Init::He, gain: 1.0 }
    }
}

impl Family {
    /// Depth and widening factor of a name that has this family's form.
    fn read(&self, name: &str) -> Option<(usize, usize)> {
        let rest = name.strip_prefix(self.prefix)?;
        let (depth, k) = if self.wide { rest.split_once('_')? } else { (rest, "1") };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            (digits && (text == "0" || !text.starts_with('0')))
                .then(|| text.parse().unwrap_or(usize::MAX))
        };
        Some((number(depth)?, number(k)?))
    }

    /// Blocks of each stage at this depth.
    fn blocks(&self, depth: usize) -> Option<usize> {
        let blocks = depth.checked_sub(self.offset)? / self.step;
        (blocks > 0 && depth <= MAX_DEPTH && blocks * self.step + self.offset == depth)
            .then_some(blocks)
    }

    fn name(&self, depth: usize, k: usize) -> String {
        if self.wide {
            format!("{}{depth}_{k}", self.prefix)
        } else {
            format!("{}{depth}", self.prefix)
        }
    }

    /// The network of this name, where the family has it.
    pub(crate) fn member(&self, name: &str) -> Option<Arch> {
        let (depth, k) = self.read(name)?;
        self.arch(depth, k)
    }

    fn arch(&self, depth: usize, k: usize) -> Option<Arch> {
        let n = self.blocks(depth)?;
        let net = Residual { blocks: [n, n, n, 0], ..widen(self.net, k) };
        let body = Body::Residual(net);
        (1..=MAX_WIDEN)
            .contains(&k)
            .then(|| Arch::new(self.name(depth, k), depth, Task::Cifar10, true, body))
    }
}

/// Every network whose stages have so many blocks, catalogue first; those without blocks for an
/// empty list. `width` is the number of channels of the first stage before a bottleneck's
/// expansion, for networks that are widened.
pub(crate) fn with_blocks(blocks: &[usize], width: usize) -> Vec<Arch> {
    let names =
        |net: &Residual| net.blocks.iter().copied().filter(|&n| n > 0).eq(blocks.iter().copied());
    let fits = |body: &Body| match body {
        Body::Residual(net) => names(net),
        Body::Chain(_) => blocks.is_empty(),
    };
    let rows = CATALOG.iter().filter(|row| fits(&row.body)).map(Row::arch);
    let mut found: Vec<Arch> = rows.collect();
    let &[n, second, third] = blocks else {
        return found;
    };
    if (second, third) != (n, n) {
        return found;
    }
    for family in FAMILIES {
        let k = if family.wide { width / family.net.width } else { 1 };
        let depth = n.checked_mul(family.step).and_then(|d| d.checked_add(family.offset));
        let usual = depth.and_then(|depth| family.arch(depth, k));
        let bottleneck = n.checked_mul(9).map(|d| d.saturating_add(2));
        let other = bottleneck
            .filter(|_| family.net.any_depth && family.net.block == Block::Basic)
            .and_then(|depth| {
                Arch::parse(&format!("{}:block=bottleneck", family.name(depth, k))).ok()
            });
        for arch in usual.into_iter().chain(other) {
            if fits(&arch.body) && !found.contains(&arch) {
                found.push(arch);
            }
        }
    }
    found
}

/// The network of this name, without options.
pub(super) fn find(name: &str) -> Result<Arch, ArchError> {
    if let Some(row) = CATALOG.iter().find(|row| row.name == name) {
        return Ok(row.arch());
    }
    if let Some(arch) = FAMILIES.iter().find_map(|family| family.member(name)) {
        return Ok(arch);
    }
    let like = FAMILIES.iter().find_map(|family| Some((family, family.read(name)?)));
    Err(match like {
        Some((family, (depth, k))) => no_such_depth(name, family, depth, k),
        None => ArchError::UnknownNetwork { name: name.into(), nearest: names_like(name) },
    })
}

/// Up to three names that begin as `name` does in full; otherwise the one it may be a slip of.
fn names_like(name: &str) -> Vec<String> {
    let names = || CATALOG.iter().map(|row| row.name);
    let longer: Vec<&str> =
        names().filter(|other| name.len() > 2 && other.starts_with(name)).take(3).collect();
    let slip = if longer.is_empty() { suggest::nearest(name, names()) } else { None };
    longer.into_iter().chain(slip).map(String::from).collect()
}

/// The rule of a family, and the networks just below and just above the depth asked for.
fn no_such_depth(name: &str, family: &Family, depth: usize, k: usize) -> ArchError {
    let kin = || FAMILIES.iter().filter(|other| other.prefix == family.prefix);
    let imagenet: Vec<(usize, &str)> = CATALOG
        .iter()
        .filter(|row| matches!(row.task, Task::ImageNet) && family.read(row.name).is_some())
        .map(|row| (row.depth, row.name))
        .collect();
    let k = k.clamp(1, MAX_WIDEN);
    let depth = depth.min(MAX_DEPTH);
    let exists = |d: &usize| {
        kin().any(|f| f.blocks(*d).is_some()) || imagenet.iter().any(|&(other, _)| other == *d)
    };
    let below = (1..=depth).rev().find(exists);
    let above = (depth + 1..=MAX_DEPTH).find(exists);
    let near = below.into_iter().chain(above).map(|d| family.name(d, k)).collect();
    let forms: Vec<String> = kin().map(|f| format!("{}n+{}", f.step, f.offset)).collect();
    let mut rule = format!("networks for 32-pixel images have {} layers", forms.join(" or "));
    rule += &format!(", at most {MAX_DEPTH}");
    if family.wide {
        rule += &format!(", and a widening factor of 1 to {MAX_WIDEN}");
    }
    if !imagenet.is_empty() {
        let depths: Vec<String> = imagenet.iter().map(|(d, _)| d.to_string()).collect();
        rule += &format!(", those for ImageNet {}", depths.join(", "));
    }
    ArchError::Depth { name: name.into(), rule, nearest: near }
}

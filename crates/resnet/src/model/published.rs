//! Weights that torchvision publishes for networks of the catalogue: their files, and what goes
//! with them that a file does not say.
//!
//! Names, sizes, resizing and accuracies are those of torchvision's own tables. A file's name ends
//! with the beginning of its sha256.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::base::suggest::nearest;
use crate::model::foreign::{self, Choices, Import, ImportError};
use crate::net::Arch;

/// Where the files are.
pub const ADDRESS: &str = "https://download.pytorch.org/models";

/// Mean and standard deviation of red, green and blue that all of them were trained with.
const NORMALIZE: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// The side of the square that all of them were measured with.
const CROP: usize = 224;

/// ImageNet's classes by label, each with its WordNet number.
const CLASSES: &str = include_str!("../../data/imagenet-classes/imagenet_class_index.json");

/// Published weights, trained on ImageNet's 1,000 classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The network, as the catalogue calls it.
    pub arch: &'static str,
    /// torchvision's edition of its weights: `IMAGENET1K_V1` is 1.
    pub edition: u32,
    /// The file, whose name says how its sha256 begins.
    pub file: &'static str,
    /// The size of the file, in MiB.
    pub mib: f64,
    /// Pixels of a picture's shorter side, before the centre of 224 x 224 is cut out.
    pub resize: usize,
    /// Top-1 accuracy on ImageNet's validation pictures as published, a fraction.
    pub top1: f64,
}

/// All of them, by network; the first of a network is the one that its name alone stands for.
#[rustfmt::skip]
pub static PUBLISHED: &[Published] = &[
    row("resnet18",         1, "resnet18-f37072fd.pth",          44.661, 256, 0.69758),
    row("resnet34",         1, "resnet34-b627a593.pth",          83.275, 256, 0.73314),
    row("resnet50",         1, "resnet50-0676ba61.pth",          97.781, 256, 0.76130),
    row("resnet50",         2, "resnet50-11ad3fa6.pth",          97.790, 232, 0.80858),
    row("resnet101",        1, "resnet101-63fe2227.pth",        170.511, 256, 0.77374),
    row("resnet101",        2, "resnet101-cd907fc2.pth",        170.530, 232, 0.81886),
    row("resnet152",        1, "resnet152-394f9c45.pth",        230.434, 256, 0.78312),
    row("resnet152",        2, "resnet152-f82ba261.pth",        230.474, 232, 0.82284),
    row("resnext50_32x4d",  1, "resnext50_32x4d-7cdf4587.pth",   95.789, 256, 0.77618),
    row("resnext50_32x4d",  2, "resnext50_32x4d-1a0047aa.pth",   95.833, 232, 0.81198),
    row("resnext101_32x8d", 1, "resnext101_32x8d-8ba56ff5.pth", 339.586, 256, 0.79312),
    row("resnext101_32x8d", 2, "resnext101_32x8d-110c445d.pth", 339.673, 232, 0.82834),
    row("resnext101_64x4d", 1, "resnext101_64x4d-173b62eb.pth", 319.318, 232, 0.83246),
    row("wide_resnet50_2",  1, "wide_resnet50_2-95faca4d.pth",  131.820, 256, 0.78468),
    row("wide_resnet50_2",  2, "wide_resnet50_2-9ba9bcbe.pth",  263.124, 232, 0.81602),
    row("wide_resnet101_2", 1, "wide_resnet101_2-32ee1156.pth", 242.896, 256, 0.78848),
    row("wide_resnet101_2", 2, "wide_resnet101_2-d733dc28.pth", 484.747, 232, 0.82510),
    row("vgg16",            1, "vgg16-397923af.pth",            527.796, 256, 0.71592),
    row("vgg16_bn",         1, "vgg16_bn-6c64b313.pth",         527.866, 256, 0.73360),
    row("vgg19",            1, "vgg19-dcbb9e9d.pth",            548.051, 256, 0.72376),
    row("vgg19_bn",         1, "vgg19_bn-c79401a0.pth",         548.143, 256, 0.74218),
];

const fn row(
    arch: &'static str,
    edition: u32,
    file: &'static str,
    mib: f64,
    resize: usize,
    top1: f64,
) -> Published {
    Published { arch, edition, file, mib, resize, top1 }
}

impl Published {
    /// The weights of a name: a network's, `resnet50`, for the first edition; with the edition,
    /// `resnet50.v2`; or the file's.
    pub fn find(name: &str) -> Option<&'static Published> {
        PUBLISHED.iter().find(|row| {
            let (arch, edition) = match name.rsplit_once(".v") {
                Some((arch, edition)) => (arch, edition.parse().ok()),
                None => (name, Some(1)),
            };
            row.file == name || (row.arch == arch && Some(row.edition) == edition)
        })
    }

    /// The name that one may be a slip of.
    pub fn nearest(name: &str) -> Option<String> {
        let names: Vec<String> = PUBLISHED.iter().map(Published::name).collect();
        nearest(name, names.iter().map(String::as_str)).map(String::from)
    }

    /// The shortest name that stands for these weights.
    pub fn name(&self) -> String {
        match self.edition {
            1 => self.arch.into(),
            edition => format!("{}.v{edition}", self.arch),
        }
    }

    /// Makes a complete model of its file, with ImageNet's classes and torchvision's preprocessing.
    ///
    /// # Errors
    /// The file cannot be read, or holds other weights.
    pub fn import(&self, file: &Path) -> Result<Import, ImportError> {
        let [mean, std] = NORMALIZE.map(|of_rgb| Some(of_rgb.to_vec()));
        let choices = Choices {
            arch: Some(Arch::parse(self.arch)?),
            classes: Some((PathBuf::from("ImageNet"), imagenet_classes().to_vec())),
            mean,
            std,
            resize: Some(self.resize),
            crop: Some(CROP),
            ..Choices::default()
        };
        foreign::import(file, &choices)
    }
}

/// The names of ImageNet's 1,000 classes by label; two names that stand for two classes each have
/// the class's WordNet number behind them.
pub(crate) fn imagenet_classes() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let index: BTreeMap<String, (String, String)> =
            serde_json::from_str(CLASSES).expect("the list of classes is part of the program");
        let mut by_label: Vec<(usize, (String, String))> = index
            .into_iter()
            .map(|(label, class)| (label.parse().expect("labels are numbers"), class))
            .collect();
        by_label.sort();
        let mut uses: HashMap<String, usize> = HashMap::new();
        for (_, (_, name)) in &by_label {
            *uses.entry(name.clone()).or_default() += 1;
        }
        let name = |(_, (number, name)): (usize, (String, String))| match uses[&name] {
            1 => name,
            _ => format!("{name} ({number})"),
        };
        by_label.into_iter().map(name).collect()
    });
    &NAMES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::TestDir;

    #[test]
    fn every_row_is_of_a_network_that_exists() {
        for row in PUBLISHED {
            let arch = Arch::parse(row.arch).unwrap();
            assert_eq!((arch.name().as_str(), arch.default_classes()), (row.arch, 1000));
            let stem = row.file.strip_suffix(".pth").unwrap();
            let (name, hash) = stem.rsplit_once('-').unwrap();
            assert_eq!(name, row.arch);
            assert!(hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
            assert!(row.resize >= CROP && (0.69..0.84).contains(&row.top1), "{row:?}");
            // The first editions of the wide networks are stored in 16 bits.
            let graph = arch.graph(arch.default_input(), 1000).unwrap();
            let shapes = resnet_engine::op::shapes(&graph).unwrap();
            let numbers = resnet_engine::op::all_params(&graph, &shapes);
            let numbers: usize = numbers.iter().map(|(_, _, param)| param.len()).sum();
            let bytes = row.mib * f64::from(1 << 20) / numbers as f64;
            assert!((bytes - 4.0).abs() < 0.1 || (bytes - 2.0).abs() < 0.1, "{row:?}: {bytes}");
        }
    }

    #[test]
    fn names_stand_for_one_file_each() {
        for row in PUBLISHED {
            assert_eq!(Published::find(&row.name()), Some(row));
            assert_eq!(Published::find(row.file), Some(row));
        }
        let file = |name: &str| Published::find(name).map(|row| row.file);
        assert_eq!(file("resnet50"), file("resnet50.v1"));
        assert_eq!(file("resnet50.v2"), Some("resnet50-11ad3fa6.pth"));
        for unknown in ["resnet20", "resnet50.v3", "resnet50.v", "resnet50_v1", ""] {
            assert_eq!(file(unknown), None, "{unknown}");
        }
        assert_eq!(Published::nearest("resnet50.2"), Some("resnet50.v2".into()));
    }

    #[test]
    fn the_classes_are_those_of_the_list() {
        let dir = TestDir::new("imagenet-classes");
        let path = dir.0.join("index.json");
        std::fs::write(&path, CLASSES).unwrap();
        let classes = imagenet_classes();
        assert_eq!(classes, foreign::read_classes(&path).unwrap().names);
        assert_eq!((classes.len(), classes[0].as_str()), (1000, "tench"));
        assert_eq!(classes[134], "crane (n02012849)");
        let unique: std::collections::HashSet<_> = classes.iter().collect();
        assert_eq!(unique.len(), 1000);
    }
}

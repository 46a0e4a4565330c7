//! How other programs name the parameters of the same networks: one row each.

use std::collections::BTreeMap;

/// A way to name parameters.
#[derive(Debug)]
pub(super) struct Naming {
    /// Whose it is.
    pub name: &'static str,
    /// Tensors that only this naming, among those above it in the table, has all of.
    marks: &'static [&'static str],
    /// From its names to ours, the first that fits: `*` stands for a number, `+` and `-` in the
    /// result for the next one plus or minus one, and a pattern that ends in a dot fits any name
    /// that begins so.
    renames: &'static [(&'static str, &'static str)],
    /// Options that its networks have where they can.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// What pictures are normalised with where nothing else is known: mean and standard deviation
    /// of red, green and blue.
    pub(super) normalize: Option<[[f32; 3]; 2]>,
}

/// Mean and standard deviation of ImageNet's pictures, as everywhere in the field.
pub(super) const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// The same of CIFAR-10's training pictures.
pub(super) const CIFAR: [[f32; 3]; 2] = [[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]];
/// What timm takes for its resnetv2.
const HALVES: [[f32; 3]; 2] = [[0.5; 3]; 2];

/// Every naming; the first whose marks are all there is taken.
pub(super) static NAMINGS: &[Naming] = &[
    Naming {
        name: "timm resnetv2",
        marks: &["stem.conv.weight", "stages.0.blocks.0.conv1.weight"],
        renames: &[
            ("stem.conv.", "conv1."),
            ("stem.norm.", "bn1."),
            ("stages.*.blocks.*.norm*.", "layer+.*.bn*."),
            ("stages.*.blocks.*.downsample.conv.", "layer+.*.downsample.0."),
            ("stages.*.blocks.*.downsample.norm.", "layer+.*.downsample.1."),
            ("stages.*.blocks.*.", "layer+.*."),
            ("norm.", "bn."),
            ("head.fc.", "fc."),
        ],
        options: &[("first_norm", "branch")],
        normalize: Some(HALVES),
    },
    Naming {
        name: "Hugging Face",
        marks: &[
            "embedder.embedder.convolution.weight",
            "encoder.stages.0.layers.0.layer.0.convolution.weight",
        ],
        renames: &[
            ("embedder.embedder.convolution.", "conv1."),
            ("embedder.embedder.normalization.", "bn1."),
            ("encoder.stages.*.layers.*.shortcut.convolution.", "layer+.*.downsample.0."),
            ("encoder.stages.*.layers.*.shortcut.normalization.", "layer+.*.downsample.1."),
            ("encoder.stages.*.layers.*.layer.*.convolution.", "layer+.*.conv+."),
            ("encoder.stages.*.layers.*.layer.*.normalization.", "layer+.*.bn+."),
        ],
        options: &[],
        normalize: None,
    },
    Naming {
        name: "detectron2",
        marks: &["stem.conv1.weight", "res2.0.conv1.weight"],
        renames: &[
            ("stem.conv1.norm.", "bn1."),
            ("stem.conv1.", "conv1."),
            ("res*.*.conv*.norm.", "layer-.*.bn*."),
            ("res*.*.conv*.", "layer-.*.conv*."),
            ("res*.*.shortcut.norm.", "layer-.*.downsample.1."),
            ("res*.*.shortcut.", "layer-.*.downsample.0."),
        ],
        options: &[],
        normalize: None,
    },
    Naming {
        name: "pytorch-cifar",
        marks: &["conv1.weight", "linear.weight", "layer2.0.shortcut.0.weight"],
        renames: &[("layer*.*.shortcut.", "layer*.*.downsample."), ("linear.", "fc.")],
        options: &[],
        normalize: None,
    },
    Naming {
        name: "pytorch_resnet_cifar10",
        marks: &["conv1.weight", "linear.weight"],
        renames: &[("linear.", "fc.")],
        options: &[],
        normalize: Some(IMAGENET),
    },
    Naming {
        name: "torchvision, timm resnet and resnext, OpenMMLab",
        marks: &["conv1.weight", "layer1.0.conv1.weight"],
        renames: &[],
        options: &[],
        normalize: None,
    },
    Naming {
        name: "torchvision vgg",
        marks: &["features.0.weight", "classifier.0.weight"],
        renames: &[],
        options: &[],
        normalize: None,
    },
];

impl Naming {
    /// The naming of these tensors, and what stands before each name that belongs to the network,
    /// such as `module.`.
    pub(super) fn of<T>(tensors: &BTreeMap<String, T>) -> Option<(&'static Naming, String)> {
        NAMINGS.iter().find_map(|naming| {
            // The network itself before copies of it, and before what holds several.
            let rank = |prefix: &&str| (is_twin(prefix), prefix.len());
            let prefix = naming.prefixes(tensors).min_by_key(rank)?;
            Some((naming, prefix.to_owned()))
        })
    }

    /// What stands before the names of each copy of the network.
    pub(super) fn prefixes<'a, T>(
        &'static self,
        tensors: &'a BTreeMap<String, T>,
    ) -> impl Iterator<Item = &'a str> {
        let fits = move |prefix: &&str| {
            let mut marks = self.marks.iter();
            (prefix.is_empty() || prefix.ends_with('.'))
                && marks.all(|mark| tensors.contains_key(&format!("{prefix}{mark}")))
        };
        let mark = self.marks[0];
        tensors.keys().filter_map(move |name| name.strip_suffix(mark)).filter(fits)
    }

    /// Our name for one of its names.
    pub(super) fn rename(&self, name: &str) -> String {
        let mut rows = self.renames.iter();
        rows.find_map(|(from, to)| rewrite(name, from, to)).unwrap_or_else(|| name.to_owned())
    }
}

/// Whether a prefix is that of a copy that was kept beside the network.
fn is_twin(prefix: &str) -> bool {
    let mut words = prefix.split(['.', '_']);
    words.any(|word| matches!(word, "ema" | "teacher" | "momentum" | "target" | "k" | "swa"))
}

/// `name` with its beginning `from` written as `to`.
fn rewrite(name: &str, from: &str, to: &str) -> Option<String> {
    let mut rest = name;
    let mut numbers = Vec::new();
    for (i, text) in from.split('*').enumerate() {
        if i > 0 {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            numbers.push(number.parse::<u32>().ok()?);
            rest = after;
        }
        rest = rest.strip_prefix(text)?;
    }
    let mut numbers = numbers.into_iter();
    let mut result = String::new();
    for c in to.chars() {
        match c {
            '*' => result += &numbers.next()?.to_string(),
            '+' => result += &numbers.next()?.checked_add(1)?.to_string(),
            '-' => result += &numbers.next()?.checked_sub(1)?.to_string(),
            c => result.push(c),
        }
    }
    Some(result + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(names: &[&str]) -> Option<(&'static str, String)> {
        let tensors = names.iter().map(|name| (name.to_string(), ())).collect();
        Naming::of(&tensors).map(|(naming, prefix)| (naming.name, prefix))
    }

    #[test]
    fn namings_are_told_apart() {
        let plain = ["conv1.weight", "layer1.0.conv1.weight"];
        let found = |names: &[&str]| naming(&[&plain[..], names].concat()).unwrap().0;
        assert_eq!(found(&["fc.weight"]), "torchvision, timm resnet and resnext, OpenMMLab");
        assert_eq!(found(&["linear.weight"]), "pytorch_resnet_cifar10");
        let b = ["linear.weight", "layer2.0.shortcut.0.weight"];
        assert_eq!(found(&b), "pytorch-cifar");
        assert_eq!(naming(&["conv1.weight", "other"]), None);
        assert_eq!(
            naming(&["model.net.conv1.weight", "model.net.layer1.0.conv1.weight", "step"]),
            Some(("torchvision, timm resnet and resnext, OpenMMLab", "model.net.".into()))
        );
        let both = ["ema", "student"].map(|whose| {
            ["conv1.weight", "layer1.0.conv1.weight"].map(|name| format!("{whose}.{name}"))
        });
        let both: Vec<&str> = both.iter().flatten().map(String::as_str).collect();
        assert_eq!(naming(&both).unwrap().1, "student.");
        let tensors = both.iter().map(|name| (name.to_string(), ())).collect();
        let last = NAMINGS.iter().rev().nth(1).unwrap();
        assert_eq!(last.prefixes(&tensors).collect::<Vec<_>>(), ["ema.", "student."]);
        // `xconv1.weight` is another name, not a prefix.
        assert_eq!(naming(&["xconv1.weight", "xlayer1.0.conv1.weight"]), None);
    }

    #[test]
    fn names_of_timm_become_torchvisions() {
        let timm = &NAMINGS[0];
        for (theirs, ours) in [
            ("stem.conv.weight", "conv1.weight"),
            ("stages.0.blocks.0.norm1.running_var", "layer1.0.bn1.running_var"),
            ("stages.3.blocks.12.conv2.weight", "layer4.12.conv2.weight"),
            ("stages.1.blocks.0.downsample.conv.weight", "layer2.0.downsample.0.weight"),
            ("norm.bias", "bn.bias"),
            ("head.fc.weight", "fc.weight"),
            ("stages.x.blocks.0.conv1.weight", "stages.x.blocks.0.conv1.weight"),
            ("stages.4294967295.blocks.0.conv1.weight", "stages.4294967295.blocks.0.conv1.weight"),
        ] {
            assert_eq!(timm.rename(theirs), ours);
        }
    }

    #[test]
    fn names_of_hugging_face_and_detectron2_become_torchvisions() {
        let row = |name| NAMINGS.iter().find(|naming| naming.name == name).unwrap();
        let (face, detectron) = (row("Hugging Face"), row("detectron2"));
        for (naming, theirs, ours) in [
            (face, "embedder.embedder.normalization.running_mean", "bn1.running_mean"),
            (face, "encoder.stages.3.layers.2.layer.1.convolution.weight", "layer4.2.conv2.weight"),
            (face, "encoder.stages.0.layers.0.layer.2.normalization.bias", "layer1.0.bn3.bias"),
            (
                face,
                "encoder.stages.1.layers.0.shortcut.normalization.weight",
                "layer2.0.downsample.1.weight",
            ),
            (detectron, "stem.conv1.norm.running_var", "bn1.running_var"),
            (detectron, "res2.0.conv1.weight", "layer1.0.conv1.weight"),
            (detectron, "res5.2.conv3.norm.bias", "layer4.2.bn3.bias"),
            (detectron, "res3.0.shortcut.norm.weight", "layer2.0.downsample.1.weight"),
            (detectron, "res3.0.shortcut.weight", "layer2.0.downsample.0.weight"),
        ] {
            assert_eq!(naming.rename(theirs), ours);
        }
    }
}

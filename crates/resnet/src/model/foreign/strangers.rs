//! Networks that are not read, by what their tensors are called.

/// What a network has, and texts of which its tensors' names hold one.
const ROWS: &[(&str, &[&str])] = &[
    ("a vision transformer", &["cls_token", "blocks.0.attn.", "encoder.layer.0.attention."]),
    ("a DenseNet", &["denseblock1."]),
    ("an Inception network", &["Mixed_5b.", "inception3a."]),
    ("a ConvNeXt", &["blocks.0.conv_dw.", "dwconv.", "features.1.0.layer_scale"]),
    ("an EfficientNet or MobileNet", &["conv_stem.", "features.0.0.weight", "_conv_stem."]),
    ("a RegNet", &["trunk_output.", "s1.b1."]),
    ("CLIP's ResNet, with attention for pooling", &["attnpool."]),
    ("squeeze and excitation (SE-ResNet)", &[".se.", ".se_module."]),
    ("efficient channel attention (ECA-ResNet)", &[".eca."]),
    ("attention in its blocks (CBAM)", &[".cbam.", ".attention.", ".ca.fc", ".attn."]),
    ("selective kernels (SK-ResNet)", &[".conv2.paths."]),
    ("split attention (ResNeSt)", &[".conv2.fc1."]),
    ("blocks of several scales (Res2Net)", &[".convs.0."]),
    (
        "a stem of three convolutions (ResNet-C, -D, -T or -S)",
        &["conv1.0.weight", "stem.0.weight", "stem.conv2.", "conv1.conv2."],
    ),
];

/// What network these tensors look like, where it is none that is read, as the end of a sentence
/// that begins with "it looks like".
pub(super) fn looks_like<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Option<String> {
    let holds = |part: &str| names.clone().any(|name| name.contains(part));
    let row = ROWS.iter().find(|(_, parts)| parts.iter().any(|part| holds(part)));
    if let Some((what, _)) = row {
        // Names of networks stand alone; what a block has is of a residual network.
        let whole = ["a vision", "a Dense", "an Inc", "a Conv", "an Eff", "a Reg", "CLIP"];
        let alone = whole.iter().any(|start| what.starts_with(start));
        return Some(if alone { (*what).into() } else { format!("a network with {what}") });
    }
    let normed = holds("bn1.weight") || holds("norm1.weight");
    if normed && !holds("running_mean") {
        return Some("a network with group norm, or with norms that kept no statistics".into());
    }
    // The shortcuts of ResNet-D pool first, so that their convolution is the second layer.
    (holds("downsample.1.weight") && holds("downsample.2.weight"))
        .then(|| "a network whose shortcuts pool first (ResNet-D)".into())
}

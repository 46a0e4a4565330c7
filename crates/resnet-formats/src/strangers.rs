//! Files that hold something else than was asked for, by what they begin with.

use crate::error::FormatError;

/// What a file that begins so is, and what to do with it.
pub(crate) fn named(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const FETCH: &str = "`git lfs pull` fetches the file that it stands for";
    const STATE: &str = "load it with the program that made it and save its state_dict()";
    Some(match start {
        [] => ("an empty file", "copy or download it again"),
        _ if start.starts_with(b"version https://git-lfs") => ("a Git LFS pointer", FETCH),
        _ if start.starts_with(b"\x89HDF\r\n\x1a\n") => {
            ("an HDF5 file, as Keras writes", "networks of Keras are not read")
        }
        _ if start.starts_with(b"GGUF") => ("a GGUF file, of a language model", "it is not read"),
        _ if start.starts_with(b"\x93NUMPY") => {
            ("an array of numpy's", "save tensors by their names, with torch.save or safetensors")
        }
        _ if is_onnx(start) => (
            "an ONNX graph",
            "weights are read, not graphs: take the file that it was exported from",
        ),
        _ if start.get(257..262) == Some(b"ustar") => (
            "a tar file, as PyTorch wrote before 0.1.10",
            "load it with a PyTorch of its time and save model.state_dict()",
        ),
        [0x1f, 0x8b, ..] => ("a gzip file", "unpack it first"),
        [b'P', b'K', ..] => ("a zip file, as torch.save writes", "name it .pth"),
        [0x80, 2..=5, ..] => ("a pickle, as Python and older PyTorch write", STATE),
        [b'<', ..] => ("a web page or XML", "the download failed: fetch the file itself"),
        [b'{', ..] => (
            "JSON, such as the index of a file in several parts",
            "join the parts with the program that wrote them",
        ),
        _ => return None,
    })
}

/// Whether a file may be an ONNX model: field 1, the version of its messages, is a small number,
/// and a field comes next that a model has.
fn is_onnx(start: &[u8]) -> bool {
    matches!(start, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

/// The error for a zip file of other programs', from the name of one of its entries.
pub(crate) fn archive(entry: &str) -> Option<FormatError> {
    let (found, advice) = if entry.contains("/code/") || entry.ends_with("/constants.pkl") {
        (
            "TorchScript, a program",
            "load it with torch.jit.load and save its state_dict() with torch.save",
        )
    } else if entry.ends_with("archive_format") {
        (
            "a program of torch.export",
            "load it with torch.export.load and save its state_dict with torch.save",
        )
    } else if entry.ends_with(".npy") {
        ("arrays of numpy's", "save tensors by their names, with torch.save or safetensors")
    } else {
        return None;
    };
    Some(FormatError::Content { expected: "a file of torch.save", found: found.into(), advice })
}

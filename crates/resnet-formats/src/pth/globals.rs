//! The names a pickle may ask for, and why others are refused.
//!
//! A pickle names functions and classes of Python and has them called. Here a name is a row of
//! [`ALLOWED`] or an error; what a row stands for is built by [`super::pickle`] from the arguments
//! alone.

use crate::numbers::Element;

/// What an accepted name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// A dictionary.
    Dict,
    /// A list.
    List,
    /// A tensor from (storage, offset, shape, strides, ...).
    Tensor,
    /// The same, followed by (requires_grad, hooks, number type, ...).
    TypedTensor,
    /// The tensor that is its first argument.
    Parameter,
    /// A storage of these numbers; `None` counts bytes.
    Storage(Option<Element>),
    /// A number type.
    Type(Element),
    /// A tuple: the shape of a tensor.
    Size,
    /// Bytes from a text of their characters.
    Encode,
    /// A number type of numpy.
    NumpyType,
    /// A single number of numpy's.
    NumpyScalar,
    /// Read over.
    Opaque(&'static str),
}

/// Every name that is accepted: module, name, what it stands for.
const ALLOWED: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::Dict),
    ("collections", "Counter", Global::Dict),
    ("builtins", "set", Global::List),
    ("__builtin__", "set", Global::List),
    ("torch._utils", "_rebuild_tensor", Global::Tensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::Tensor),
    ("torch._utils", "_rebuild_tensor_v3", Global::TypedTensor),
    ("torch._utils", "_rebuild_parameter", Global::Parameter),
    ("torch", "DoubleStorage", Global::Storage(Some(Element::F64))),
    ("torch", "FloatStorage", Global::Storage(Some(Element::F32))),
    ("torch", "HalfStorage", Global::Storage(Some(Element::F16))),
    ("torch", "BFloat16Storage", Global::Storage(Some(Element::BF16))),
    ("torch", "LongStorage", Global::Storage(Some(Element::I64))),
    ("torch", "IntStorage", Global::Storage(Some(Element::I32))),
    ("torch", "ShortStorage", Global::Storage(Some(Element::I16))),
    ("torch", "CharStorage", Global::Storage(Some(Element::I8))),
    ("torch", "ByteStorage", Global::Storage(Some(Element::U8))),
    ("torch", "BoolStorage", Global::Storage(Some(Element::Bool))),
    ("torch.storage", "UntypedStorage", Global::Storage(None)),
    ("torch", "UntypedStorage", Global::Storage(None)),
    ("torch", "float64", Global::Type(Element::F64)),
    ("torch", "float32", Global::Type(Element::F32)),
    ("torch", "float16", Global::Type(Element::F16)),
    ("torch", "bfloat16", Global::Type(Element::BF16)),
    ("torch", "int64", Global::Type(Element::I64)),
    ("torch", "uint64", Global::Type(Element::U64)),
    ("torch", "int32", Global::Type(Element::I32)),
    ("torch", "uint32", Global::Type(Element::U32)),
    ("torch", "int16", Global::Type(Element::I16)),
    ("torch", "uint16", Global::Type(Element::U16)),
    ("torch", "int8", Global::Type(Element::I8)),
    ("torch", "uint8", Global::Type(Element::U8)),
    ("torch", "bool", Global::Type(Element::Bool)),
    ("torch", "Size", Global::Size),
    ("torch", "device", Global::Opaque("a device")),
    ("_codecs", "encode", Global::Encode),
    ("numpy", "dtype", Global::NumpyType),
    ("numpy.core.multiarray", "scalar", Global::NumpyScalar),
    ("numpy._core.multiarray", "scalar", Global::NumpyScalar),
];

/// The row of a name.
pub(super) fn find(module: &str, name: &str) -> Option<Global> {
    let row = ALLOWED.iter().find(|row| row.0 == module && row.1 == name);
    row.map(|row| row.2)
}

/// Why a name has no row.
pub(super) fn reason(module: &str, name: &str) -> &'static str {
    let root = module.split('.').next().unwrap_or(module);
    match root {
        "os" | "posix" | "nt" | "subprocess" | "sys" | "builtins" | "__builtin__" | "shutil"
        | "socket" | "runpy" | "importlib" | "pty" | "code" | "operator" | "functools"
        | "webbrowser" | "ctypes" | "pickle" | "_pickle" => {
            "it is a function of Python that weights never need, and a way to run code"
        }
        "argparse" | "pathlib" | "datetime" | "omegaconf" | "easydict" => {
            "the file holds the training program's options as Python objects"
        }
        "numpy" => "numpy arrays are not read, PyTorch tensors are",
        "torch" if name.ends_with("Storage") || name.starts_with("complex") => {
            "numbers of this type are not read"
        }
        "torch" if module == "torch.storage" => {
            "the tensor was pickled without torch.save, as a stream inside a stream"
        }
        "torch" if module == "torch._utils" => {
            "sparse, quantised and wrapped tensors are not read, plain ones are"
        }
        "torch" | "torchvision" | "timm" | "__main__" | "models" => {
            "the file holds a Python object, such as a whole module, instead of a state dict"
        }
        _ => "only tensors, dictionaries, lists, texts and numbers are read",
    }
}

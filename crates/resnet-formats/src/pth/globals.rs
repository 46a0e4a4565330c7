//! The names a pickle may ask for, and why others are refused.
//!
//! A pickle names functions and classes of Python and has them called. Here a name is a row of
//! [`ALLOWED`], whose value is built by [`super::pickle`] from the arguments alone; or a way to run
//! code or numbers of an unknown kind, an error; or anything else, such as the class of a training
//! program's options, and becomes a placeholder that holds its name and nothing more. A placeholder
//! may stand beside weights, never among them.

use crate::numbers::Element;

/// What an accepted name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// A dictionary.
    Dict,
    /// A dictionary that is filled later; its arguments, such as what makes missing values, mean
    /// nothing here.
    EmptyDict,
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
    ("collections", "defaultdict", Global::EmptyDict),
    ("builtins", "dict", Global::Dict),
    ("builtins", "list", Global::List),
    ("builtins", "set", Global::List),
    ("builtins", "frozenset", Global::List),
    ("__builtin__", "set", Global::List),
    ("__builtin__", "frozenset", Global::List),
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

/// Functions of Python's own that run code or reach for files.
const HARMFUL: &[&str] = &[
    "__import__",
    "apply",
    "breakpoint",
    "compile",
    "delattr",
    "eval",
    "exec",
    "execfile",
    "file",
    "globals",
    "input",
    "locals",
    "open",
    "setattr",
    "vars",
];

/// Why a name without a row is refused; `None` if a placeholder may stand for it. Nothing is
/// executed either way, but a file that asks for these is no checkpoint.
pub(super) fn refusal(module: &str, name: &str) -> Option<&'static str> {
    let root = module.split('.').next().unwrap_or(module);
    match root {
        "builtins" | "__builtin__" if !HARMFUL.contains(&name) => None,
        "os" | "posix" | "nt" | "subprocess" | "sys" | "builtins" | "__builtin__" | "shutil"
        | "socket" | "runpy" | "importlib" | "pty" | "code" | "operator" | "webbrowser"
        | "ctypes" | "pickle" | "_pickle" => {
            Some("it is a function of Python that weights never need, and a way to run code")
        }
        "torch" if name.ends_with("Storage") => Some("numbers of this type are not read"),
        _ => None,
    }
}

/// Why an object of such a class cannot be weights.
pub(super) fn unread(class: &str) -> &'static str {
    let root = class.split('.').next().unwrap_or(class);
    match root {
        "numpy" => "numpy arrays are not read, PyTorch tensors are",
        "torch" if class.starts_with("torch.storage.") => {
            "the tensor was pickled without torch.save, as a stream inside a stream"
        }
        "torch" if class.starts_with("torch._utils.") => {
            "sparse, quantised and wrapped tensors are not read, plain ones are"
        }
        _ => "it is no plain tensor",
    }
}

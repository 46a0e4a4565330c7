//! What the calls in a pickle build: tensors, storages, dictionaries. Nothing is executed, and no
//! size is believed yet.

use super::globals::Global;
use super::value::{Arena, Node, Storage, Tensor, Value};
use crate::error::{FormatError, MAX_AXES};
use crate::numbers::Element;

/// Bytes of a storage's name; PyTorch's are short decimal numbers.
const MAX_KEY: usize = 64;

/// What was expected and what was found; the caller adds the place.
pub(super) enum Problem {
    Wrong(&'static str, String),
    Other(FormatError),
}

impl Problem {
    pub(super) fn at(self, at: u64) -> FormatError {
        match self {
            Problem::Wrong(expected, found) => FormatError::Pickle { at, expected, found },
            Problem::Other(error) => error,
        }
    }
}

impl From<FormatError> for Problem {
    fn from(error: FormatError) -> Problem {
        Problem::Other(error)
    }
}

/// The value that calling `callee` with `arguments` stands for.
pub(super) fn call(arena: &mut Arena, callee: Value, arguments: Value) -> Result<Value, Problem> {
    if let Some(class) = arena.class(callee) {
        let object = Node::Object(class.into());
        return Ok(arena.add(object)?);
    }
    let Value::Global(global) = callee else {
        return Err(Problem::Wrong("a name to call", arena.describe(callee)));
    };
    let Some(Node::Tuple(items)) = arena.node(arguments) else {
        let found = arena.describe(arguments);
        return Err(Problem::Wrong("a tuple of arguments", found));
    };
    let first = items.first().copied();
    match (global, &**items) {
        (Global::Dict, []) => Ok(arena.add(Node::Dict(Vec::new()))?),
        (Global::Dict, &[entries]) => dict(arena, entries),
        (Global::EmptyDict, _) => Ok(arena.add(Node::Dict(Vec::new()))?),
        (Global::List, []) => Ok(arena.add(Node::List(Vec::new()))?),
        (Global::List | Global::Size, &[items]) => {
            let Some(items) = arena.sequence(items).map(<[Value]>::to_vec) else {
                return Err(Problem::Wrong("a list", arena.describe(items)));
            };
            arena.take_items(items.len())?;
            Ok(arena.add(match global {
                Global::Size => Node::Tuple(items.into()),
                _ => Node::List(items),
            })?)
        }
        (Global::Tensor, &[storage, offset, shape, strides, ..]) => {
            tensor(arena, storage, [offset, shape, strides], None)
        }
        (Global::TypedTensor, &[storage, offset, shape, strides, _, _, kind, ..]) => {
            let Value::Global(Global::Type(element)) = kind else {
                return Err(Problem::Wrong("a number type", arena.describe(kind)));
            };
            tensor(arena, storage, [offset, shape, strides], Some(element))
        }
        (Global::Parameter, &[data, ..]) => match arena.tensor(data) {
            Some(_) => Ok(data),
            None if arena.class(data).is_some() => Ok(data),
            None => Err(Problem::Wrong("a tensor", arena.describe(data))),
        },
        (Global::Encode, &[text, encoding]) => {
            let bytes = match (arena.text(text), arena.text(encoding)) {
                (Some(text), Some("latin1")) => {
                    text.chars().map(|c| u8::try_from(c).ok()).collect()
                }
                _ => None::<Vec<u8>>,
            };
            match bytes {
                Some(bytes) => {
                    arena.take_items(bytes.len())?;
                    Ok(arena.add(Node::Bytes(bytes.into()))?)
                }
                None => Err(Problem::Wrong("a text in latin1", arena.describe(text))),
            }
        }
        (Global::NumpyType, &[code, ..]) => match arena.text(code) {
            Some(code) => {
                let code = code.chars().take(8).collect::<String>().into();
                Ok(arena.add(Node::NumpyType(code))?)
            }
            None => Err(Problem::Wrong("a numpy type's code", arena.describe(code))),
        },
        (Global::NumpyScalar, &[kind, bytes]) => scalar(arena, kind, bytes),
        (Global::Opaque(what), _) => Ok(arena.add(Node::Opaque(what))?),
        (Global::Storage(_) | Global::Type(_), _) => {
            let found = "a number type with arguments".into();
            Err(Problem::Wrong("a function to call", found))
        }
        _ => {
            let found = match first {
                Some(first) => format!("{} of them, first {}", items.len(), arena.describe(first)),
                None => "none".into(),
            };
            Err(Problem::Wrong("this function's arguments", found))
        }
    }
}

/// A dictionary from a list of pairs (Python 2) or from another one.
fn dict(arena: &mut Arena, from: Value) -> Result<Value, Problem> {
    let entries = match (arena.dict(from), arena.sequence(from)) {
        (Some(entries), _) => Some(entries.to_vec()),
        (_, Some(pairs)) => pairs
            .iter()
            .map(|&pair| match arena.sequence(pair) {
                Some(&[key, value]) => Some((key, value)),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    match entries {
        Some(entries) => {
            arena.take_items(2 * entries.len())?;
            Ok(arena.add(Node::Dict(entries))?)
        }
        None => Err(Problem::Wrong("a list of pairs", arena.describe(from))),
    }
}

/// A number of numpy's: `f8`, what `best_prec1` often is, becomes one; others are read over.
fn scalar(arena: &mut Arena, kind: Value, bytes: Value) -> Result<Value, Problem> {
    match (arena.node(kind), arena.node(bytes)) {
        // An object's bytes may be any value.
        (Some(Node::NumpyType(code)), _) if code.starts_with('O') => {
            Ok(arena.add(Node::Opaque("a numpy number"))?)
        }
        (Some(Node::NumpyType(code)), Some(Node::Bytes(bytes))) => {
            let bytes: Result<[u8; 8], _> = bytes[..].try_into();
            match (&**code, bytes) {
                ("f8", Ok(bytes)) => Ok(Value::Float(f64::from_le_bytes(bytes))),
                ("i8", Ok(bytes)) => Ok(Value::Int(i64::from_le_bytes(bytes))),
                _ => Ok(arena.add(Node::Opaque("a numpy number"))?),
            }
        }
        _ => Err(Problem::Wrong("a numpy type and its bytes", arena.describe(kind))),
    }
}

fn tensor(
    arena: &mut Arena,
    storage: Value,
    [offset, shape, strides]: [Value; 3],
    element: Option<Element>,
) -> Result<Value, Problem> {
    if arena.class(storage).is_some() {
        return Ok(storage);
    }
    let (Value::Node(at), Some(Node::Storage(found))) = (storage, arena.node(storage)) else {
        return Err(Problem::Wrong("a tensor's storage", arena.describe(storage)));
    };
    let Some(element) = element.or(found.element) else {
        let found = "a storage of bytes".into();
        return Err(Problem::Wrong("a storage of numbers", found));
    };
    let Value::Int(offset) = offset else {
        return Err(Problem::Wrong("a tensor's offset", arena.describe(offset)));
    };
    let tensor = Tensor {
        storage: at,
        element,
        offset,
        shape: integers(arena, shape)?,
        strides: integers(arena, strides)?,
    };
    Ok(arena.add(Node::Tensor(Box::new(tensor)))?)
}

/// The value, if it is a tuple of integers.
fn integers(arena: &Arena, value: Value) -> Result<Value, Problem> {
    let Some(Node::Tuple(items)) = arena.node(value) else {
        let found = arena.describe(value);
        return Err(Problem::Wrong("a tuple of sizes or strides", found));
    };
    if items.len() > MAX_AXES {
        let found = format!("{} of them", items.len());
        return Err(Problem::Wrong("at most 64 axes", found));
    }
    match items.iter().find(|item| !matches!(item, Value::Int(_))) {
        Some(&other) => Err(Problem::Wrong("an integer", arena.describe(other))),
        None => Ok(value),
    }
}

/// The storage of a persistent id: `("storage", type, key, device, count[, view])`.
pub(super) fn persistent(arena: &mut Arena, id: Value) -> Result<Value, Problem> {
    let expected = "a storage's (\"storage\", type, key, device, count)";
    let wrong = |arena: &Arena| Err(Problem::Wrong(expected, arena.describe(id)));
    let Some(&[tag, kind, key, _, count, ref view @ ..]) = arena.sequence(id) else {
        return wrong(arena);
    };
    let (Some("storage"), Value::Global(Global::Storage(element)), Some(key), Value::Int(count)) =
        (arena.text(tag), kind, arena.text(key), count)
    else {
        return wrong(arena);
    };
    // Files of PyTorch before 0.4 have views of storages: (key of the view, offset, count).
    let view = match *view {
        [] | [Value::None] => None,
        [view] => match arena.sequence(view) {
            Some(&[_, Value::Int(offset), Value::Int(count)]) => Some((offset, count)),
            _ => return wrong(arena),
        },
        _ => return wrong(arena),
    };
    if key.len() > MAX_KEY {
        let found = format!("{} bytes", key.len());
        return Err(Problem::Wrong("a storage's key of at most 64 bytes", found));
    }
    let storage = Storage { key: key.into(), element, count, view };
    Ok(arena.add(Node::Storage(Box::new(storage)))?)
}

/// Attributes set after a call. Those of placeholders, dictionaries (`_metadata`) and tensors are
/// read over, and so are those of numpy types, but for the byte order.
pub(super) fn set_state(arena: &mut Arena, object: Value, state: Value) -> Result<(), Problem> {
    match arena.node(object) {
        Some(Node::Class(_) | Node::Object(_)) => Ok(()),
        Some(Node::Dict(_) | Node::Tensor(_)) if arena.dict(state).is_some() => Ok(()),
        Some(Node::Tensor(_)) if arena.sequence(state).is_some() => Ok(()),
        Some(Node::NumpyType(_)) => {
            let Some(fields) = arena.sequence(state) else {
                let found = arena.describe(state);
                return Err(Problem::Wrong("a numpy type's fields", found));
            };
            let order = fields.get(1).copied().unwrap_or(Value::None);
            if arena.text(order) == Some(">")
                && let Some(node) = arena.node_mut(object)
            {
                *node = Node::NumpyType(">".into());
            }
            Ok(())
        }
        _ => Err(Problem::Wrong("an object that may have attributes", arena.describe(object))),
    }
}

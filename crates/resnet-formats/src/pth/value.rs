//! What a pickle describes, as inert values.
//!
//! Everything that has parts lives in one [`Arena`] and is named by its place in it. A pickle can
//! make values that contain themselves or share parts a billion times over; in an arena both cost
//! what they take in the file, and nothing recurses.

use super::globals::Global;
use crate::error::{FormatError, shorten};
use crate::numbers::Element;

/// Values with parts in one pickle: three times those of a 1,202-layer network with its optimiser
/// state.
pub(super) const MAX_NODES: usize = 1 << 19;
/// Items in all lists and dictionaries of one pickle, such as a long history of losses.
const MAX_ITEMS: usize = 1 << 21;

/// A value, or the place of one that has parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Global(Global),
    Node(u32),
}

/// A value that has parts.
#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// An integer that 64 bits do not hold, little-endian two's complement.
    Long(Box<[u8]>),
    Tuple(Box<[Value]>),
    /// A list or a set.
    List(Vec<Value>),
    /// Keys and values in the order they were set; the last of equal keys counts.
    Dict(Vec<(Value, Value)>),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// A numpy number type: its code, such as `f8`.
    NumpyType(Box<str>),
    /// Something read over, by what it is.
    Opaque(&'static str),
    /// The name of a class or function that is not known, module first.
    Class(Box<str>),
    /// What one of these would make, by its name.
    Object(Box<str>),
}

/// A run of numbers that tensors look into.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// Its name in the file.
    pub(super) key: Box<str>,
    /// The type of its numbers; `None` counts bytes.
    pub(super) element: Option<Element>,
    /// How many numbers (or bytes) it holds.
    pub(super) count: i64,
    /// A part of it: its beginning and length in numbers.
    pub(super) view: Option<(i64, i64)>,
}

/// A view of a storage, as the file claims it: nothing has been checked.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: u32,
    pub(super) element: Element,
    /// In numbers, from the storage's beginning.
    pub(super) offset: i64,
    /// A tuple of integers.
    pub(super) shape: Value,
    /// A tuple of integers, in numbers, an axis each.
    pub(super) strides: Value,
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Arena {
    nodes: Vec<Node>,
    max_nodes: usize,
    items: usize,
}

impl Arena {
    pub(super) fn new(max_nodes: usize) -> Arena {
        Arena { nodes: Vec::new(), max_nodes, items: 0 }
    }

    pub(super) fn add(&mut self, node: Node) -> Result<Value, FormatError> {
        if self.nodes.len() == self.max_nodes {
            return Err(FormatError::Limit {
                what: "values in the pickle",
                limit: self.max_nodes as u64,
            });
        }
        self.nodes.push(node);
        Ok(Value::Node(self.nodes.len() as u32 - 1))
    }

    /// Counts items that are about to be put into a list, tuple or dictionary.
    pub(super) fn take_items(&mut self, count: usize) -> Result<(), FormatError> {
        self.items += count;
        if self.items > MAX_ITEMS {
            return Err(FormatError::Limit {
                what: "items in the pickle's lists and dictionaries",
                limit: MAX_ITEMS as u64,
            });
        }
        Ok(())
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.nodes.get(at as usize),
            _ => None,
        }
    }

    pub(super) fn node_mut(&mut self, value: Value) -> Option<&mut Node> {
        match value {
            Value::Node(at) => self.nodes.get_mut(at as usize),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The integers in a tuple, which cannot change once it is made.
    pub(super) fn integers(&self, value: Value) -> Vec<i64> {
        let items = self.sequence(value).unwrap_or_default().iter();
        let integers = items.filter_map(|&item| match item {
            Value::Int(number) => Some(number),
            _ => None,
        });
        integers.collect()
    }

    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, value: Value) -> Option<&Tensor> {
        match self.node(value)? {
            Node::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The name of the class of a placeholder.
    pub(super) fn class(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Class(name) | Node::Object(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn storage(&self, at: u32) -> Option<&Storage> {
        match self.nodes.get(at as usize)? {
            Node::Storage(storage) => Some(storage),
            _ => None,
        }
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }

    /// A few words on a value, of bounded length.
    pub(super) fn describe(&self, value: Value) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::Global(_) => "a name".into(),
            Value::Node(at) => match &self.nodes[at as usize] {
                Node::Text(text) => format!("\"{}\"", shorten(text)),
                Node::Bytes(bytes) => format!("{} bytes", bytes.len()),
                Node::Long(bytes) => format!("an integer of {} bytes", bytes.len()),
                Node::Tuple(items) => format!("a tuple of {}", items.len()),
                Node::List(items) => format!("a list of {}", items.len()),
                Node::Dict(entries) if entries.len() == 1 => "a dictionary of 1 entry".into(),
                Node::Dict(entries) => format!("a dictionary of {} entries", entries.len()),
                Node::Storage(_) => "a storage".into(),
                Node::Tensor(tensor) => format!("a tensor of {:?}", self.integers(tensor.shape)),
                Node::NumpyType(_) => "a numpy type".into(),
                Node::Opaque(what) => (*what).into(),
                Node::Class(name) => format!("the name {}", shorten(name)),
                Node::Object(name) => format!("an object of {}", shorten(name)),
            },
        }
    }
}

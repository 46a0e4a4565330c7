//! CIFAR's files for Python: a pickle of a dictionary with an array of bytes and lists of labels.
//!
//! A pickle is a program for a stack machine. Here its instructions build inert values, and what it
//! calls stays a name beside its arguments: nothing is executed. Bytes stay where they are in the
//! file, so that memory is bounded by a few values an instruction. The reader of `resnet-formats`
//! has limits and errors of checkpoints: its texts are far smaller than these arrays, and it reads
//! no numpy. Source of the instructions: `Lib/pickletools.py` of CPython.

use std::collections::HashMap;

/// Values in all lists, and values that have parts.
const MOST_ITEMS: usize = 1 << 21;

/// A batch of pictures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PickledBatch<'a> {
    /// Red, green and blue planes of each picture.
    pub(super) planes: &'a [u8],
    pub(super) labels: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Nothing,
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    /// One that has parts.
    Node(usize),
}

enum Node<'a> {
    /// A list or tuple.
    List(Vec<Value<'a>>),
    Dict(Vec<Value<'a>>),
    /// What calling a name with arguments would make, and what it is given then.
    Made {
        name: &'a [u8],
        arguments: Value<'a>,
        state: Value<'a>,
    },
    Name(&'a [u8]),
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    nodes: Vec<Node<'a>>,
    items: usize,
}

/// The batch in a pickle's bytes, its labels under `key`; or what is wrong.
pub(super) fn batch<'a>(bytes: &'a [u8], key: &str) -> Result<PickledBatch<'a>, String> {
    let mut machine = Machine {
        rest: bytes,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        nodes: Vec::new(),
        items: 0,
    };
    let at = |machine: &Machine| bytes.len() - machine.rest.len();
    let object = loop {
        match machine.step() {
            Some(None) => {}
            Some(Some(object)) => break object,
            None => {
                return Err(format!(
                    "a pickle that is cut off or unusual at byte {}",
                    at(&machine)
                ));
            }
        }
    };
    let missing = |what: &str| format!("a pickle without {what}");
    let dict = |name: &str| match object {
        Value::Node(at) => match &machine.nodes[at] {
            Node::Dict(pairs) => pairs.as_chunks::<2>().0.iter().rev().find_map(|[key, value]| {
                matches!(key, Value::Bytes(key) if *key == name.as_bytes()).then_some(*value)
            }),
            _ => None,
        },
        _ => None,
    };
    let labels = dict(key).and_then(|labels| machine.list(labels));
    let label = |value: &Value| match value {
        Value::Int(label) => u8::try_from(*label).ok(),
        _ => None,
    };
    let labels = labels.and_then(|labels| labels.iter().map(label).collect::<Option<Vec<u8>>>());
    let labels = labels.ok_or_else(|| missing(&format!("a list `{key}` of numbers")))?;
    let planes = dict("data").and_then(|data| machine.array(data, labels.len()));
    let planes = planes.ok_or_else(|| {
        missing(&format!("`data`, an array of bytes of shape ({}, 3072)", labels.len()))
    })?;
    Ok(PickledBatch { planes, labels })
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(first)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// Bytes whose length stands before them.
    fn counted(&mut self, bytes: usize) -> Option<Value<'a>> {
        let length = usize::try_from(self.number(bytes)?).ok()?;
        self.take(length).map(Value::Bytes)
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().take(256).position(|&byte| byte == b'\n')?;
        let line = self.take(end)?;
        self.take(1)?;
        Some(line)
    }

    fn add(&mut self, node: Node<'a>) -> Option<Value<'a>> {
        self.nodes.push(node);
        (self.nodes.len() <= MOST_ITEMS).then(|| Value::Node(self.nodes.len() - 1))
    }

    fn list(&self, value: Value) -> Option<&[Value<'a>]> {
        match value {
            Value::Node(at) => match &self.nodes[at] {
                Node::List(items) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    /// What stands above the last mark.
    fn above_mark(&mut self) -> Option<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len())?;
        Some(self.stack.split_off(mark))
    }

    fn last(&mut self, count: usize) -> Option<Vec<Value<'a>>> {
        let start = self.stack.len().checked_sub(count)?;
        Some(self.stack.split_off(start))
    }

    /// Adds to the list or dictionary on top of the stack.
    fn extend(&mut self, items: Vec<Value<'a>>) -> Option<()> {
        self.items += items.len();
        let Value::Node(at) = *self.stack.last()? else { return None };
        match &mut self.nodes[at] {
            Node::List(to) | Node::Dict(to) if self.items <= MOST_ITEMS => to.extend(items),
            _ => return None,
        }
        Some(())
    }

    /// One instruction; the object at the end; nothing where something is wrong.
    fn step(&mut self) -> Option<Option<Value<'a>>> {
        let instruction = self.take(1)?[0];
        let value = match instruction {
            b'.' => return Some(Some(self.stack.pop()?)),
            // PROTO, FRAME
            0x80 => return self.take(1).map(|_| None),
            0x95 => return self.take(8).map(|_| None),
            // NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1
            b'N' => Value::Nothing,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            0x8a => {
                let length = self.number(1)? as usize;
                Value::Int(if length < 8 { self.number(length)? as i64 } else { return None })
            }
            // Texts and bytes of all lengths
            b'U' | b'C' | 0x8c => self.counted(1)?,
            b'T' | b'B' | b'X' => self.counted(4)?,
            0x8d | 0x8e | 0x96 => self.counted(8)?,
            // MARK, POP
            b'(' => {
                self.marks.push(self.stack.len());
                return (self.marks.len() < 1000).then_some(None);
            }
            b'0' => return self.stack.pop().map(|_| None),
            // Empty and filled tuples, lists and dictionaries
            b')' | b']' => self.add(Node::List(Vec::new()))?,
            b'}' => self.add(Node::Dict(Vec::new()))?,
            b't' | b'l' | 0x85..=0x87 => {
                let items = match instruction {
                    b't' | b'l' => self.above_mark()?,
                    _ => self.last(usize::from(instruction - 0x84))?,
                };
                self.items += items.len();
                self.add(Node::List(items))?
            }
            b'a' | b's' => {
                let items = self.last(if instruction == b'a' { 1 } else { 2 })?;
                return self.extend(items).map(|()| None);
            }
            b'e' | b'u' => {
                let items = self.above_mark()?;
                return self.extend(items).map(|()| None);
            }
            // The memory of values
            b'q' | b'r' | 0x94 => {
                let at = match instruction {
                    0x94 => self.memo.len() as u64,
                    _ => self.number(if instruction == b'q' { 1 } else { 4 })?,
                };
                let value = *self.stack.last()?;
                self.memo.insert(at, value);
                return (self.memo.len() <= MOST_ITEMS).then_some(None);
            }
            b'h' | b'j' => {
                let at = self.number(if instruction == b'h' { 1 } else { 4 })?;
                *self.memo.get(&at)?
            }
            // GLOBAL, STACK_GLOBAL, REDUCE, BUILD
            b'c' => {
                self.line()?;
                let name = self.line()?;
                self.add(Node::Name(name))?
            }
            0x93 => match self.last(2)?[1] {
                Value::Bytes(name) => self.add(Node::Name(name))?,
                _ => return None,
            },
            b'R' => {
                let [called, arguments] = *self.last(2)?.as_slice() else { return None };
                let Value::Node(at) = called else { return None };
                let Node::Name(name) = self.nodes[at] else { return None };
                self.add(Node::Made { name, arguments, state: Value::Nothing })?
            }
            b'b' => {
                let given = self.stack.pop()?;
                let Value::Node(at) = *self.stack.last()? else { return None };
                let Node::Made { state, .. } = &mut self.nodes[at] else { return None };
                *state = given;
                return Some(None);
            }
            _ => return None,
        };
        self.stack.push(value);
        (self.stack.len() <= MOST_ITEMS).then_some(None)
    }

    /// The bytes of a numpy array of `count` rows.
    fn array(&self, value: Value<'a>, count: usize) -> Option<&'a [u8]> {
        let Value::Node(at) = value else { return None };
        let Node::Made { name, arguments, state } = &self.nodes[at] else { return None };
        let (bytes, kind, shape) = match *name {
            // (version, shape, type, whether columns come first, bytes)
            b"_reconstruct" => match self.list(*state)? {
                [_, shape, kind, Value::Bool(false), Value::Bytes(bytes)] => {
                    (*bytes, *kind, *shape)
                }
                _ => return None,
            },
            // (bytes, type, shape, order)
            b"_frombuffer" => match self.list(*arguments)? {
                [Value::Bytes(bytes), kind, shape, Value::Bytes(b"C")] => (*bytes, *kind, *shape),
                _ => return None,
            },
            _ => return None,
        };
        let Value::Node(at) = kind else { return None };
        let Node::Made { name: b"dtype", arguments, .. } = &self.nodes[at] else { return None };
        let is_bytes = matches!(self.list(*arguments)?.first()?, Value::Bytes(b"u1" | b"|u1"));
        let [Value::Int(rows), Value::Int(3072)] = self.list(shape)? else { return None };
        let fits = *rows == count as i64 && bytes.len() == count * 3072;
        (is_bytes && fits).then_some(bytes)
    }
}

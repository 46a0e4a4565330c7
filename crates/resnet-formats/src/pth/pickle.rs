//! An interpreter for the part of Python's pickle language that tensors need, protocols 2 to 5.
//!
//! A pickle is a program for a stack machine; Python runs it by calling what it names. Here names
//! come from the table in [`super::globals`], calls are built in [`super::build`], and every
//! instruction that is not listed below is refused. Source of the instructions:
//! `Lib/pickletools.py` of CPython. Work is linear in the pickle's length.

use super::build;
use super::globals;
use super::source::Source;
use super::value::{Arena, Node, Value};
use crate::error::{FormatError, shorten};
use std::collections::HashMap;
use std::io::BufRead;

const MAX_INSTRUCTIONS: u64 = 1 << 24;
const MAX_STACK: usize = 1 << 18;
const MAX_MEMO: usize = 1 << 20;
const MAX_DEPTH: usize = 1000;
/// Bytes of one integer; what is longer is no number of a checkpoint.
const MAX_LONG: u64 = 4096;

/// What a pickle builds: the object, and the values it is made of.
pub(super) struct Built {
    pub(super) object: Value,
    pub(super) arena: Arena,
}

/// Interprets one pickle of at most `max_nodes` values with parts, up to and with its STOP.
pub(super) fn interpret(
    source: &mut Source<impl BufRead>,
    max_nodes: usize,
) -> Result<Built, FormatError> {
    let mut machine = Machine {
        source,
        arena: Arena::new(max_nodes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let object = machine.run()?;
    Ok(Built { object, arena: machine.arena })
}

struct Machine<'a, R> {
    source: &'a mut Source<R>,
    arena: Arena,
    stack: Vec<Value>,
    /// Where on the stack each open MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<R: BufRead> Machine<'_, R> {
    fn run(&mut self) -> Result<Value, FormatError> {
        for _ in 0..MAX_INSTRUCTIONS {
            let instruction = self.source.byte()?;
            if instruction == b'.' {
                return self.pop();
            }
            self.step(instruction)?;
        }
        Err(limit("instructions in the pickle", MAX_INSTRUCTIONS))
    }

    fn step(&mut self, instruction: u8) -> Result<(), FormatError> {
        match instruction {
            // PROTO, FRAME
            0x80 => match self.source.byte()? {
                2..=5 => Ok(()),
                other => Err(self.wrong("protocol 2, 3, 4 or 5", other.to_string())),
            },
            0x95 => self.source.array::<8>().map(|_| ()),
            // NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.source.array()?);
                self.push(Value::Int(number.into()))
            }
            b'K' => {
                let number = self.source.byte()?;
                self.push(Value::Int(number.into()))
            }
            b'M' => {
                let number = u16::from_le_bytes(self.source.array()?);
                self.push(Value::Int(number.into()))
            }
            0x8a => {
                let len = self.source.byte()?;
                self.long(len.into())
            }
            0x8b => {
                let len = self.length4()?;
                self.long(len)
            }
            b'G' => {
                let number = f64::from_be_bytes(self.source.array()?);
                self.push(Value::Float(number))
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, BINSTRING, SHORT_BINSTRING
            b'X' => self.length4().and_then(|len| self.text(len)),
            0x8c => self.length1().and_then(|len| self.text(len)),
            0x8d => self.length8().and_then(|len| self.text(len)),
            b'T' => self.length4().and_then(|len| self.text_of_python2(len)),
            b'U' => self.length1().and_then(|len| self.text_of_python2(len)),
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => self.length4().and_then(|len| self.raw(len)),
            b'C' => self.length1().and_then(|len| self.raw(len)),
            0x8e | 0x96 => self.length8().and_then(|len| self.raw(len)),
            // MARK, POP, POP_MARK
            b'(' => {
                if self.marks.len() == MAX_DEPTH {
                    return Err(limit("levels of nesting in the pickle", MAX_DEPTH as u64));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(&mark) if mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(|_| ()),
            },
            b'1' => self.pop_mark().map(|_| ()),
            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.push_node(Node::Tuple([].into())),
            b't' => self.pop_mark().and_then(|items| self.tuple(items)),
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let items = self.pop_many(count)?;
                self.tuple(items)
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS; EMPTY_SET, ADDITEMS, FROZENSET
            b']' | 0x8f => self.push_node(Node::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.arena.take_items(items.len())?;
                self.push_node(Node::List(items))
            }
            b'a' => self.pop().and_then(|item| self.append(vec![item])),
            b'e' | 0x90 => self.pop_mark().and_then(|items| self.append(items)),
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                self.push_node(Node::Dict(Vec::new()))?;
                self.set(items)
            }
            b's' => self.pop_many(2).and_then(|items| self.set(items)),
            b'u' => self.pop_mark().and_then(|items| self.set(items)),
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' => self.length1().and_then(|at| self.get(at as u32)),
            b'j' => self.length4().and_then(|at| self.get(at as u32)),
            b'q' => self.length1().and_then(|at| self.put(at as u32)),
            b'r' => self.length4().and_then(|at| self.put(at as u32)),
            0x94 => self.put(self.memo.len() as u32),
            // GLOBAL, STACK_GLOBAL, NEWOBJ_EX, REDUCE, NEWOBJ, BUILD, BINPERSID
            b'c' => {
                let (module, name) = (self.source.line()?, self.source.line()?);
                self.global(&module, &name)
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let texts = (self.arena.text(names[0]), self.arena.text(names[1]));
                let (Some(module), Some(name)) = texts else {
                    return Err(self.wrong("a module and a name", self.arena.describe(names[0])));
                };
                let (module, name) = (module.to_owned(), name.to_owned());
                self.global(&module, &name)
            }
            0x92 => {
                let parts = self.pop_many(3)?;
                let value = build::call(&mut self.arena, parts[0], parts[1])
                    .map_err(|problem| problem.at(self.source.at))?;
                self.push(value)
            }
            b'R' | 0x81 => {
                let [callee, arguments] = self.pop_pair()?;
                let value = build::call(&mut self.arena, callee, arguments)
                    .map_err(|problem| problem.at(self.source.at))?;
                self.push(value)
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                build::set_state(&mut self.arena, object, state)
                    .map_err(|problem| problem.at(self.source.at))
            }
            b'Q' => {
                let id = self.pop()?;
                let value = build::persistent(&mut self.arena, id)
                    .map_err(|problem| problem.at(self.source.at))?;
                self.push(value)
            }
            other => Err(FormatError::Refused {
                at: self.source.at,
                name: format!("instruction 0x{other:02x}"),
                reason: match other {
                    b'i' | b'o' => "it creates an object of any class",
                    0x82..=0x84 => "it calls a function by a number that other programs chose",
                    b'P' => "it names an outside object in text, which torch.save does not",
                    0x97 | 0x98 => "it asks for bytes outside the file",
                    _ => "it is not among those that torch.save writes",
                },
            }),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), FormatError> {
        if let Some(global) = globals::find(module, name) {
            return self.push(Value::Global(global));
        }
        match globals::refusal(module, name) {
            None => {
                let full = format!("{}.{}", shorten(module), shorten(name));
                self.push_node(Node::Class(full.into()))
            }
            Some(reason) => Err(FormatError::Refused {
                at: self.source.at,
                name: format!("{}.{}", shorten(module), shorten(name)),
                reason,
            }),
        }
    }

    fn long(&mut self, len: u64) -> Result<(), FormatError> {
        if len > MAX_LONG {
            return Err(limit("bytes in one integer of the pickle", MAX_LONG));
        }
        let bytes = self.source.bytes(len)?;
        if bytes.len() > 8 {
            return self.push_node(Node::Long(bytes.into()));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut number = [if negative { 0xff } else { 0 }; 8];
        number[..bytes.len()].copy_from_slice(&bytes);
        self.push(Value::Int(i64::from_le_bytes(number)))
    }

    fn text(&mut self, len: u64) -> Result<(), FormatError> {
        match String::from_utf8(self.source.bytes(len)?) {
            Ok(text) => self.push_node(Node::Text(text.into())),
            Err(_) => Err(self.wrong("a text in UTF-8", "other bytes".into())),
        }
    }

    /// Python 2 has one type for texts and bytes.
    fn text_of_python2(&mut self, len: u64) -> Result<(), FormatError> {
        let node = match String::from_utf8(self.source.bytes(len)?) {
            Ok(text) => Node::Text(text.into()),
            Err(error) => Node::Bytes(error.into_bytes().into()),
        };
        self.push_node(node)
    }

    fn raw(&mut self, len: u64) -> Result<(), FormatError> {
        let bytes = self.source.bytes(len)?;
        self.push_node(Node::Bytes(bytes.into()))
    }

    fn tuple(&mut self, items: Vec<Value>) -> Result<(), FormatError> {
        self.arena.take_items(items.len())?;
        self.push_node(Node::Tuple(items.into()))
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), FormatError> {
        let list = self.top()?;
        self.arena.take_items(items.len())?;
        match self.arena.node_mut(list) {
            Some(Node::List(to)) => {
                to.extend(items);
                Ok(())
            }
            Some(Node::Object(_)) => Ok(()),
            _ => Err(self.wrong("a list to append to", self.arena.describe(list))),
        }
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), FormatError> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.wrong("a value for each key", "a key alone".into()));
        }
        self.arena.take_items(items.len())?;
        match self.arena.node_mut(dict) {
            Some(Node::Dict(to)) => {
                to.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Some(Node::Object(_)) => Ok(()),
            _ => Err(self.wrong("a dictionary to set items of", self.arena.describe(dict))),
        }
    }

    fn get(&mut self, at: u32) -> Result<(), FormatError> {
        match self.memo.get(&at) {
            Some(&value) => self.push(value),
            None => Err(self.wrong("a remembered value", format!("nothing at number {at}"))),
        }
    }

    fn put(&mut self, at: u32) -> Result<(), FormatError> {
        let value = self.top()?;
        if self.memo.len() == MAX_MEMO {
            return Err(limit("remembered values in the pickle", MAX_MEMO as u64));
        }
        self.memo.insert(at, value);
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), FormatError> {
        if self.stack.len() == MAX_STACK {
            return Err(limit("values on the pickle's stack", MAX_STACK as u64));
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Result<(), FormatError> {
        let value = self.arena.add(node)?;
        self.push(value)
    }

    /// The stack above the last MARK is a level of its own: nothing below is reached.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value, FormatError> {
        match self.stack.last() {
            Some(&value) if self.stack.len() > self.floor() => Ok(value),
            _ => Err(self.wrong("a value on the stack", "none".into())),
        }
    }

    fn pop(&mut self) -> Result<Value, FormatError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, FormatError> {
        let here = self.stack.len() - self.floor();
        if here < count {
            let found = format!("{here}, where {count} are needed");
            return Err(self.wrong("values on the stack", found));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_pair(&mut self) -> Result<[Value; 2], FormatError> {
        let values = self.pop_many(2)?;
        Ok([values[0], values[1]])
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, FormatError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.wrong("a mark on the stack", "none".into())),
        }
    }

    fn length1(&mut self) -> Result<u64, FormatError> {
        self.source.byte().map(u64::from)
    }

    fn length4(&mut self) -> Result<u64, FormatError> {
        self.source.array().map(|b| u32::from_le_bytes(b).into())
    }

    fn length8(&mut self) -> Result<u64, FormatError> {
        self.source.array().map(u64::from_le_bytes)
    }

    fn wrong(&self, expected: &'static str, found: String) -> FormatError {
        FormatError::Pickle { at: self.source.at, expected, found }
    }
}

fn limit(what: &'static str, limit: u64) -> FormatError {
    FormatError::Limit { what, limit }
}

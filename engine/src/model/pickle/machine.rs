//! The stack machine: opcodes of protocols 0 to 5 that torch's picklers write, and their close relatives.

use std::collections::HashMap;
use std::rc::Rc;

use super::calls::Global;
use super::{broken, Object, Pickle, Value, LARGEST_COUNT};
use crate::model::error::ModelError;

/// Reads one pickle.
///
/// # Errors
/// [`ModelError::Container`] naming the offset and what was expected there.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle, ModelError> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), objects: Vec::new() };
    let root = machine.run().map_err(|e| match e {
        ModelError::Container { container: "pickle", problem } => broken(format!("at byte {}: {problem}", machine.at)),
        other => other,
    })?;
    Ok(Pickle { objects: machine.objects, root })
}

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    pub(super) objects: Vec<Object>,
}

impl<'a> Machine<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(length).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or_else(|| broken(format!("ends early: {length} more bytes expected")))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, ModelError> {
        Ok(self.take(1)?[0])
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn length8(&mut self) -> Result<usize, ModelError> {
        usize::try_from(u64::from_le_bytes(self.number()?)).map_err(|_| broken("a length does not fit this machine"))
    }

    /// Text up to a line feed.
    fn line(&mut self) -> Result<&'a str, ModelError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or_else(|| broken("ends early: a line expected"))?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| broken("a line is not UTF-8"))
    }

    fn text(&mut self, length: usize) -> Result<Rc<str>, ModelError> {
        std::str::from_utf8(self.take(length)?).map(Rc::from).map_err(|_| broken("a text is not UTF-8"))
    }

    pub(super) fn push_object(&mut self, object: Object) -> Result<(), ModelError> {
        if self.objects.len() >= LARGEST_COUNT {
            return Err(broken(format!("holds more than {LARGEST_COUNT} objects")));
        }
        self.objects.push(object);
        self.stack.push(Value::Ref(self.objects.len() - 1));
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, ModelError> {
        if self.marks.last().is_some_and(|&m| m >= self.stack.len()) {
            return Err(broken("takes a value across a mark"));
        }
        self.stack.pop().ok_or_else(|| broken("takes a value from an empty stack"))
    }

    fn top(&self) -> Result<&Value, ModelError> {
        self.stack.last().ok_or_else(|| broken("looks at an empty stack"))
    }

    /// Values since the last mark.
    fn since_mark(&mut self) -> Result<Vec<Value>, ModelError> {
        let mark = self.marks.pop().ok_or_else(|| broken("uses a mark that was never set"))?;
        if mark > self.stack.len() {
            return Err(broken("uses a mark above the stack"));
        }
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn object_mut(&mut self, value: &Value) -> Result<&mut Object, ModelError> {
        match value {
            Value::Ref(at) => self.objects.get_mut(*at).ok_or_else(|| broken("refers to nothing")),
            _ => Err(broken("expected a container")),
        }
    }

    fn append(&mut self, values: Vec<Value>) -> Result<(), ModelError> {
        let list = self.top()?.clone();
        match self.object_mut(&list)? {
            Object::List(items) => items.extend(values),
            _ => return Err(broken("appends to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, values: Vec<Value>) -> Result<(), ModelError> {
        let dict = self.top()?.clone();
        let Object::Dict(entries) = self.object_mut(&dict)? else {
            return Err(broken("sets an item of something that is no dict"));
        };
        entries.extend(pairs(values)?);
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<(), ModelError> {
        let value = self.top()?.clone();
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), ModelError> {
        let value = self
            .memo
            .get(&key)
            .cloned()
            .ok_or_else(|| broken(format!("recalls memo {key}, which was never stored")))?;
        self.stack.push(value);
        Ok(())
    }

    /// A whole number of any length that fits 64 bits.
    fn long(&mut self, length: usize) -> Result<Value, ModelError> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        for (i, &b) in bytes.iter().enumerate() {
            match wide.get_mut(i) {
                Some(slot) => *slot = b,
                None if b == if negative { 0xff } else { 0 } => {}
                None => return Err(broken("a whole number has more than 64 bits")),
            }
        }
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    fn run(&mut self) -> Result<Value, ModelError> {
        loop {
            if self.stack.len() > LARGEST_COUNT || self.marks.len() > LARGEST_COUNT {
                return Err(broken(format!("stacks more than {LARGEST_COUNT} values")));
            }
            let opcode = self.byte()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.byte()?;
                    if protocol > 5 {
                        return Err(broken(format!("protocol {protocol} is unknown")));
                    }
                }
                0x95 => drop(self.take(8)?), // FRAME
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.since_mark()?),
                b'2' => {
                    let value = self.top()?.clone();
                    self.stack.push(value);
                }
                b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'I' | b'L' | b'F' | b'G' => {
                    let value = self.scalar(opcode)?;
                    self.stack.push(value);
                }
                b'X' | 0x8c | 0x8d | b'V' | b'U' | b'T' | b'C' | b'B' | 0x8e => {
                    let value = self.string(opcode)?;
                    self.stack.push(value);
                }
                b')' => self.push_object(Object::Tuple(Vec::new()))?,
                b't' => {
                    let values = self.since_mark()?;
                    self.push_object(Object::Tuple(values))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                    values.reverse();
                    self.push_object(Object::Tuple(values))?;
                }
                b']' => self.push_object(Object::List(Vec::new()))?,
                b'l' => {
                    let values = self.since_mark()?;
                    self.push_object(Object::List(values))?;
                }
                b'}' => self.push_object(Object::Dict(Vec::new()))?,
                b'd' => {
                    let values = self.since_mark()?;
                    self.push_object(Object::Dict(pairs(values)?))?;
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(vec![value])?;
                }
                b'e' => {
                    let values = self.since_mark()?;
                    self.append(values)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let values = self.since_mark()?;
                    self.set_items(values)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Global(Global::find(module, name)?));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Str(module), Value::Str(name)) = (module, name) else {
                        return Err(broken("names a callable by something that is no text"));
                    };
                    self.stack.push(Value::Global(Global::find(&module, &name)?));
                }
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    self.call(callable, arguments)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let instance = self.top()?.clone();
                    self.build(&instance, state)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.persistent(id)?;
                }
                b'h' => {
                    let key = u32::from(self.byte()?);
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.u32()?;
                    self.recall(key)?;
                }
                b'q' => {
                    let key = u32::from(self.byte()?);
                    self.memoize(key)?;
                }
                b'r' => {
                    let key = self.u32()?;
                    self.memoize(key)?;
                }
                b'g' | b'p' => {
                    let key = self.line()?.parse().map_err(|_| broken("a memo key is no number"))?;
                    if opcode == b'g' {
                        self.recall(key)?;
                    } else {
                        self.memoize(key)?;
                    }
                }
                0x94 => self.memoize(u32::try_from(self.memo.len()).map_err(broken)?)?,
                other => return Err(broken(format!("opcode {other:#04x} is none that a model file needs"))),
            }
        }
    }

    fn scalar(&mut self, opcode: u8) -> Result<Value, ModelError> {
        Ok(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.number()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.number()?))),
            0x8a => {
                let length = usize::from(self.byte()?);
                self.long(length)?
            }
            0x8b => {
                let length = self.u32()? as usize;
                self.long(length)?
            }
            b'G' => Value::Float(f64::from_be_bytes(self.number()?)),
            b'F' => Value::Float(self.line()?.trim().parse().map_err(|_| broken("a number is none"))?),
            _ => match self.line()?.trim() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                text => Value::Int(text.trim_end_matches('L').parse().map_err(|_| broken("a number is none"))?),
            },
        })
    }

    fn string(&mut self, opcode: u8) -> Result<Value, ModelError> {
        let length = match opcode {
            b'V' => return Ok(Value::Str(self.line()?.into())),
            b'X' | b'T' | b'B' => self.u32()? as usize,
            0x8c | b'U' | b'C' => usize::from(self.byte()?),
            _ => self.length8()?,
        };
        Ok(match opcode {
            b'C' | b'B' | 0x8e => Value::Bytes(self.take(length)?.into()),
            _ => Value::Str(self.text(length)?),
        })
    }
}

fn pairs(values: Vec<Value>) -> Result<Vec<(Value, Value)>, ModelError> {
    if values.len() % 2 != 0 {
        return Err(broken("a dict has a key without a value"));
    }
    let mut pairs = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        pairs.push((key, value));
    }
    Ok(pairs)
}

//! A reader of the pickles that torch writes. It builds values and never runs anything: of all callables only a fixed list
//! (`calls.rs`) is known, and each of those is a plain rearrangement of data.
//!
//! Values live in an arena, so that shared and cyclic structures cost nothing and are dropped flat. Memory is bounded by the
//! length of the pickle: an opcode makes at most one value.

mod calls;
mod machine;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::error::ModelError;
use super::tree::{Dtype, Map, Node};

pub(crate) use machine::read;

/// Values a pickle may hold; a real checkpoint of 31 branches has some hundred thousand.
const LARGEST_COUNT: usize = 8_000_000;
/// Nesting followed when a pickle becomes a tree.
const LARGEST_DEPTH: usize = 64;

/// A small value, or the place of a larger one in the arena.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
    Global(calls::Global),
    Ref(usize),
}

/// The larger values.
#[derive(Debug)]
pub(crate) enum Object {
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(StorageRef),
    Tensor(TensorRef),
    /// A NumPy dtype by its code (`f8`).
    NumpyDtype(Rc<str>),
    /// An instance of a TorchScript class with its attributes.
    Instance {
        class: Rc<str>,
        state: Option<Value>,
    },
}

/// A storage of the archive.
#[derive(Clone, Debug)]
pub(crate) struct StorageRef {
    pub dtype: StorageType,
    pub key: Rc<str>,
    pub numel: usize,
}

/// Element types of torch storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorageType {
    Float,
    Double,
    Half,
    BFloat16,
    Long,
    Int,
    Short,
    Char,
    Byte,
    Bool,
}

impl StorageType {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::Double | Self::Long => 8,
            Self::Float | Self::Int => 4,
            Self::Half | Self::BFloat16 | Self::Short => 2,
            Self::Char | Self::Byte | Self::Bool => 1,
        }
    }

    /// The dtype of the tree.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::Double => Dtype::F64,
            Self::Float => Dtype::F32,
            Self::Half => Dtype::F16,
            Self::BFloat16 => Dtype::Bf16,
            _ => Dtype::Integer,
        }
    }
}

/// A tensor: a strided view of a storage, not yet read.
#[derive(Clone, Debug)]
pub(crate) struct TensorRef {
    pub storage: StorageRef,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A whole pickle: the arena and its root.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) objects: Vec<Object>,
    pub(crate) root: Value,
}

pub(crate) fn broken(problem: impl ToString) -> ModelError {
    ModelError::container("pickle", problem)
}

impl Pickle {
    pub fn object(&self, value: &Value) -> Option<&Object> {
        match value {
            Value::Ref(at) => self.objects.get(*at),
            _ => None,
        }
    }

    pub fn tensor(&self, value: &Value) -> Option<&TensorRef> {
        match self.object(value) {
            Some(Object::Tensor(t)) => Some(t),
            _ => None,
        }
    }

    /// Keys and values of a dict, or of an instance's attributes.
    pub fn entries(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(entries) => Some(entries),
            Object::Instance { state: Some(state), .. } => match self.object(state)? {
                Object::Dict(entries) => Some(entries),
                _ => None,
            },
            _ => None,
        }
    }

    /// The last value under a text key.
    pub fn get(&self, value: &Value, key: &str) -> Option<&Value> {
        let entries = self.entries(value)?;
        entries.iter().rev().find(|(k, _)| matches!(k, Value::Str(s) if &**s == key)).map(|(_, v)| v)
    }

    /// Turns plain data (no tensors) into a tree.
    pub fn node(&self, value: &Value) -> Result<Node, ModelError> {
        let mut budget = self.objects.len().saturating_mul(4).saturating_add(1024).min(LARGEST_COUNT);
        self.node_within(value, LARGEST_DEPTH, &mut budget)
    }

    fn node_within(&self, value: &Value, depth: usize, budget: &mut usize) -> Result<Node, ModelError> {
        if depth == 0 || *budget == 0 {
            return Err(broken("options are nested too deeply, or refer to each other too often"));
        }
        *budget -= 1;
        let mut list = |values: &[Value]| -> Result<Node, ModelError> {
            Ok(Node::List(values.iter().map(|v| self.node_within(v, depth - 1, budget)).collect::<Result<_, _>>()?))
        };
        Ok(match value {
            Value::None => Node::Null,
            Value::Bool(b) => Node::Bool(*b),
            Value::Int(i) => Node::Int(*i),
            Value::Float(f) => Node::Float(*f),
            Value::Str(s) => Node::Str(s.to_string()),
            Value::Bytes(_) | Value::Global(_) => {
                return Err(broken("expected plain options, found bytes or a callable"))
            }
            Value::Ref(_) => match self.object(value) {
                Some(Object::Tuple(values) | Object::List(values)) => list(values)?,
                Some(Object::Dict(entries)) => {
                    let mut map = BTreeMap::new();
                    let mut out = Map::new();
                    for (key, inner) in entries {
                        let key = match key {
                            Value::Str(s) => s.to_string(),
                            Value::Int(i) => i.to_string(),
                            _ => return Err(broken("expected text keys in options")),
                        };
                        let node = self.node_within(inner, depth - 1, budget)?;
                        match map.get(&key) {
                            Some(&at) => {
                                let slot: &mut (String, Node) = &mut out[at];
                                slot.1 = node;
                            }
                            None => {
                                map.insert(key.clone(), out.len());
                                out.push((key, node));
                            }
                        }
                    }
                    Node::Map(out)
                }
                _ => return Err(broken("expected plain options, found a tensor or an instance")),
            },
        })
    }
}

//! The backend-neutral tree of a serialized model: what `.dp`, `.yaml` and `.pt2` hold, and what the torch readers are brought to.

use super::error::ModelError;

/// The type in which an array was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE binary16
    F16,
    /// bfloat16
    Bf16,
    /// IEEE binary32
    F32,
    /// IEEE binary64
    F64,
    /// Any integer or boolean type.
    Integer,
}

/// An array; values are held in double precision, which is exact for every floating type.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// How it was stored.
    pub dtype: Dtype,
    /// Row-major values, as many as the product of `shape`.
    pub data: Vec<f64>,
}

/// Keys and values in file order.
pub type Map = Vec<(String, Node)>;

/// A value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A sequence.
    List(Vec<Node>),
    /// Ordered keys and values.
    Map(Map),
    /// An array of numbers.
    Array(Tensor),
}

impl Node {
    /// Value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(map) => map.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> String {
        match self {
            Node::Null => "null".into(),
            Node::Bool(b) => format!("{b}"),
            Node::Int(i) => format!("the number {i}"),
            Node::Float(f) => format!("the number {f}"),
            Node::Str(s) => format!("the text \"{}\"", shorten(s)),
            Node::List(l) => format!("a list of {}", l.len()),
            Node::Map(m) => format!("a map of {} keys", m.len()),
            Node::Array(t) => format!("an array of shape {:?}", t.shape),
        }
    }

    /// Brings parsed JSON into the tree. Arrays stay what they are in JSON.
    pub fn from_json(value: serde_json::Value) -> Node {
        use serde_json::Value;
        match value {
            Value::Null => Node::Null,
            Value::Bool(b) => Node::Bool(b),
            Value::Number(n) => match n.as_i64() {
                Some(i) => Node::Int(i),
                None => Node::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(s) => Node::Str(s),
            Value::Array(list) => Node::List(list.into_iter().map(Node::from_json).collect()),
            Value::Object(map) => Node::Map(map.into_iter().map(|(k, v)| (k, Node::from_json(v))).collect()),
        }
    }
}

/// The beginning of a text that may be long.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_string(),
    }
}

/// A node together with its path from the root, so that errors can name it.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub node: &'a Node,
    pub path: String,
}

impl<'a> At<'a> {
    pub fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    /// An error about this entry.
    pub fn error(&self, problem: impl Into<String>) -> ModelError {
        ModelError::entry(self.path.clone(), problem)
    }

    fn wrong(&self, expected: &str) -> ModelError {
        self.error(format!("expected {expected}, found {}", self.node.kind()))
    }

    /// The entry under a key; missing is an error, null is not.
    pub fn get(&self, key: &str) -> Result<At<'a>, ModelError> {
        match self.node {
            Node::Map(_) => match self.node.get(key) {
                Some(node) => Ok(At::new(node, format!("{}.{key}", self.path))),
                None => Err(ModelError::entry(format!("{}.{key}", self.path), "missing")),
            },
            _ => Err(self.wrong("a map")),
        }
    }

    /// The entry under a key, unless it is missing or null.
    pub fn opt(&self, key: &str) -> Option<At<'a>> {
        match self.node.get(key) {
            None | Some(Node::Null) => None,
            Some(node) => Some(At::new(node, format!("{}.{key}", self.path))),
        }
    }

    pub fn map(&self) -> Result<&'a Map, ModelError> {
        match self.node {
            Node::Map(map) => Ok(map),
            _ => Err(self.wrong("a map")),
        }
    }

    pub fn list(&self) -> Result<Vec<At<'a>>, ModelError> {
        match self.node {
            Node::List(list) => {
                Ok(list.iter().enumerate().map(|(i, n)| At::new(n, format!("{}[{i}]", self.path))).collect())
            }
            _ => Err(self.wrong("a list")),
        }
    }

    pub fn tensor(&self) -> Result<&'a Tensor, ModelError> {
        match self.node {
            Node::Array(t) => Ok(t),
            _ => Err(self.wrong("an array")),
        }
    }

    pub fn string(&self) -> Result<&'a str, ModelError> {
        match self.node {
            Node::Str(s) => Ok(s),
            _ => Err(self.wrong("text")),
        }
    }

    pub fn boolean(&self) -> Result<bool, ModelError> {
        match self.node {
            Node::Bool(b) => Ok(*b),
            Node::Int(0) => Ok(false),
            Node::Int(1) => Ok(true),
            _ => Err(self.wrong("true or false")),
        }
    }

    pub fn float(&self) -> Result<f64, ModelError> {
        match self.node {
            Node::Float(f) if f.is_finite() => Ok(*f),
            Node::Int(i) => Ok(*i as f64),
            _ => Err(self.wrong("a finite number")),
        }
    }

    /// A count or index.
    pub fn count(&self) -> Result<usize, ModelError> {
        match self.node {
            Node::Int(i) if (0..=u32::MAX as i64).contains(i) => Ok(*i as usize),
            Node::Float(f) if *f >= 0.0 && *f <= u32::MAX as f64 && f.fract() == 0.0 => Ok(*f as usize),
            _ => Err(self.wrong("a count")),
        }
    }

    /// A list of numbers, or an array flattened.
    pub fn floats(&self) -> Result<Vec<f64>, ModelError> {
        match self.node {
            Node::Array(t) => Ok(t.data.clone()),
            Node::List(_) => self.list()?.iter().map(At::float).collect(),
            Node::Int(_) | Node::Float(_) => Ok(vec![self.float()?]),
            _ => Err(self.wrong("a list of numbers")),
        }
    }
}

/// What a reader carries along: leniency, and what it passed over.
pub(crate) struct Reading {
    pub allow_unknown: bool,
    pub remarks: Vec<String>,
}

impl Reading {
    /// Demands that every key of a map is in one of the lists; others are errors unless unknown keys are allowed.
    pub fn known(&mut self, at: &At, lists: &[&[&str]]) -> Result<(), ModelError> {
        for (key, value) in at.map()? {
            if key.starts_with("_comment") || lists.iter().any(|list| list.contains(&key.as_str())) {
                continue;
            }
            if !self.allow_unknown {
                return Err(ModelError::UnknownKey { entry: at.path.clone(), key: key.clone(), value: value.kind() });
            }
            self.remarks.push(format!("{}: ignored unknown key \"{key}\" ({})", at.path, value.kind()));
        }
        Ok(())
    }

    /// Refuses something doubtful unless unknown things are allowed; then remembers it.
    pub fn doubt(&mut self, at: &At, problem: String) -> Result<(), ModelError> {
        if !self.allow_unknown {
            return Err(at.error(format!("{problem}; --allow-unknown reads the model all the same")));
        }
        self.remarks.push(format!("{}: {problem}", at.path));
        Ok(())
    }
}

//! Tensors of an archive by name, read when asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::archive::Archive;
use crate::model::error::ModelError;
use crate::model::pickle::{StorageType, TensorRef};
use crate::model::tree::{Node, Tensor};

/// Named tensors of one model.
pub(crate) struct Weights<'a> {
    tensors: BTreeMap<String, TensorRef>,
    archive: RefCell<Archive<'a>>,
    folder: String,
    storages: RefCell<HashMap<Rc<str>, Rc<Vec<u8>>>>,
    /// Elements that may still be produced: a tensor of stride zero must not outgrow its file.
    budget: RefCell<usize>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Weights<'a> {
    pub fn new(tensors: BTreeMap<String, TensorRef>, archive: Archive<'a>, folder: String, file_length: usize) -> Self {
        Self {
            tensors,
            archive: RefCell::new(archive),
            folder,
            storages: RefCell::default(),
            budget: RefCell::new(file_length),
            used: RefCell::default(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of a name as a node; null where there is none.
    pub fn opt(&self, name: &str) -> Result<Node, ModelError> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(Node::Null) };
        self.used.borrow_mut().insert(name.to_string());
        self.read(tensor).map(Node::Array).map_err(|problem| match problem {
            ReadError::Model(e) => e,
            ReadError::Text(text) => ModelError::entry(name, text),
        })
    }

    /// The tensor of a name, which must be there.
    pub fn get(&self, name: &str) -> Result<Node, ModelError> {
        match self.opt(name)? {
            Node::Null => Err(ModelError::entry(name, "missing: the options of this model need this tensor")),
            node => Ok(node),
        }
    }

    /// Names never asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.tensors.keys().filter(|k| !used.contains(*k)).cloned().collect()
    }

    fn storage(&self, key: &Rc<str>) -> Result<Rc<Vec<u8>>, ModelError> {
        if let Some(bytes) = self.storages.borrow().get(key) {
            return Ok(bytes.clone());
        }
        let bytes = Rc::new(self.archive.borrow_mut().read(&format!("{}data/{key}", self.folder))?);
        self.storages.borrow_mut().insert(key.clone(), bytes.clone());
        Ok(bytes)
    }

    fn read(&self, tensor: &TensorRef) -> Result<Tensor, ReadError> {
        let kind = tensor.storage.dtype;
        let shape = tensor.shape.clone();
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let count = count.filter(|&n| n <= *self.budget.borrow());
        let count =
            count.ok_or_else(|| ReadError::Text(format!("claims shape {shape:?}, more than the file can hold")))?;
        *self.budget.borrow_mut() -= count;
        let bytes = self.storage(&tensor.storage.key).map_err(ReadError::Model)?;
        let stored = bytes.len() / kind.size();
        if stored < tensor.storage.numel {
            return Err(ReadError::Text(format!(
                "expected {} numbers in data/{}, found {stored}",
                tensor.storage.numel, tensor.storage.key
            )));
        }
        if count == 0 {
            return Ok(Tensor { shape, dtype: kind.dtype(), data: Vec::new() });
        }
        let last = shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(tensor.offset, |at, (&n, &s)| at.checked_add(s.checked_mul(n - 1)?));
        if last.is_none_or(|l| l >= stored) {
            let what = format!(
                "shape {shape:?} with strides {:?} from {} does not fit the {stored} numbers of data/{}",
                tensor.strides, tensor.offset, tensor.storage.key
            );
            return Err(ReadError::Text(what));
        }
        let mut data = Vec::with_capacity(count);
        let mut index = vec![0; shape.len()];
        for _ in 0..count {
            let at = tensor.offset + index.iter().zip(&tensor.strides).map(|(i, s)| i * s).sum::<usize>();
            data.push(element(kind, &bytes[at * kind.size()..][..kind.size()]));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Tensor { shape, dtype: kind.dtype(), data })
    }
}

enum ReadError {
    Model(ModelError),
    Text(String),
}

fn element(kind: StorageType, bytes: &[u8]) -> f64 {
    fn exactly<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("an element's bytes")
    }
    match kind {
        StorageType::Double => f64::from_le_bytes(exactly(bytes)),
        StorageType::Float => f64::from(f32::from_le_bytes(exactly(bytes))),
        StorageType::BFloat16 => f64::from(f32::from_bits(u32::from(u16::from_le_bytes(exactly(bytes))) << 16)),
        StorageType::Half => half(u16::from_le_bytes(exactly(bytes))),
        StorageType::Long => i64::from_le_bytes(exactly(bytes)) as f64,
        StorageType::Int => f64::from(i32::from_le_bytes(exactly(bytes))),
        StorageType::Short => f64::from(i16::from_le_bytes(exactly(bytes))),
        StorageType::Char => f64::from(bytes[0] as i8),
        StorageType::Byte | StorageType::Bool => f64::from(bytes[0]),
    }
}

/// IEEE binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1024.0 + fraction) * 2f64.powi(e - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_decode() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960464477539063e-8), (0x3555, 0.333251953125)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }
}

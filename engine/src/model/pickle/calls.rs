//! The allow-list of callables, and what they do to data.

use std::rc::Rc;

use super::machine::Machine;
use super::{broken, Object, StorageRef, StorageType, TensorRef, Value};
use crate::model::error::ModelError;

/// A callable that a model file may name.
#[derive(Clone, Debug)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(StorageType),
    /// `torch.Size` and the list builders of TorchScript.
    Sequence,
    RestoreTypeTag,
    NumpyScalar,
    NumpyDtype,
    Encode,
    /// A TorchScript class; calling it makes an instance without behaviour.
    Class(Rc<str>),
}

impl Global {
    /// Looks a callable up.
    pub fn find(module: &str, name: &str) -> Result<Self, ModelError> {
        use StorageType::*;
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Sequence,
            ("torch", "FloatStorage") => Self::Storage(Float),
            ("torch", "DoubleStorage") => Self::Storage(Double),
            ("torch", "HalfStorage") => Self::Storage(Half),
            ("torch", "BFloat16Storage") => Self::Storage(BFloat16),
            ("torch", "LongStorage") => Self::Storage(Long),
            ("torch", "IntStorage") => Self::Storage(Int),
            ("torch", "ShortStorage") => Self::Storage(Short),
            ("torch", "CharStorage") => Self::Storage(Char),
            ("torch", "ByteStorage") => Self::Storage(Byte),
            ("torch", "BoolStorage") => Self::Storage(Bool),
            ("torch.jit._pickle", "restore_type_tag") => Self::RestoreTypeTag,
            ("torch.jit._pickle", "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist") => {
                Self::Sequence
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("_codecs", "encode") => Self::Encode,
            _ if module.starts_with("__torch__.") => Self::Class(format!("{module}.{name}").into()),
            _ => {
                return Err(ModelError::unsupported(
                    format!("its pickle names the callable {module}.{name}, which is none that a model needs"),
                    "this program runs nothing that stands in a file; save the model with DeePMD-kit's own commands",
                ))
            }
        })
    }
}

fn count(value: &Value) -> Result<usize, ModelError> {
    match value {
        Value::Int(i) => usize::try_from(*i).map_err(|_| broken(format!("expected a count, found {i}"))),
        _ => Err(broken("expected a count")),
    }
}

impl Machine<'_> {
    fn items(&self, value: &Value) -> Result<&[Value], ModelError> {
        match value {
            Value::Ref(at) => match self.objects.get(*at) {
                Some(Object::Tuple(values) | Object::List(values)) => Ok(values),
                _ => Err(broken("expected a tuple")),
            },
            _ => Err(broken("expected a tuple")),
        }
    }

    /// `REDUCE` and `NEWOBJ`.
    pub(super) fn call(&mut self, callable: Value, arguments: Value) -> Result<(), ModelError> {
        let Value::Global(global) = callable else {
            return Err(broken("calls something that is no callable"));
        };
        let arguments = self.items(&arguments)?.to_vec();
        let too_few = || broken(format!("calls {global:?} with {} arguments", arguments.len()));
        match (&global, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push_object(Object::Dict(Vec::new())),
            (Global::OrderedDict, [list, ..]) => {
                let mut entries = Vec::new();
                for pair in self.items(list)? {
                    match self.items(pair)? {
                        [key, value] => entries.push((key.clone(), value.clone())),
                        _ => return Err(too_few()),
                    }
                }
                self.push_object(Object::Dict(entries))
            }
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let tensor = self.tensor(storage, offset, shape, strides)?;
                self.push_object(Object::Tensor(tensor))
            }
            (Global::RebuildParameter, [tensor, ..]) => self.push_again(tensor),
            (Global::RestoreTypeTag, [inner, ..]) => self.push_again(inner),
            (Global::Sequence, [list]) => {
                let items = self.items(list)?.to_vec();
                self.push_object(Object::List(items))
            }
            (Global::NumpyDtype, [Value::Str(code), ..]) => self.push_object(Object::NumpyDtype(code.clone())),
            (Global::NumpyScalar, [dtype, Value::Bytes(bytes)]) => {
                let value = self.numpy_scalar(dtype, bytes)?;
                self.push_again(&value)
            }
            (Global::Encode, [Value::Str(text), ..]) => {
                let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                let latin = latin.ok_or_else(|| broken("bytes are not Latin-1 text"))?;
                self.push_again(&Value::Bytes(latin.into()))
            }
            (Global::Class(class), _) => self.push_object(Object::Instance { class: class.clone(), state: None }),
            _ => Err(too_few()),
        }
    }

    fn push_again(&mut self, value: &Value) -> Result<(), ModelError> {
        self.push(value.clone());
        Ok(())
    }

    fn tensor(&self, storage: &Value, offset: &Value, shape: &Value, strides: &Value) -> Result<TensorRef, ModelError> {
        let storage = match storage {
            Value::Ref(at) => match self.objects.get(*at) {
                Some(Object::Storage(s)) => s.clone(),
                _ => return Err(broken("a tensor has no storage")),
            },
            _ => return Err(broken("a tensor has no storage")),
        };
        let numbers = |v: &Value| self.items(v)?.iter().map(count).collect::<Result<Vec<_>, _>>();
        let (shape, strides) = (numbers(shape)?, numbers(strides)?);
        if shape.len() != strides.len() || shape.len() > 8 {
            return Err(broken(format!("a tensor has shape {shape:?} and strides {strides:?}")));
        }
        Ok(TensorRef { storage, offset: count(offset)?, shape, strides })
    }

    fn numpy_scalar(&self, dtype: &Value, bytes: &[u8]) -> Result<Value, ModelError> {
        let code = match dtype {
            Value::Ref(at) => match self.objects.get(*at) {
                Some(Object::NumpyDtype(code)) => code.clone(),
                _ => return Err(broken("a NumPy scalar has no dtype")),
            },
            _ => return Err(broken("a NumPy scalar has no dtype")),
        };
        Ok(match (&*code, bytes) {
            ("f8", &[a, b, c, d, e, f, g, h]) => Value::Float(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
            ("f4", &[a, b, c, d]) => Value::Float(f64::from(f32::from_le_bytes([a, b, c, d]))),
            ("i8", &[a, b, c, d, e, f, g, h]) => Value::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
            ("i4", &[a, b, c, d]) => Value::Int(i64::from(i32::from_le_bytes([a, b, c, d]))),
            ("b1", &[b]) => Value::Bool(b != 0),
            _ => return Err(broken(format!("a NumPy scalar of type {code} and {} bytes", bytes.len()))),
        })
    }

    /// `BUILD`: attributes of an instance; what it would do to other things (a state dict's metadata) does not matter.
    pub(super) fn build(&mut self, instance: &Value, attributes: Value) -> Result<(), ModelError> {
        match self.object_mut(instance)? {
            Object::Instance { state, .. } => *state = Some(attributes),
            Object::Dict(_) | Object::NumpyDtype(_) => {}
            _ => return Err(broken("sets attributes of something that has none")),
        }
        Ok(())
    }

    /// `BINPERSID`: a storage of the archive.
    pub(super) fn persistent(&mut self, id: Value) -> Result<(), ModelError> {
        let storage = match self.items(&id)? {
            [Value::Str(kind), Value::Global(Global::Storage(dtype)), Value::Str(key), _, numel, ..]
                if &**kind == "storage" =>
            {
                StorageRef { dtype: *dtype, key: key.clone(), numel: count(numel)? }
            }
            _ => return Err(broken("a persistent value is no storage")),
        };
        self.push_object(Object::Storage(storage))
    }
}

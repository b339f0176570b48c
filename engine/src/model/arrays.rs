//! Arrays that a tree of JSON or YAML refers to or spells out.
//!
//! References are strings below a key `@variables` (`.dp`, `.weir`). Spelled out they are maps with `@is_variable` (`.yaml`, JSON of
//! `.pt2` and `.pte`).

use super::error::ModelError;
use super::tree::{Dtype, Map, Node, Tensor};

/// Replaces every map with `@is_variable: true` by the array it spells.
pub(crate) fn collapse(node: Node, path: &str) -> Result<Node, ModelError> {
    Ok(match node {
        Node::Map(map) if map.iter().any(|(k, v)| k == "@is_variable" && *v == Node::Bool(true)) => {
            Node::Array(array(map, path.trim_start_matches('.'))?)
        }
        Node::Map(map) => {
            let mut out = Map::with_capacity(map.len());
            for (key, inner) in map {
                let inner = collapse(inner, &format!("{path}.{key}"))?;
                out.push((key, inner));
            }
            Node::Map(out)
        }
        Node::List(list) => {
            let items = list.into_iter().enumerate().map(|(i, n)| collapse(n, &format!("{path}[{i}]")));
            Node::List(items.collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

fn array(map: Map, path: &str) -> Result<Tensor, ModelError> {
    let mut dtype = Dtype::F64;
    let mut value = None;
    for (key, node) in map {
        match (key.as_str(), node) {
            ("dtype", Node::Str(name)) => {
                dtype = match name.as_str() {
                    "float64" => Dtype::F64,
                    "float32" => Dtype::F32,
                    "float16" => Dtype::F16,
                    "bfloat16" => Dtype::Bf16,
                    name if name.starts_with("int") || name.starts_with("uint") || name == "bool" => Dtype::Integer,
                    _ => return Err(ModelError::entry(path, format!("array of unknown dtype \"{name}\""))),
                }
            }
            ("value", node) => value = Some(node),
            _ => {}
        }
    }
    let value = value.ok_or_else(|| ModelError::entry(path, "an array without a value"))?;
    let mut shape = Vec::new();
    let mut inner = &value;
    while let Node::List(list) = inner {
        shape.push(list.len());
        match list.first() {
            Some(first) => inner = first,
            None => break,
        }
    }
    let mut data = Vec::new();
    flatten(&value, &shape, &mut data).map_err(|problem| ModelError::entry(path, problem))?;
    Ok(Tensor { shape, dtype, data })
}

/// Row-major numbers of nested lists that must be rectangular.
fn flatten(node: &Node, shape: &[usize], out: &mut Vec<f64>) -> Result<(), String> {
    match (node, shape.split_first()) {
        (Node::List(list), Some((&length, inner))) if list.len() == length => {
            list.iter().try_for_each(|item| flatten(item, inner, out))
        }
        (Node::Float(f), None) => {
            out.push(*f);
            Ok(())
        }
        (Node::Int(i), None) => {
            out.push(*i as f64);
            Ok(())
        }
        (Node::Bool(b), None) => {
            out.push(f64::from(u8::from(*b)));
            Ok(())
        }
        (other, _) => {
            Err(format!("expected numbers in a rectangular array of shape {shape:?}, found {}", other.kind()))
        }
    }
}

/// Reads the tensor of a name for the entry at a path.
type Lookup<'a> = dyn FnMut(&str, &str) -> Result<Tensor, ModelError> + 'a;

/// JSON to a tree, with every string below a key `@variables` replaced by the array it names.
pub(crate) fn resolve(json: serde_json::Value, lookup: &mut Lookup) -> Result<Node, ModelError> {
    resolve_below(json, false, "", lookup)
}

fn resolve_below(
    value: serde_json::Value,
    variable: bool,
    path: &str,
    lookup: &mut Lookup,
) -> Result<Node, ModelError> {
    use serde_json::Value;
    Ok(match value {
        Value::Object(map) => {
            let mut out = Map::with_capacity(map.len());
            for (key, inner) in map {
                let below = variable || key == "@variables";
                let node = resolve_below(inner, below, &format!("{path}.{key}"), lookup)?;
                out.push((key, node));
            }
            Node::Map(out)
        }
        Value::Array(list) => {
            let items = list.into_iter().enumerate();
            let items = items.map(|(i, v)| resolve_below(v, variable, &format!("{path}[{i}]"), lookup));
            Node::List(items.collect::<Result<_, _>>()?)
        }
        Value::String(name) if variable => Node::Array(lookup(&name, path.trim_start_matches('.'))?),
        other => Node::from_json(other),
    })
}

//! Serialized tree to [`Model`]: one builder for every file format.
//!
//! Keys are sorted into those that are read, those known to change nothing, and unknown ones (an error unless allowed).

mod dense;
mod descriptor;
mod fitting;

use super::error::ModelError;
use super::tree::{At, Node, Reading};
use super::{Model, Precision, Source};

const MODEL_KEYS: &[&str] = &[
    "@class",
    "@version",
    "type",
    "type_map",
    "atom_exclude_types",
    "pair_exclude_types",
    "@variables",
    "descriptor",
    "fitting",
];
/// Used in training only.
const MODEL_HARMLESS: &[&str] = &["rcond", "preset_out_bias", "data_stat_protect", "trainable"];

/// Builds the model of a whole serialized tree (`root` has the key `model`); everything but [`Model::validate`].
pub(crate) fn build(root: &Node, reading: &mut Reading) -> Result<Model, ModelError> {
    let at = At::new(root, "")
        .get("model")
        .map_err(|_| ModelError::entry("model", "missing: this is no serialized model"))?;
    let at = At::new(at.node, "model");
    refuse_other_models(&at)?;
    class(&at, "Model", 1..=2, reading)?;
    reading.known(&at, &[MODEL_KEYS, MODEL_HARMLESS])?;

    let type_map = names(&at.get("type_map")?)?;
    let types = type_map.len();
    let variables = at.get("@variables")?;
    let of_types = |key: &str| -> Result<Vec<f64>, ModelError> {
        let v = variables.get(key)?;
        let values = v.floats()?;
        if values.len() != types {
            return Err(v.error(format!("expected {types} values (one a type), found {}", values.len())));
        }
        Ok(values)
    };
    let out_bias = of_types("out_bias")?;
    // Never applied to energies, so it may be missing.
    let out_std = variables.opt("out_std").map_or(Ok(vec![1.0; types]), |_| of_types("out_std"))?;
    reading.known(&variables, &[&["out_bias", "out_std"]])?;

    let descriptor = descriptor::build(&at.get("descriptor")?, &type_map, reading)?;
    let mut fitting = fitting::build(&at.get("fitting")?, &type_map, reading)?;
    let atom_exclude_types = opt_types(&at, "atom_exclude_types")?;
    if fitting.exclude_types != atom_exclude_types {
        // DeePMD-kit sets the fitting net's list to the model's whenever it makes a model, whatever the options say.
        if !fitting.exclude_types.is_empty() {
            reading.remarks.push(format!(
                "exclude_types {:?} of the fitting net have no effect, as in DeePMD-kit: atom_exclude_types {atom_exclude_types:?} of the model replace them",
                fitting.exclude_types
            ));
        }
        fitting.exclude_types = atom_exclude_types.clone();
    }
    Ok(Model {
        descriptor,
        fitting,
        out_bias,
        out_std,
        atom_exclude_types,
        pair_exclude_types: opt_pairs(&at, "pair_exclude_types")?,
        type_map,
        source: Source::default(),
    })
}

fn refuse_other_models(at: &At) -> Result<(), ModelError> {
    let kind = match at.opt("type") {
        Some(t) => t.string()?.to_string(),
        None if at.opt("descriptor").is_some() && at.opt("fitting").is_some() => "standard".into(),
        None => "unnamed".into(),
    };
    if kind != "standard" {
        return Err(ModelError::unsupported(
            format!("this is a \"{kind}\" model (a combination, spin or other special model)"),
            "only plain DPA3 energy models (type \"standard\": one descriptor, one fitting net) are supported; keep DeePMD-kit for this one",
        ));
    }
    let descriptor = at.get("descriptor")?.get("type")?;
    let descriptor = descriptor.string()?;
    if !descriptor.eq_ignore_ascii_case("dpa3") {
        return Err(ModelError::unsupported(
            format!("its descriptor is \"{descriptor}\""),
            "only descriptor \"dpa3\" is supported; keep DeePMD-kit for this model",
        ));
    }
    let fitting = at.get("fitting")?;
    let kind = fitting.get("type")?.string()?.to_ascii_lowercase();
    let variable = fitting.opt("var_name").map(|v| v.string().map(str::to_string)).transpose()?;
    let energy = match kind.as_str() {
        "ener" => true,
        "invar" => variable.as_deref() == Some("energy"),
        _ => false,
    };
    if !energy {
        let name = variable.unwrap_or_else(|| kind.clone());
        return Err(ModelError::unsupported(
            format!("its fitting net \"{kind}\" predicts \"{name}\""),
            "only energy models (fitting type \"ener\") are supported; keep DeePMD-kit for this one",
        ));
    }
    Ok(())
}

/// Checks `@class` and `@version` of a node; a newer version is doubtful.
pub(super) fn class(
    at: &At,
    name: &str,
    versions: std::ops::RangeInclusive<usize>,
    reading: &mut Reading,
) -> Result<usize, ModelError> {
    if let Some(class) = at.opt("@class") {
        if class.string()? != name {
            return Err(class.error(format!("expected \"{name}\", found {}", class.node.kind())));
        }
    }
    let Some(version) = at.opt("@version") else { return Ok(*versions.end()) };
    let number = version.count()?;
    if !versions.contains(&number) {
        reading.doubt(&version, format!("version {number} of {name}; this program knows {versions:?}"))?;
    }
    Ok(number)
}

/// A list of texts.
pub(super) fn names(at: &At) -> Result<Vec<String>, ModelError> {
    at.list()?.iter().map(|n| Ok(n.string()?.to_string())).collect()
}

/// A type map that must repeat the model's.
pub(super) fn same_type_map(at: &At, type_map: &[String]) -> Result<(), ModelError> {
    if let Some(own) = at.opt("type_map") {
        if names(&own)? != type_map {
            return Err(own.error("differs from the model's type_map"));
        }
    }
    if let Some(ntypes) = at.opt("ntypes") {
        if ntypes.count()? != type_map.len() {
            return Err(ntypes.error(format!(
                "expected {} (the length of type_map), found {}",
                type_map.len(),
                ntypes.node.kind()
            )));
        }
    }
    Ok(())
}

/// A list of type indices.
pub(super) fn opt_types(at: &At, key: &str) -> Result<Vec<usize>, ModelError> {
    let Some(list) = at.opt(key) else { return Ok(Vec::new()) };
    list.list()?.iter().map(At::count).collect()
}

/// A list of pairs of type indices.
pub(super) fn opt_pairs(at: &At, key: &str) -> Result<Vec<(usize, usize)>, ModelError> {
    let Some(list) = at.opt(key) else { return Ok(Vec::new()) };
    let pair = |p: &At| match p.list()?.as_slice() {
        [a, b] => Ok((a.count()?, b.count()?)),
        other => Err(p.error(format!("expected a pair of type indices, found {} numbers", other.len()))),
    };
    list.list()?.iter().map(pair).collect()
}

/// A precision by DeePMD-kit's names.
pub(super) fn precision(at: &At, reading: &mut Reading) -> Result<Precision, ModelError> {
    let name = at.string()?.to_ascii_lowercase();
    match name.as_str() {
        "float32" | "single" => Ok(Precision::F32),
        "float64" | "double" | "default" => Ok(Precision::F64),
        "bfloat16" | "float16" | "half" => {
            reading.doubt(
                at,
                format!("precision {name} is not supported, computing in float32 gives other (more exact) numbers"),
            )?;
            Ok(Precision::F32)
        }
        _ => Err(at.error(format!("unknown precision \"{name}\" (float32, float64)"))),
    }
}

/// Rounds to the precision in which the model computes, as DeePMD-kit does on loading.
pub(super) fn round_to(mut values: Vec<f64>, precision: Precision) -> Vec<f64> {
    if precision == Precision::F32 {
        values.iter_mut().for_each(|v| *v = *v as f32 as f64);
    }
    values
}

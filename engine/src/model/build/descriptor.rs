//! The `descriptor` node.

use super::dense::{dense, linear};
use super::{class, opt_pairs, precision, round_to, same_type_map};
use crate::activation::Activation;
use crate::model::error::ModelError;
use crate::model::tree::{At, Reading};
use crate::model::{
    AngleCompression, AngleMaps, ChargeSpin, Dense, Descriptor, DescriptorOptions, Layer, Linear, Precision,
    Statistics, UpdateStyle,
};

const KEYS: &[&str] = &[
    "@class",
    "@version",
    "type",
    "ntypes",
    "repflow_args",
    "concat_output_tebd",
    "activation_function",
    "precision",
    "exclude_types",
    "env_protection",
    "use_econf_tebd",
    "use_tebd_bias",
    "use_loc_mapping",
    "add_chg_spin_ebd",
    "default_chg_spin",
    "type_map",
    "type_embedding",
    "chg_embedding",
    "spin_embedding",
    "mix_cs_mlp",
    "repflow_variable",
];
const HARMLESS: &[&str] = &["trainable", "seed"];
const ARGS: &[&str] = &[
    "n_dim",
    "e_dim",
    "a_dim",
    "nlayers",
    "e_rcut",
    "e_rcut_smth",
    "e_sel",
    "a_rcut",
    "a_rcut_smth",
    "a_sel",
    "a_compress_rate",
    "a_compress_e_rate",
    "a_compress_use_split",
    "n_multi_edge_message",
    "axis_neuron",
    "update_angle",
    "update_style",
    "smooth_edge_update",
    "edge_init_use_dist",
    "use_exp_switch",
    "use_dynamic_sel",
    "sel_reduce_factor",
    "sequential_update",
    "fix_stat_std",
];
/// Initial values of training, and the order of multiplications.
const ARGS_HARMLESS: &[&str] =
    &["update_residual", "update_residual_init", "optim_update", "skip_stat", "set_davg_zero"];
const VARIABLE: &[&str] = &["edge_embd", "angle_embd", "repflow_layers", "env_mat", "@variables"];
const MAPS: &[&str] = &[
    "@class",
    "@version",
    "node_self_mlp",
    "node_sym_linear",
    "node_edge_linear",
    "edge_self_linear",
    "edge_angle_linear1",
    "edge_angle_linear2",
    "angle_self_linear",
    "a_compress_n_linear",
    "a_compress_e_linear",
    "@variables",
    "n_residual",
    "e_residual",
    "a_residual",
];
/// Options that a layer repeats (`repflow_args` is authoritative).
const REPEATED: &[&str] = &["ntypes", "activation_function", "precision", "seed", "trainable"];

/// Builds the descriptor.
pub fn build(at: &At, type_map: &[String], reading: &mut Reading) -> Result<Descriptor, ModelError> {
    class(at, "Descriptor", 1..=2, reading)?;
    reading.known(at, &[KEYS, HARMLESS])?;
    same_type_map(at, type_map)?;
    let mut options = options(at, reading)?;
    let of = options.precision;
    let type_embedding = type_layer(&at.get("type_embedding")?, of, reading)?;
    let stated = at.opt("use_tebd_bias").map(|v| v.boolean()).transpose()?;
    options.use_tebd_bias = type_embedding.linear.bias.is_some();
    if stated.is_some_and(|s| s != options.use_tebd_bias) {
        return Err(at.get("use_tebd_bias")?.error("contradicts the stored type_embedding"));
    }
    let charge_spin = if options.add_chg_spin_ebd {
        Some(ChargeSpin {
            charge: type_layer(&at.get("chg_embedding")?, of, reading)?,
            spin: type_layer(&at.get("spin_embedding")?, of, reading)?,
            mix: linear(&at.get("mix_cs_mlp")?, of, reading)?,
        })
    } else {
        None
    };
    let stored = at.get("repflow_variable")?;
    reading.known(&stored, &[VARIABLE])?;
    let mut layers = Vec::new();
    for layer_at in stored.get("repflow_layers")?.list()? {
        layers.push(layer(&layer_at, &options, reading)?);
    }
    Ok(Descriptor {
        type_embedding,
        charge_spin,
        edge_embd: linear(&stored.get("edge_embd")?, of, reading)?,
        angle_embd: linear(&stored.get("angle_embd")?, of, reading)?,
        layers,
        statistics: statistics(&stored.get("@variables")?, type_map.len(), &options, reading)?,
        options,
    })
}

/// One value of a map, or the default of DeePMD-kit where the key is missing.
macro_rules! or_default {
    ($at:expr, $key:literal, $read:ident, $default:expr) => {
        match $at.opt($key) {
            Some(v) => v.$read()?,
            None => $default,
        }
    };
}

fn options(at: &At, reading: &mut Reading) -> Result<DescriptorOptions, ModelError> {
    let args = at.get("repflow_args")?;
    reading.known(&args, &[ARGS, ARGS_HARMLESS])?;
    let style = match args.opt("update_style") {
        None => UpdateStyle::Residual,
        Some(v) => match v.string()? {
            "res_residual" => UpdateStyle::Residual,
            "res_avg" => UpdateStyle::Average,
            "res_incr" => UpdateStyle::Increment,
            _ => return Err(v.error(format!("expected res_residual, res_avg or res_incr, found {}", v.node.kind()))),
        },
    };
    let activation = match at.opt("activation_function") {
        Some(a) => Activation::parse(a.string()?).map_err(|e| a.error(e.to_string()))?,
        None => Activation::Silu,
    };
    let default_chg_spin = match at.opt("default_chg_spin") {
        None => None,
        Some(v) => match v.floats()?[..] {
            [charge, spin] => Some([charge, spin]),
            _ => return Err(v.error(format!("expected two numbers (charge, spin), found {}", v.node.kind()))),
        },
    };
    Ok(DescriptorOptions {
        n_dim: or_default!(args, "n_dim", count, 128),
        e_dim: or_default!(args, "e_dim", count, 64),
        a_dim: or_default!(args, "a_dim", count, 64),
        nlayers: or_default!(args, "nlayers", count, 6),
        e_rcut: args.get("e_rcut")?.float()?,
        e_rcut_smth: args.get("e_rcut_smth")?.float()?,
        e_sel: selection(&args.get("e_sel")?)?,
        a_rcut: args.get("a_rcut")?.float()?,
        a_rcut_smth: args.get("a_rcut_smth")?.float()?,
        a_sel: selection(&args.get("a_sel")?)?,
        axis_neuron: or_default!(args, "axis_neuron", count, 4),
        a_compress_rate: or_default!(args, "a_compress_rate", count, 0),
        a_compress_e_rate: or_default!(args, "a_compress_e_rate", count, 1),
        a_compress_use_split: or_default!(args, "a_compress_use_split", boolean, false),
        n_multi_edge_message: or_default!(args, "n_multi_edge_message", count, 1),
        update_angle: or_default!(args, "update_angle", boolean, true),
        update_style: style,
        fix_stat_std: or_default!(args, "fix_stat_std", float, 0.3),
        smooth_edge_update: or_default!(args, "smooth_edge_update", boolean, false),
        edge_init_use_dist: or_default!(args, "edge_init_use_dist", boolean, false),
        use_exp_switch: or_default!(args, "use_exp_switch", boolean, false),
        use_dynamic_sel: or_default!(args, "use_dynamic_sel", boolean, false),
        sel_reduce_factor: or_default!(args, "sel_reduce_factor", float, 10.0),
        sequential_update: or_default!(args, "sequential_update", boolean, false),
        concat_output_tebd: or_default!(at, "concat_output_tebd", boolean, false),
        activation,
        precision: match at.opt("precision") {
            Some(p) => precision(&p, reading)?,
            None => Precision::F64,
        },
        exclude_types: opt_pairs(at, "exclude_types")?,
        env_protection: or_default!(at, "env_protection", float, 0.0),
        use_econf_tebd: or_default!(at, "use_econf_tebd", boolean, false),
        use_tebd_bias: false,
        use_loc_mapping: or_default!(at, "use_loc_mapping", boolean, true),
        add_chg_spin_ebd: or_default!(at, "add_chg_spin_ebd", boolean, false),
        default_chg_spin,
    })
}

/// A neighbour count: a number, or a list of one number.
fn selection(at: &At) -> Result<usize, ModelError> {
    match at.list() {
        Ok(list) if list.len() == 1 => list[0].count(),
        _ => at.count(),
    }
}

/// A `TypeEmbedNet`: exactly one layer.
fn type_layer(at: &At, of: Precision, reading: &mut Reading) -> Result<Dense, ModelError> {
    class(at, "TypeEmbedNet", 1..=2, reading)?;
    reading.known(
        at,
        &[&[
            "@class",
            "@version",
            "ntypes",
            "neuron",
            "resnet_dt",
            "precision",
            "activation_function",
            "trainable",
            "padding",
            "use_econf_tebd",
            "use_tebd_bias",
            "type_map",
            "seed",
            "embedding",
        ]],
    )?;
    let net = at.get("embedding")?;
    class(&net, "EmbeddingNetwork", 1..=2, reading)?;
    reading.known(
        &net,
        &[&[
            "@class",
            "@version",
            "in_dim",
            "neuron",
            "activation_function",
            "resnet_dt",
            "bias",
            "precision",
            "layers",
            "trainable",
        ]],
    )?;
    let layers = net.get("layers")?;
    match layers.list()?.as_slice() {
        [one] => dense(one, of, reading),
        other => Err(layers.error(format!("expected one layer, found {}", other.len()))),
    }
}

fn layer(at: &At, options: &DescriptorOptions, reading: &mut Reading) -> Result<Layer, ModelError> {
    class(at, "RepFlowLayer", 1..=2, reading)?;
    reading.known(at, &[MAPS, ARGS, ARGS_HARMLESS, REPEATED])?;
    let of = options.precision;
    let angle = if options.update_angle {
        let compressed = options.compression() == AngleCompression::Linear;
        let compress = |key: &str, reading: &mut Reading| -> Result<Option<Linear>, ModelError> {
            compressed.then(|| linear(&at.get(key)?, of, reading)).transpose()
        };
        Some(AngleMaps {
            edge_angle_linear1: linear(&at.get("edge_angle_linear1")?, of, reading)?,
            edge_angle_linear2: linear(&at.get("edge_angle_linear2")?, of, reading)?,
            angle_self_linear: linear(&at.get("angle_self_linear")?, of, reading)?,
            compress_node: compress("a_compress_n_linear", reading)?,
            compress_edge: compress("a_compress_e_linear", reading)?,
        })
    } else {
        None
    };
    Ok(Layer {
        node_self_mlp: linear(&at.get("node_self_mlp")?, of, reading)?,
        node_sym_linear: linear(&at.get("node_sym_linear")?, of, reading)?,
        node_edge_linear: linear(&at.get("node_edge_linear")?, of, reading)?,
        edge_self_linear: linear(&at.get("edge_self_linear")?, of, reading)?,
        angle,
        n_residual: residuals(at, "n_residual", options)?,
        e_residual: residuals(at, "e_residual", options)?,
        a_residual: residuals(at, "a_residual", options)?,
    })
}

/// The residual vectors: below `@variables`, or directly in the layer in files of version 1.
fn residuals(at: &At, key: &str, options: &DescriptorOptions) -> Result<Vec<Vec<f64>>, ModelError> {
    if options.update_style != UpdateStyle::Residual {
        return Ok(Vec::new());
    }
    let Some(list) = at.opt("@variables").and_then(|v| v.opt(key)).or_else(|| at.opt(key)) else {
        return Ok(Vec::new());
    };
    list.list()?.iter().map(|v| Ok(round_to(v.floats()?, options.precision))).collect()
}

/// `davg` and `dstd`, with the slot dimension dropped where all slots agree.
fn statistics(
    at: &At,
    types: usize,
    options: &DescriptorOptions,
    reading: &mut Reading,
) -> Result<Statistics, ModelError> {
    reading.known(at, &[&["davg", "dstd"]])?;
    let read = |key: &str| -> Result<(usize, Vec<f64>), ModelError> {
        let entry = at.get(key)?;
        let tensor = entry.tensor()?;
        match tensor.shape[..] {
            [t, slots, 4] if t == types && slots > 0 && (slots == options.e_sel || slots == 1) => {
                Ok((slots, round_to(tensor.data.clone(), options.precision)))
            }
            _ => {
                let expected = [types, options.e_sel, 4];
                Err(entry.error(format!("expected shape {expected:?} (types, e_sel, 4), found {:?}", tensor.shape)))
            }
        }
    };
    let ((slots, davg), (others, dstd)) = (read("davg")?, read("dstd")?);
    if slots != others {
        return Err(at.get("dstd")?.error(format!("expected {slots} neighbour slots as in davg, found {others}")));
    }
    // Slots are told apart by their bits, so that nothing is lost.
    let same = |values: &[f64]| {
        values.chunks_exact(slots * 4).all(|of_type| {
            of_type.chunks_exact(4).all(|slot| slot.iter().zip(of_type).all(|(a, b)| a.to_bits() == b.to_bits()))
        })
    };
    if !(same(&davg) && same(&dstd)) {
        return Ok(Statistics { slots, davg, dstd });
    }
    let first = |values: Vec<f64>| values.chunks_exact(slots * 4).flat_map(|of_type| of_type[..4].to_vec()).collect();
    Ok(Statistics { slots: 1, davg: first(davg), dstd: first(dstd) })
}

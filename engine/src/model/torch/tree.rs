//! Options of a training input and weights by module path, to the serialized tree.

use super::weights::Weights;
use crate::model::error::ModelError;
use crate::model::tree::{At, Map, Node, Reading};

/// Model options that matter here; the rest of a training input's model section is in the lists below.
const MODEL_READ: &[&str] =
    &["type_map", "descriptor", "fitting_net", "type", "pair_exclude_types", "atom_exclude_types"];
/// Used in training only, or informational.
const MODEL_HARMLESS: &[&str] = &[
    "data_stat_nbatch",
    "data_stat_protect",
    "data_bias_nsample",
    "preset_out_bias",
    "srtab_add_bias",
    "model_branch_alias",
    "info",
    "finetune_head",
    "hessian_mode",
    "shared_dict",
    "min_nbor_dist",
    "resuming",
    "seed",
    "smin_alpha",
    "sw_rmin",
    "sw_rmax",
    "bridging_r_inner",
    "bridging_r_outer",
    "compress",
    "out_stat",
];

/// Options that make another model of it when set.
const MODEL_SPECIAL: &[(&str, &str)] = &[
    ("spin", "a spin model"),
    ("use_srtab", "a model interpolated with a pair table (ZBL)"),
    ("bridging_method", "a model bridged to a short-range potential (ZBL)"),
    ("modifier", "a model with a data modifier"),
    ("type_embedding", "a model with a type embedding of its own (TensorFlow)"),
];

fn text(s: &str) -> Node {
    Node::Str(s.to_string())
}

fn set(map: &mut Map, key: &str, node: Node) {
    match map.iter_mut().find(|(k, _)| k == key) {
        Some(slot) => slot.1 = node,
        None => map.push((key.to_string(), node)),
    }
}

/// Moves a value from an old name to the present one.
fn rename(map: &mut Map, old: &str, new: &str) {
    if let Some(at) = map.iter().position(|(k, _)| k == old) {
        let (_, node) = map.remove(at);
        if !map.iter().any(|(k, _)| k == new) {
            map.push((new.to_string(), node));
        }
    }
}

/// Refuses model sections that are no plain energy model.
fn refuse_special(params: &At) -> Result<(), ModelError> {
    let only = "only plain DPA3 energy models are supported; keep DeePMD-kit for this one";
    if let Some(kind) = params.opt("type") {
        if kind.string()? != "standard" {
            return Err(ModelError::unsupported(format!("this is a \"{}\" model", kind.string()?), only));
        }
    }
    for (key, what) in MODEL_SPECIAL {
        if let Some(value) = params.opt(key) {
            let off = match value.node {
                Node::Str(s) => s.is_empty() || s.eq_ignore_ascii_case("none"),
                Node::Map(map) => map.is_empty(),
                _ => false,
            };
            if !off {
                return Err(ModelError::unsupported(format!("this is {what} (option {})", value.path), only));
            }
        }
    }
    let descriptor = params.get("descriptor")?.get("type")?;
    if !descriptor.string()?.eq_ignore_ascii_case("dpa3") {
        return Err(ModelError::unsupported(
            format!("its descriptor is \"{}\"", descriptor.string()?),
            "only descriptor \"dpa3\" is supported; keep DeePMD-kit for this model",
        ));
    }
    Ok(())
}

/// Builds the serialized tree of one branch. Names of weights start below the branch (`atomic_model.`).
pub(super) fn serialize(params: &At, weights: &Weights, reading: &mut Reading) -> Result<Node, ModelError> {
    refuse_special(params)?;
    let special: Vec<&str> = MODEL_SPECIAL.iter().map(|(key, _)| *key).collect();
    reading.known(params, &[MODEL_READ, MODEL_HARMLESS, &special])?;
    let copy = |key: &str| params.opt(key).map_or(Node::Null, |v| v.node.clone());
    let model = Node::Map(vec![
        ("type".into(), text("standard")),
        ("type_map".into(), params.get("type_map")?.node.clone()),
        ("atom_exclude_types".into(), copy("atom_exclude_types")),
        ("pair_exclude_types".into(), copy("pair_exclude_types")),
        (
            "@variables".into(),
            Node::Map(vec![
                ("out_bias".into(), weights.get("atomic_model.out_bias")?),
                ("out_std".into(), weights.opt("atomic_model.out_std")?),
            ]),
        ),
        ("descriptor".into(), descriptor(&params.get("descriptor")?, weights)?),
        ("fitting".into(), fitting(params, weights)?),
    ]);
    Ok(Node::Map(vec![("model".into(), model)]))
}

/// A layer node from `<path>.matrix`, `.bias`, `.idt`.
fn layer(path: &str, activation: &str, resnet: bool, weights: &Weights) -> Result<Node, ModelError> {
    let matrix = weights.get(&format!("{path}.matrix"))?;
    let (bias, idt) = (weights.opt(&format!("{path}.bias"))?, weights.opt(&format!("{path}.idt"))?);
    Ok(Node::Map(vec![
        ("activation_function".into(), text(activation)),
        ("resnet".into(), Node::Bool(resnet)),
        ("bias".into(), Node::Bool(bias != Node::Null)),
        ("@variables".into(), Node::Map(vec![("w".into(), matrix), ("b".into(), bias), ("idt".into(), idt)])),
    ]))
}

fn type_layer(path: &str, weights: &Weights) -> Result<Node, ModelError> {
    let one = layer(&format!("{path}.embedding.embedding_net.layers.0"), "linear", true, weights)?;
    if weights.has(&format!("{path}.embedding.embedding_net.layers.1.matrix")) {
        return Err(ModelError::entry(path, "expected one layer, found more"));
    }
    Ok(Node::Map(vec![("embedding".into(), Node::Map(vec![("layers".into(), Node::List(vec![one]))]))]))
}

fn descriptor(params: &At, weights: &Weights) -> Result<Node, ModelError> {
    let base = "atomic_model.descriptor";
    let mut map = params.map()?.clone();
    let repflow_at = params.get("repflow")?;
    let mut args = repflow_at.map()?.clone();
    rename(&mut args, "edge_use_dist", "edge_init_use_dist");
    rename(&mut args, "use_env_envelope", "use_exp_switch");
    if repflow_at.opt("skip_stat").is_some_and(|v| *v.node == Node::Bool(true)) {
        set(&mut args, "fix_stat_std", Node::Float(0.3));
    }
    let layers = match repflow_at.opt("nlayers") {
        Some(n) => n.count()?,
        None => 6,
    };
    map.retain(|(key, _)| key != "repflow");
    set(&mut map, "type_embedding", type_layer(&format!("{base}.type_embedding"), weights)?);
    if params.opt("add_chg_spin_ebd").map_or(Ok(false), |v| v.boolean())? {
        for key in ["chg_embedding", "spin_embedding"] {
            set(&mut map, key, type_layer(&format!("{base}.{key}"), weights)?);
        }
        set(&mut map, "mix_cs_mlp", layer(&format!("{base}.mix_cs_mlp"), "none", false, weights)?);
    }
    let mut list = Vec::new();
    for l in 0..layers {
        // A lying number of layers ends at the first one that is not stored.
        list.push(repflow_layer(&format!("{base}.repflows.layers.{l}"), weights)?);
    }
    let repflows = format!("{base}.repflows");
    set(&mut map, "repflow_args", Node::Map(args));
    let statistics = Node::Map(vec![
        ("davg".into(), weights.get(&format!("{repflows}.mean"))?),
        ("dstd".into(), weights.get(&format!("{repflows}.stddev"))?),
    ]);
    let variable = Node::Map(vec![
        ("edge_embd".into(), layer(&format!("{repflows}.edge_embd"), "none", false, weights)?),
        ("angle_embd".into(), layer(&format!("{repflows}.angle_embd"), "none", false, weights)?),
        ("repflow_layers".into(), Node::List(list)),
        ("@variables".into(), statistics),
    ]);
    set(&mut map, "repflow_variable", variable);
    Ok(Node::Map(map))
}

fn repflow_layer(path: &str, weights: &Weights) -> Result<Node, ModelError> {
    let mut map = Map::new();
    for name in ["node_self_mlp", "node_sym_linear", "node_edge_linear", "edge_self_linear"] {
        map.push((name.into(), layer(&format!("{path}.{name}"), "none", false, weights)?));
    }
    let angle =
        ["edge_angle_linear1", "edge_angle_linear2", "angle_self_linear", "a_compress_n_linear", "a_compress_e_linear"];
    for name in angle {
        if weights.has(&format!("{path}.{name}.matrix")) {
            map.push((name.into(), layer(&format!("{path}.{name}"), "none", false, weights)?));
        }
    }
    let mut residuals = Map::new();
    for name in ["n_residual", "e_residual", "a_residual"] {
        let mut vectors = Vec::new();
        while weights.has(&format!("{path}.{name}.{}", vectors.len())) {
            vectors.push(weights.get(&format!("{path}.{name}.{}", vectors.len()))?);
        }
        residuals.push((name.into(), Node::List(vectors)));
    }
    map.push(("@variables".into(), Node::Map(residuals)));
    Ok(Node::Map(map))
}

fn fitting(params: &At, weights: &Weights) -> Result<Node, ModelError> {
    let base = "atomic_model.fitting_net";
    let mut map = match params.opt("fitting_net") {
        Some(f) => f.map()?.clone(),
        None => Map::new(),
    };
    rename(&mut map, "n_neuron", "neuron");
    if !map.iter().any(|(k, _)| k == "type") {
        set(&mut map, "type", text("ener"));
    }
    let node = Node::Map(map.clone());
    let at = At::new(&node, "fitting_net");
    let activation = match at.opt("activation_function") {
        Some(a) => a.string()?.to_string(),
        None => "tanh".into(),
    };
    // The hidden widths are those stored; a training input may leave them out.
    let nets = ["networks", "_networks"].map(|n| format!("{base}.filter_layers.{n}.0.layers"));
    let Some(net) = nets.iter().find(|n| weights.has(&format!("{n}.0.matrix"))) else {
        return Err(ModelError::entry(format!("{}.0.matrix", nets[0]), "missing: a fitting net is needed"));
    };
    let mut count = 0;
    while weights.has(&format!("{net}.{count}.matrix")) {
        count += 1;
    }
    let mut layers = Vec::new();
    for k in 0..count {
        let last = k + 1 == count;
        let activation = if last { "none" } else { &activation };
        layers.push(layer(&format!("{net}.{k}"), activation, !last, weights)?);
    }
    let network = Node::Map(vec![("layers".into(), Node::List(layers))]);
    set(&mut map, "nets", Node::Map(vec![("networks".into(), Node::List(vec![network]))]));
    let mut variables = Map::new();
    for key in ["bias_atom_e", "case_embd", "fparam_avg", "fparam_inv_std", "aparam_avg", "aparam_inv_std"] {
        variables.push((key.into(), weights.opt(&format!("{base}.{key}"))?));
    }
    set(&mut map, "@variables", Node::Map(variables));
    Ok(Node::Map(map))
}

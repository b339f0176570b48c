//! [`Model`] to the serialized tree, with the keys that DeePMD-kit 3.2 writes and its loaders demand.

use super::tree::{Dtype, Map, Node, Tensor};
use super::{Dense, Descriptor, DescriptorOptions, Fitting, Layer, Linear, Model, Precision, UpdateStyle};
use crate::activation::Activation;

/// How the statistics `davg` and `dstd` are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    /// (types, e_sel, 4), as DeePMD-kit demands.
    Expanded,
    /// (types, slots, 4), as held in memory.
    Compact,
}

/// Keys and values in order.
macro_rules! entries {
    ($($key:literal: $value:expr),* $(,)?) => {
        vec![$(($key.to_string(), $value)),*]
    };
}

/// [`entries`] as a node.
macro_rules! map {
    ($($body:tt)*) => {
        Node::Map(entries! { $($body)* })
    };
}

fn int(value: usize) -> Node {
    Node::Int(value as i64)
}

fn text(value: &str) -> Node {
    Node::Str(value.to_string())
}

fn ints(values: impl IntoIterator<Item = usize>) -> Node {
    Node::List(values.into_iter().map(int).collect())
}

fn pairs(values: &[(usize, usize)]) -> Node {
    Node::List(values.iter().map(|&(a, b)| ints([a, b])).collect())
}

fn names(values: &[String]) -> Node {
    Node::List(values.iter().map(|v| text(v)).collect())
}

fn precision(of: Precision) -> Node {
    text(match of {
        Precision::F32 => "float32",
        Precision::F64 => "float64",
    })
}

fn array(values: &[f64], shape: Vec<usize>, of: Precision) -> Node {
    let dtype = match of {
        Precision::F32 => Dtype::F32,
        Precision::F64 => Dtype::F64,
    };
    Node::Array(Tensor { shape, dtype, data: values.to_vec() })
}

fn vector(values: &[f64], of: Precision) -> Node {
    array(values, vec![values.len()], of)
}

fn opt_vector(values: &[f64], of: Precision) -> Node {
    if values.is_empty() {
        Node::Null
    } else {
        vector(values, of)
    }
}

/// The keys below `model` and a model section of a training input that says the same (`model_def_script`).
pub(crate) fn serialize(model: &Model, slots: Slots) -> (Node, Node) {
    let types = model.types();
    let variables = map! {
        "out_bias": array(&model.out_bias, vec![1, types, 1], Precision::F64),
        "out_std": array(&model.out_std, vec![1, types, 1], Precision::F64),
    };
    let tree = map! {
        "type_map": names(&model.type_map),
        "atom_exclude_types": ints(model.atom_exclude_types.iter().copied()),
        "pair_exclude_types": pairs(&model.pair_exclude_types),
        "rcond": Node::Null,
        "preset_out_bias": Node::Null,
        "@variables": variables,
        "@class": text("Model"),
        "@version": int(2),
        "type": text("standard"),
        "descriptor": descriptor(model, slots),
        "fitting": fitting(model),
    };
    (tree, script(model))
}

fn layer_node(map: &Linear, activation: &str, timestep: Option<&[f64]>, resnet: bool, of: Precision) -> Node {
    let variables = map! {
        "w": array(&map.weight, vec![map.inputs, map.outputs], of),
        "b": map.bias.as_deref().map_or(Node::Null, |b| vector(b, of)),
        "idt": timestep.map_or(Node::Null, |t| vector(t, of)),
    };
    map! {
        "@class": text("Layer"),
        "@version": int(2),
        "bias": Node::Bool(map.bias.is_some()),
        "use_timestep": Node::Bool(timestep.is_some()),
        "activation_function": text(activation),
        "resnet": Node::Bool(resnet),
        "precision": precision(of),
        "trainable": Node::Bool(true),
        "@variables": variables,
    }
}

fn affine(map: &Linear, of: Precision) -> Node {
    layer_node(map, "none", None, false, of)
}

fn dense(layer: &Dense, of: Precision) -> Node {
    layer_node(&layer.linear, &layer.activation.name(), layer.timestep.as_deref(), layer.resnet, of)
}

fn type_layer(layer: &Dense, types: usize, type_map: Node, econf: bool, of: Precision) -> Node {
    let neuron = ints([layer.linear.outputs]);
    let bias = Node::Bool(layer.linear.bias.is_some());
    let activation = text(&layer.activation.name());
    let embedding = map! {
        "@class": text("EmbeddingNetwork"),
        "@version": int(2),
        "in_dim": int(layer.linear.inputs),
        "neuron": neuron.clone(),
        "activation_function": activation.clone(),
        "resnet_dt": Node::Bool(layer.timestep.is_some()),
        "bias": bias.clone(),
        "precision": precision(of),
        "layers": Node::List(vec![dense(layer, of)]),
    };
    map! {
        "@class": text("TypeEmbedNet"),
        "@version": int(2),
        "ntypes": int(types),
        "neuron": neuron,
        "resnet_dt": Node::Bool(layer.timestep.is_some()),
        "precision": precision(of),
        "activation_function": activation,
        "trainable": Node::Bool(true),
        "padding": Node::Bool(true),
        "use_econf_tebd": Node::Bool(econf),
        "use_tebd_bias": bias,
        "type_map": type_map,
        "embedding": embedding,
    }
}

fn style(o: &DescriptorOptions) -> Node {
    text(match o.update_style {
        UpdateStyle::Residual => "res_residual",
        UpdateStyle::Average => "res_avg",
        UpdateStyle::Increment => "res_incr",
    })
}

/// `repflow_args`, which is also the `repflow` section of an input.
fn repflow_args(o: &DescriptorOptions) -> Map {
    entries! {
        "n_dim": int(o.n_dim),
        "e_dim": int(o.e_dim),
        "a_dim": int(o.a_dim),
        "nlayers": int(o.nlayers),
        "e_rcut": Node::Float(o.e_rcut),
        "e_rcut_smth": Node::Float(o.e_rcut_smth),
        "e_sel": int(o.e_sel),
        "a_rcut": Node::Float(o.a_rcut),
        "a_rcut_smth": Node::Float(o.a_rcut_smth),
        "a_sel": int(o.a_sel),
        "a_compress_rate": int(o.a_compress_rate),
        "a_compress_e_rate": int(o.a_compress_e_rate),
        "a_compress_use_split": Node::Bool(o.a_compress_use_split),
        "n_multi_edge_message": int(o.n_multi_edge_message),
        "axis_neuron": int(o.axis_neuron),
        "update_angle": Node::Bool(o.update_angle),
        "update_style": style(o),
        "update_residual": Node::Float(0.1),
        "update_residual_init": text("const"),
        "fix_stat_std": Node::Float(o.fix_stat_std),
        "optim_update": Node::Bool(true),
        "smooth_edge_update": Node::Bool(o.smooth_edge_update),
        "edge_init_use_dist": Node::Bool(o.edge_init_use_dist),
        "use_exp_switch": Node::Bool(o.use_exp_switch),
        "use_dynamic_sel": Node::Bool(o.use_dynamic_sel),
        "sel_reduce_factor": Node::Float(o.sel_reduce_factor),
        "sequential_update": Node::Bool(o.sequential_update),
    }
}

/// Descriptor options that tree and input share.
fn descriptor_options(o: &DescriptorOptions) -> Map {
    let chg_spin = o.default_chg_spin.map_or(Node::Null, |v| Node::List(v.iter().map(|&x| Node::Float(x)).collect()));
    entries! {
        "concat_output_tebd": Node::Bool(o.concat_output_tebd),
        "activation_function": text(&o.activation.name()),
        "precision": precision(o.precision),
        "exclude_types": pairs(&o.exclude_types),
        "env_protection": Node::Float(o.env_protection),
        "trainable": Node::Bool(true),
        "use_econf_tebd": Node::Bool(o.use_econf_tebd),
        "use_tebd_bias": Node::Bool(o.use_tebd_bias),
        "use_loc_mapping": Node::Bool(o.use_loc_mapping),
        "add_chg_spin_ebd": Node::Bool(o.add_chg_spin_ebd),
        "default_chg_spin": chg_spin,
    }
}

fn descriptor(model: &Model, slots: Slots) -> Node {
    let d = &model.descriptor;
    let (o, of) = (&d.options, d.options.precision);
    let types = model.types();
    let mut map: Map = entries! {
        "@class": text("Descriptor"),
        "type": text("dpa3"),
        "@version": int(2),
        "ntypes": int(types),
        "repflow_args": Node::Map(repflow_args(o)),
    };
    map.extend(descriptor_options(o));
    map.push(("type_map".into(), names(&model.type_map)));
    let type_embedding = type_layer(&d.type_embedding, types, names(&model.type_map), o.use_econf_tebd, of);
    map.push(("type_embedding".into(), type_embedding));
    if let Some(cs) = &d.charge_spin {
        map.push(("chg_embedding".into(), type_layer(&cs.charge, 200, Node::Null, false, of)));
        map.push(("spin_embedding".into(), type_layer(&cs.spin, 100, Node::Null, false, of)));
        map.push(("mix_cs_mlp".into(), affine(&cs.mix, of)));
    }
    let env_mat = map! {
        "rcut": Node::Float(o.e_rcut),
        "rcut_smth": Node::Float(o.e_rcut_smth),
        "protection": Node::Float(o.env_protection),
        "use_exp_switch": Node::Bool(o.use_exp_switch),
    };
    let variable = map! {
        "edge_embd": affine(&d.edge_embd, of),
        "angle_embd": affine(&d.angle_embd, of),
        "repflow_layers": Node::List(d.layers.iter().map(|l| repflow_layer(l, model)).collect()),
        "env_mat": env_mat,
        "@variables": map! {
            "davg": statistic(d, &d.statistics.davg, types, slots),
            "dstd": statistic(d, &d.statistics.dstd, types, slots),
        },
    };
    map.push(("repflow_variable".into(), variable));
    Node::Map(map)
}

fn statistic(d: &Descriptor, values: &[f64], types: usize, slots: Slots) -> Node {
    let of = d.options.precision;
    if slots == Slots::Compact || d.statistics.slots > 1 {
        return array(values, vec![types, d.statistics.slots, 4], of);
    }
    let e_sel = d.options.e_sel;
    let expanded: Vec<f64> = values.chunks_exact(4).flat_map(|of_type| of_type.repeat(e_sel)).collect();
    array(&expanded, vec![types, e_sel, 4], of)
}

fn repflow_layer(layer: &Layer, model: &Model) -> Node {
    let o = &model.descriptor.options;
    let of = o.precision;
    let mut map: Map = vec![("@class".into(), text("RepFlowLayer")), ("@version".into(), int(2))];
    // A layer repeats the options, with e_sel as a list and without what only the block uses.
    let of_block = ["nlayers", "fix_stat_std", "edge_init_use_dist", "use_exp_switch"];
    map.extend(repflow_args(o).into_iter().filter(|(key, _)| !of_block.contains(&key.as_str())).map(|(key, node)| {
        let node = if key == "e_sel" { Node::List(vec![node]) } else { node };
        (key, node)
    }));
    map.push(("ntypes".into(), int(model.types())));
    map.push(("activation_function".into(), text(&o.activation.name())));
    map.push(("precision".into(), precision(of)));
    map.push(("node_self_mlp".into(), affine(&layer.node_self_mlp, of)));
    map.push(("node_sym_linear".into(), affine(&layer.node_sym_linear, of)));
    map.push(("node_edge_linear".into(), affine(&layer.node_edge_linear, of)));
    map.push(("edge_self_linear".into(), affine(&layer.edge_self_linear, of)));
    if let Some(angle) = &layer.angle {
        map.push(("edge_angle_linear1".into(), affine(&angle.edge_angle_linear1, of)));
        map.push(("edge_angle_linear2".into(), affine(&angle.edge_angle_linear2, of)));
        map.push(("angle_self_linear".into(), affine(&angle.angle_self_linear, of)));
        if let (Some(node), Some(edge)) = (&angle.compress_node, &angle.compress_edge) {
            map.push(("a_compress_n_linear".into(), affine(node, of)));
            map.push(("a_compress_e_linear".into(), affine(edge, of)));
        }
    }
    if o.update_style == UpdateStyle::Residual {
        let list = |vectors: &[Vec<f64>]| Node::List(vectors.iter().map(|v| vector(v, of)).collect());
        let residuals = map! {
            "n_residual": list(&layer.n_residual),
            "e_residual": list(&layer.e_residual),
            "a_residual": list(&layer.a_residual),
        };
        map.push(("@variables".into(), residuals));
    }
    Node::Map(map)
}

fn hidden(f: &Fitting) -> Node {
    ints(f.layers.iter().take(f.layers.len().saturating_sub(1)).map(|l| l.linear.outputs))
}

/// Of `atom_ener` only its presence is known; zeros keep that.
fn atom_ener(model: &Model) -> Node {
    if model.fitting.subtract_vacuum {
        Node::List(vec![Node::Float(0.0); model.types()])
    } else {
        Node::Null
    }
}

fn default_fparam(f: &Fitting) -> Node {
    f.default_fparam.as_ref().map_or(Node::Null, |v| Node::List(v.iter().map(|&x| Node::Float(x)).collect()))
}

fn fitting(model: &Model) -> Node {
    let f = &model.fitting;
    let of = f.precision;
    let types = model.types();
    let width = f.layers.first().map_or(0, |l| l.linear.inputs);
    let o = &model.descriptor.options;
    let network = map! {
        "@class": text("FittingNetwork"),
        "@version": int(1),
        "in_dim": int(width),
        "out_dim": int(1),
        "neuron": hidden(f),
        "activation_function": text(&f.activation.name()),
        "resnet_dt": Node::Bool(f.resnet_dt),
        "precision": precision(of),
        "bias_out": Node::Bool(true),
        "layers": Node::List(f.layers.iter().map(|l| dense_of_fitting(l, of)).collect()),
    };
    let nets = map! {
        "@class": text("NetworkCollection"),
        "@version": int(1),
        "ndim": int(0),
        "ntypes": int(types),
        "network_type": text("fitting_network"),
        "networks": Node::List(vec![network]),
    };
    let variables = map! {
        "bias_atom_e": array(&f.bias_atom_e, vec![types, 1], Precision::F64),
        "case_embd": opt_vector(&f.case_embd, of),
        "fparam_avg": opt_vector(&f.fparam_avg, of),
        "fparam_inv_std": opt_vector(&f.fparam_inv_std, of),
        "aparam_avg": opt_vector(&f.aparam_avg, of),
        "aparam_inv_std": opt_vector(&f.aparam_inv_std, of),
    };
    map! {
        "@class": text("Fitting"),
        "@version": int(4),
        "var_name": text("energy"),
        "ntypes": int(types),
        "dim_descrpt": int(o.n_dim * if o.concat_output_tebd { 2 } else { 1 }),
        "neuron": hidden(f),
        "resnet_dt": Node::Bool(f.resnet_dt),
        "numb_fparam": int(f.numb_fparam),
        "numb_aparam": int(f.numb_aparam),
        "dim_case_embd": int(f.case_embd.len()),
        "default_fparam": default_fparam(f),
        "activation_function": text(&f.activation.name()),
        "precision": precision(of),
        "mixed_types": Node::Bool(true),
        "nets": nets,
        "rcond": Node::Null,
        "exclude_types": ints(f.exclude_types.iter().copied()),
        "@variables": variables,
        "type_map": names(&model.type_map),
        "tot_ener_zero": Node::Bool(false),
        "trainable": Node::List(vec![Node::Bool(true); f.layers.len()]),
        "layer_name": Node::Null,
        "use_aparam_as_mask": Node::Bool(f.use_aparam_as_mask),
        "spin": Node::Null,
        "type": text("ener"),
        "dim_out": int(1),
        "atom_ener": atom_ener(model),
    }
}

/// As [`dense`], with `none` for the output layer as DeePMD-kit writes it.
fn dense_of_fitting(layer: &Dense, of: Precision) -> Node {
    let name = match layer.activation {
        Activation::Linear => "none".to_string(),
        other => other.name(),
    };
    layer_node(&layer.linear, &name, layer.timestep.as_deref(), layer.resnet, of)
}

/// The model section of a training input that makes a model of these options.
fn script(model: &Model) -> Node {
    let f = &model.fitting;
    let mut descriptor: Map =
        vec![("type".into(), text("dpa3")), ("repflow".into(), Node::Map(repflow_args(&model.descriptor.options)))];
    descriptor.extend(descriptor_options(&model.descriptor.options));
    map! {
        "type_map": names(&model.type_map),
        "descriptor": Node::Map(descriptor),
        "fitting_net": map! {
            "type": text("ener"),
            "neuron": hidden(f),
            "resnet_dt": Node::Bool(f.resnet_dt),
            "numb_fparam": int(f.numb_fparam),
            "numb_aparam": int(f.numb_aparam),
            "dim_case_embd": int(f.case_embd.len()),
            "default_fparam": default_fparam(f),
            "activation_function": text(&f.activation.name()),
            "precision": precision(f.precision),
            "exclude_types": ints(f.exclude_types.iter().copied()),
            "use_aparam_as_mask": Node::Bool(f.use_aparam_as_mask),
            "atom_ener": atom_ener(model),
        },
        "atom_exclude_types": ints(model.atom_exclude_types.iter().copied()),
        "pair_exclude_types": pairs(&model.pair_exclude_types),
    }
}

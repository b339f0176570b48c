//! What a model is, told from its weights and options: the data of `weir model info`.

use serde::Serialize;

use super::{Dense, Linear, Model, Precision, UpdateStyle};

/// Published files by SHA-256, with name and licence.
const PUBLISHED: [(&str, &str, &str); 2] = [
    (
        "86dd3a804d78ca5d203ebf98747e8f16dff9713ba8950097ceb760b161e19907",
        "DPA-3.1-3M",
        "CC-BY-4.0 according to its model card; cite the DPA3 paper and the model",
    ),
    (
        "876354744aeaae17b2639a6a690514470273784f2b4836280850f50cbb799165",
        "DPA-3.2-5M",
        "see its model card (DPA-3.1-3M is CC-BY-4.0); cite the DPA3 paper and the model",
    ),
];

/// A model in words and numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Path as given.
    pub path: String,
    /// File format.
    pub format: String,
    /// SHA-256 of the file, lower-case hex (empty for a preset).
    pub sha256: String,
    /// SHA-256 of the file that this one was converted from.
    pub origin_sha256: Option<String>,
    /// Name of the published file that this is, or was converted from.
    pub published_as: Option<String>,
    /// What is known of the licence.
    pub licence: String,
    /// Branch taken from a multi-task file.
    pub head: Option<String>,
    /// One line: layers, widths, precision.
    pub architecture: String,
    /// Numbers of trained parameters.
    pub parameters: Parameters,
    /// Element symbols in the order of type indices.
    pub type_map: Vec<String>,
    /// Edge cutoff and where its switch starts, A.
    pub edge_cutoff: [f64; 2],
    /// Angle cutoff and where its switch starts, A.
    pub angle_cutoff: [f64; 2],
    /// Distance over which an atom feels another, A: the edge cutoff times the number of layers.
    pub receptive_field: f64,
    /// Inputs that every call must give (`fparam`, `aparam`), with their number.
    pub needs: Vec<String>,
    /// Options that differ from those of the published DPA-3.x family, as `name = value (published: value)`.
    pub unusual_options: Vec<String>,
    /// What the reader passed over.
    pub remarks: Vec<String>,
}

/// Trained parameters by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Type table, embeddings and layers.
    pub descriptor: usize,
    /// Fitting net.
    pub fitting: usize,
    /// Both.
    pub total: usize,
}

fn of_map(map: &Linear) -> usize {
    map.weight.len() + map.bias.as_ref().map_or(0, Vec::len)
}

fn of_dense(layer: &Dense) -> usize {
    of_map(&layer.linear) + layer.timestep.as_ref().map_or(0, Vec::len)
}

/// Counts trained parameters as DeePMD-kit does: weights, biases, time steps and residual vectors; no statistics, no energy biases.
pub fn parameters(model: &Model) -> Parameters {
    let d = &model.descriptor;
    let mut descriptor = of_dense(&d.type_embedding) + of_map(&d.edge_embd) + of_map(&d.angle_embd);
    if let Some(cs) = &d.charge_spin {
        descriptor += of_dense(&cs.charge) + of_dense(&cs.spin) + of_map(&cs.mix);
    }
    for layer in &d.layers {
        let maps = [&layer.node_self_mlp, &layer.node_sym_linear, &layer.node_edge_linear, &layer.edge_self_linear];
        descriptor += maps.into_iter().map(of_map).sum::<usize>();
        if let Some(angle) = &layer.angle {
            let maps = [&angle.edge_angle_linear1, &angle.edge_angle_linear2, &angle.angle_self_linear];
            descriptor +=
                maps.into_iter().chain(&angle.compress_node).chain(&angle.compress_edge).map(of_map).sum::<usize>();
        }
        let vectors = layer.n_residual.iter().chain(&layer.e_residual).chain(&layer.a_residual);
        descriptor += vectors.map(Vec::len).sum::<usize>();
    }
    let fitting = model.fitting.layers.iter().map(of_dense).sum();
    Parameters { descriptor, fitting, total: descriptor + fitting }
}

/// Describes a model.
pub fn describe(model: &Model) -> Description {
    let o = &model.descriptor.options;
    let f = &model.fitting;
    let source = &model.source;
    let known =
        PUBLISHED.iter().find(|(sha, _, _)| *sha == source.sha256 || Some(*sha) == source.origin_sha256.as_deref());
    let licence = match known {
        Some((_, _, licence)) => (*licence).to_string(),
        None if source.format == "preset" => "random weights made by this program: no licence needed".into(),
        None => "not stated in the file; ask the model's authors".into(),
    };
    let hidden: Vec<String> =
        f.layers.iter().take(f.layers.len().saturating_sub(1)).map(|l| l.linear.outputs.to_string()).collect();
    let architecture = format!(
        "DPA3, {} layers, node/edge/angle widths {}/{}/{}, {}, fitting net {} ({})",
        o.nlayers,
        o.n_dim,
        o.e_dim,
        o.a_dim,
        name(o.precision),
        hidden.join("-"),
        name(f.precision),
    );
    let mut needs = Vec::new();
    if f.numb_fparam > 0 {
        let default = if f.default_fparam.is_some() { ", has a default" } else { "" };
        needs.push(format!("fparam ({} values{default})", f.numb_fparam));
    }
    if f.numb_aparam > 0 && !f.use_aparam_as_mask {
        needs.push(format!("aparam ({} values an atom)", f.numb_aparam));
    }
    if o.add_chg_spin_ebd {
        let default = if o.default_chg_spin.is_some() { " (has a default)" } else { "" };
        needs.push(format!("charge and spin{default}"));
    }
    Description {
        path: source.path.clone(),
        format: source.format.clone(),
        sha256: source.sha256.clone(),
        origin_sha256: source.origin_sha256.clone(),
        published_as: known.map(|(_, name, _)| (*name).to_string()),
        licence,
        head: source.head.clone(),
        architecture,
        parameters: parameters(model),
        type_map: model.type_map.clone(),
        edge_cutoff: [o.e_rcut, o.e_rcut_smth],
        angle_cutoff: [o.a_rcut, o.a_rcut_smth],
        receptive_field: o.e_rcut * o.nlayers as f64,
        needs,
        unusual_options: unusual(model),
        remarks: source.remarks.clone(),
    }
}

fn name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "float32",
        Precision::F64 => "float64",
    }
}

/// Options that no published DPA-3.x model has so.
fn unusual(model: &Model) -> Vec<String> {
    let o = &model.descriptor.options;
    let f = &model.fitting;
    let mut out = Vec::new();
    let mut note = |usual: bool, key: &str, value: String, published: &str| {
        if !usual {
            out.push(format!("{key} = {value} (published: {published})"));
        }
    };
    note(o.precision == Precision::F32, "precision", name(o.precision).into(), "float32");
    note(f.precision == Precision::F32, "fitting precision", name(f.precision).into(), "float32");
    note(o.activation.name() == "silut:3.0", "activation_function", o.activation.name(), "silut:3.0");
    note(f.activation.name() == "silut:3.0", "fitting activation_function", f.activation.name(), "silut:3.0");
    note(o.use_dynamic_sel, "use_dynamic_sel", o.use_dynamic_sel.to_string(), "true");
    note(!o.use_dynamic_sel || o.sel_reduce_factor == 10.0, "sel_reduce_factor", o.sel_reduce_factor.to_string(), "10");
    note(o.smooth_edge_update, "smooth_edge_update", o.smooth_edge_update.to_string(), "true");
    note(o.use_exp_switch, "use_exp_switch", o.use_exp_switch.to_string(), "true");
    note(o.update_angle, "update_angle", o.update_angle.to_string(), "true");
    note(o.update_style == UpdateStyle::Residual, "update_style", format!("{:?}", o.update_style), "Residual");
    note(o.n_multi_edge_message == 1, "n_multi_edge_message", o.n_multi_edge_message.to_string(), "1");
    note(!o.sequential_update, "sequential_update", o.sequential_update.to_string(), "false");
    let compression = (o.a_compress_rate, o.a_compress_e_rate, o.a_compress_use_split);
    note(
        compression == (1, 2, true),
        "angle compression (rate, e_rate, split)",
        format!("{compression:?}"),
        "(1, 2, true)",
    );
    note(o.axis_neuron == 4, "axis_neuron", o.axis_neuron.to_string(), "4");
    note(!o.concat_output_tebd, "concat_output_tebd", o.concat_output_tebd.to_string(), "false");
    note(!o.use_tebd_bias, "use_tebd_bias", o.use_tebd_bias.to_string(), "false");
    note(!o.use_econf_tebd, "use_econf_tebd", o.use_econf_tebd.to_string(), "false");
    note(!o.add_chg_spin_ebd, "add_chg_spin_ebd", o.add_chg_spin_ebd.to_string(), "false");
    note(o.env_protection == 0.0, "env_protection", o.env_protection.to_string(), "0");
    note(o.exclude_types.is_empty(), "exclude_types", format!("{:?}", o.exclude_types), "[]");
    note(model.pair_exclude_types.is_empty(), "pair_exclude_types", format!("{:?}", model.pair_exclude_types), "[]");
    note(model.atom_exclude_types.is_empty(), "atom_exclude_types", format!("{:?}", model.atom_exclude_types), "[]");
    note(f.exclude_types.is_empty(), "fitting exclude_types", format!("{:?}", f.exclude_types), "[]");
    note(f.numb_fparam == 0, "numb_fparam", f.numb_fparam.to_string(), "0");
    note(f.numb_aparam == 0, "numb_aparam", f.numb_aparam.to_string(), "0");
    note(f.resnet_dt, "resnet_dt", f.resnet_dt.to_string(), "true");
    note(!f.subtract_vacuum, "atom_ener", "set".into(), "null");
    note(
        model.descriptor.statistics.slots == 1,
        "davg and dstd",
        "differ by neighbour slot".into(),
        "one for all slots",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::new_model;

    #[test]
    fn the_3m_shape_has_the_parameters_of_the_published_model() {
        let counted = parameters(&new_model("dpa-3.1-3m", 1).unwrap());
        assert_eq!(counted, Parameters { descriptor: 3_113_888, fitting: 154_801, total: 3_268_689 });
    }

    #[test]
    fn only_options_outside_the_published_family_are_unusual() {
        let mut model = new_model("dpa-3.2-5m", 1).unwrap();
        assert_eq!(describe(&model).unusual_options, Vec::<String>::new());
        model.descriptor.options.use_exp_switch = false;
        assert_eq!(describe(&model).unusual_options, ["use_exp_switch = false (published: true)"]);
    }

    #[test]
    fn a_published_file_is_known_by_its_hash_also_after_conversion() {
        let mut model = new_model("tiny", 1).unwrap();
        assert_eq!(describe(&model).published_as, None);
        model.source.origin_sha256 = Some(PUBLISHED[0].0.into());
        let described = describe(&model);
        assert_eq!(described.published_as.as_deref(), Some("DPA-3.1-3M"));
        assert!(described.licence.contains("CC-BY-4.0"));
    }
}

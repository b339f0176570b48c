//! Checks that a model's weights have the shapes its options mean, and that every number is one.
//!
//! Everything after this may rely on it: kernels index without asking again.

use super::error::ModelError;
use super::{AngleCompression, Dense, DescriptorOptions, Linear, Model, UpdateStyle};

/// Widths above this are refused, so that products of a few of them never overflow.
const LARGEST_WIDTH: usize = 1 << 16;
/// Counts (layers, neighbours) above this are refused.
const LARGEST_COUNT: usize = 1 << 20;

fn fault(entry: impl Into<String>, problem: impl Into<String>) -> ModelError {
    ModelError::entry(entry, problem)
}

impl Model {
    /// Checks options against each other and every weight against the options.
    ///
    /// # Errors
    /// [`ModelError::Entry`] naming the first entry that is wrong, what was expected and what was found.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.check_types()?;
        check_options(&self.descriptor.options)?;
        self.check_descriptor()?;
        self.check_fitting()
    }

    fn check_types(&self) -> Result<(), ModelError> {
        let types = self.types();
        if types == 0 || types > LARGEST_WIDTH {
            return Err(fault("type_map", format!("expected 1 to {LARGEST_WIDTH} types, found {types}")));
        }
        let mut seen = std::collections::HashMap::new();
        for (index, name) in self.type_map.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(fault(format!("type_map[{index}]"), "empty name"));
            }
            if let Some(first) = seen.insert(name, index) {
                return Err(fault("type_map", format!("\"{name}\" stands twice, at {first} and {index}")));
            }
        }
        numbers("out_bias", &self.out_bias, types)?;
        if self.out_std.len() != types {
            return Err(fault("out_std", format!("expected {types} values, found {}", self.out_std.len())));
        }
        let indices = |entry: &str, mut list: &mut dyn Iterator<Item = usize>| match (&mut list).find(|&t| t >= types) {
            Some(t) => Err(fault(entry, format!("type index {t}, but there are {types} types"))),
            None => Ok(()),
        };
        indices("atom_exclude_types", &mut self.atom_exclude_types.iter().copied())?;
        indices("pair_exclude_types", &mut self.pair_exclude_types.iter().flat_map(|&(a, b)| [a, b]))?;
        let excluded = &self.descriptor.options.exclude_types;
        indices("descriptor.exclude_types", &mut excluded.iter().flat_map(|&(a, b)| [a, b]))?;
        indices("fitting.exclude_types", &mut self.fitting.exclude_types.iter().copied())
    }

    fn check_descriptor(&self) -> Result<(), ModelError> {
        let d = &self.descriptor;
        let o = &d.options;
        let (dn, de, da) = (o.n_dim, o.e_dim, o.a_dim);
        let input = if o.use_econf_tebd { super::econf::WIDTH } else { self.types() };
        if o.use_econf_tebd {
            super::econf::econf_rows(&self.type_map)?;
        }
        dense("descriptor.type_embedding", &d.type_embedding, input, dn)?;
        if o.use_tebd_bias != d.type_embedding.linear.bias.is_some() {
            return Err(fault("descriptor.use_tebd_bias", "contradicts the stored type_embedding"));
        }
        match (&d.charge_spin, o.add_chg_spin_ebd) {
            (None, false) => {}
            (Some(cs), true) => {
                dense("descriptor.chg_embedding", &cs.charge, 200, dn)?;
                dense("descriptor.spin_embedding", &cs.spin, 100, dn)?;
                linear("descriptor.mix_cs_mlp", &cs.mix, 2 * dn, dn, Some(true))?;
            }
            _ => return Err(fault("descriptor.add_chg_spin_ebd", "contradicts the stored embeddings")),
        }
        if let Some([charge, spin]) = o.default_chg_spin {
            if charge.fract() != 0.0
                || spin.fract() != 0.0
                || !(-100.0..100.0).contains(&charge)
                || !(0.0..100.0).contains(&spin)
            {
                return Err(fault(
                    "descriptor.default_chg_spin",
                    format!("expected a charge in -100..99 and a spin in 0..99, found {charge}, {spin}"),
                ));
            }
        }
        linear("descriptor.edge_embd", &d.edge_embd, 1, de, Some(true))?;
        linear("descriptor.angle_embd", &d.angle_embd, 1, da, Some(false))?;
        if d.layers.len() != o.nlayers {
            return Err(fault(
                "descriptor.repflow_layers",
                format!("expected {} layers, found {}", o.nlayers, d.layers.len()),
            ));
        }
        for l in 0..o.nlayers {
            self.check_layer(l)?;
        }
        let s = &d.statistics;
        if s.slots != 1 && s.slots != o.e_sel {
            return Err(fault("descriptor.davg", format!("expected 1 or {} slots, found {}", o.e_sel, s.slots)));
        }
        numbers("descriptor.davg", &s.davg, self.types() * s.slots * 4)?;
        numbers("descriptor.dstd", &s.dstd, self.types() * s.slots * 4)?;
        match s.dstd.iter().position(|&v| v == 0.0) {
            Some(at) => Err(fault("descriptor.dstd", format!("zero at position {at}: inputs are divided by it"))),
            None => Ok(()),
        }
    }

    fn check_layer(&self, index: usize) -> Result<(), ModelError> {
        let o = &self.descriptor.options;
        let layer = &self.descriptor.layers[index];
        let (dn, de, da) = (o.n_dim, o.e_dim, o.a_dim);
        let heads = o.n_multi_edge_message;
        let name = |part: &str| format!("descriptor.repflow_layers[{index}].{part}");
        linear(&name("node_self_mlp"), &layer.node_self_mlp, dn, dn, Some(true))?;
        linear(&name("node_sym_linear"), &layer.node_sym_linear, o.axis_neuron * (de + dn), dn, Some(true))?;
        linear(&name("node_edge_linear"), &layer.node_edge_linear, 2 * dn + de, heads * dn, Some(true))?;
        linear(&name("edge_self_linear"), &layer.edge_self_linear, 2 * dn + de, de, Some(true))?;
        match (&layer.angle, o.update_angle) {
            (None, false) => {}
            (Some(angle), true) => {
                let (node, edge) = o.angle_input_widths();
                let width = da + node + 2 * edge;
                linear(&name("edge_angle_linear1"), &angle.edge_angle_linear1, width, de, Some(true))?;
                linear(&name("edge_angle_linear2"), &angle.edge_angle_linear2, de, de, Some(true))?;
                linear(&name("angle_self_linear"), &angle.angle_self_linear, width, da, Some(true))?;
                let stored = (angle.compress_node.as_ref(), angle.compress_edge.as_ref());
                match (stored, o.compression() == AngleCompression::Linear) {
                    ((None, None), false) => {}
                    ((Some(n), Some(e)), true) => {
                        linear(&name("a_compress_n_linear"), n, dn, node, Some(false))?;
                        linear(&name("a_compress_e_linear"), e, de, edge, Some(false))?;
                    }
                    _ => {
                        return Err(fault(
                            name("a_compress_n_linear"),
                            "contradicts a_compress_rate and a_compress_use_split",
                        ))
                    }
                }
            }
            _ => {
                return Err(fault(name("edge_angle_linear1"), format!("contradicts update_angle = {}", o.update_angle)))
            }
        }
        let residual = o.update_style == UpdateStyle::Residual;
        let edges = if o.update_angle { 2 } else { 1 };
        let angles = usize::from(o.update_angle);
        for (part, vectors, count, width) in [
            ("n_residual", &layer.n_residual, 2 + heads, dn),
            ("e_residual", &layer.e_residual, edges, de),
            ("a_residual", &layer.a_residual, angles, da),
        ] {
            let expected = if residual { count } else { 0 };
            if vectors.len() != expected {
                return Err(fault(name(part), format!("expected {expected} vectors, found {}", vectors.len())));
            }
            for (k, vector) in vectors.iter().enumerate() {
                numbers(&format!("{}[{k}]", name(part)), vector, width)?;
            }
        }
        Ok(())
    }

    fn check_fitting(&self) -> Result<(), ModelError> {
        let f = &self.fitting;
        let o = &self.descriptor.options;
        if f.numb_fparam > LARGEST_WIDTH || f.numb_aparam > LARGEST_WIDTH {
            return Err(fault("fitting.numb_fparam", format!("expected at most {LARGEST_WIDTH} parameters")));
        }
        let Some((last, hidden)) = f.layers.split_last() else {
            return Err(fault("fitting.nets", "expected at least one layer, found none"));
        };
        let mut width = self.fitting_input_width();
        for (k, layer) in hidden.iter().enumerate() {
            let outputs = layer.linear.outputs;
            dense(&format!("fitting.layers[{k}]"), layer, width, outputs)?;
            width = outputs;
        }
        let name = format!("fitting.layers[{}]", hidden.len());
        dense(&name, last, width, 1)?;
        if last.activation != crate::activation::Activation::Linear || last.resnet || last.timestep.is_some() {
            return Err(fault(name, "expected a plain affine output layer"));
        }
        numbers("fitting.fparam_avg", &f.fparam_avg, f.numb_fparam)?;
        numbers("fitting.fparam_inv_std", &f.fparam_inv_std, f.numb_fparam)?;
        numbers("fitting.aparam_avg", &f.aparam_avg, f.numb_aparam)?;
        numbers("fitting.aparam_inv_std", &f.aparam_inv_std, f.numb_aparam)?;
        numbers("fitting.case_embd", &f.case_embd, f.case_embd.len())?;
        numbers("fitting.bias_atom_e", &f.bias_atom_e, self.types())?;
        if let Some(values) = &f.default_fparam {
            numbers("fitting.default_fparam", values, f.numb_fparam)?;
        }
        if f.case_embd.len() > LARGEST_WIDTH || o.n_dim > LARGEST_WIDTH {
            return Err(fault("fitting.case_embd", format!("expected at most {LARGEST_WIDTH} values")));
        }
        Ok(())
    }

    /// Width of the fitting net's input: descriptor, frame parameters, atomic parameters, case.
    pub fn fitting_input_width(&self) -> usize {
        let o = &self.descriptor.options;
        let f = &self.fitting;
        let aparam = if f.use_aparam_as_mask { 0 } else { f.numb_aparam };
        o.n_dim * if o.concat_output_tebd { 2 } else { 1 } + f.numb_fparam + aparam + f.case_embd.len()
    }
}

fn check_options(o: &DescriptorOptions) -> Result<(), ModelError> {
    let args = |key: &str| format!("descriptor.repflow_args.{key}");
    for (key, value, largest) in [
        ("n_dim", o.n_dim, LARGEST_WIDTH),
        ("e_dim", o.e_dim, LARGEST_WIDTH),
        ("a_dim", o.a_dim, LARGEST_WIDTH),
        ("axis_neuron", o.axis_neuron, LARGEST_WIDTH),
        ("n_multi_edge_message", o.n_multi_edge_message, LARGEST_WIDTH),
        ("nlayers", o.nlayers, LARGEST_COUNT),
        ("e_sel", o.e_sel, LARGEST_COUNT),
        ("a_sel", o.a_sel, LARGEST_COUNT),
    ] {
        if value == 0 || value > largest {
            return Err(fault(args(key), format!("expected 1 to {largest}, found {value}")));
        }
    }
    if o.axis_neuron > o.e_dim.min(o.n_dim) {
        return Err(fault(
            args("axis_neuron"),
            format!("expected at most e_dim = {} and n_dim = {}, found {}", o.e_dim, o.n_dim, o.axis_neuron),
        ));
    }
    for (inner, outer, r_inner, r_outer) in
        [("e_rcut_smth", "e_rcut", o.e_rcut_smth, o.e_rcut), ("a_rcut_smth", "a_rcut", o.a_rcut_smth, o.a_rcut)]
    {
        if !(r_outer.is_finite() && r_outer > 0.0) {
            return Err(fault(args(outer), format!("expected a positive length in A, found {r_outer}")));
        }
        if !(r_inner >= 0.0 && r_inner < r_outer) || (o.use_exp_switch && r_inner == 0.0) {
            return Err(fault(args(inner), format!("expected a length below {outer} = {r_outer} A, found {r_inner}")));
        }
    }
    if o.a_rcut > o.e_rcut {
        return Err(fault(args("a_rcut"), format!("expected at most e_rcut = {} A, found {}", o.e_rcut, o.a_rcut)));
    }
    if o.a_sel > o.e_sel {
        return Err(fault(args("a_sel"), format!("expected at most e_sel = {}, found {}", o.e_sel, o.a_sel)));
    }
    if !(o.sel_reduce_factor.is_finite() && o.sel_reduce_factor > 0.0) {
        return Err(fault(
            args("sel_reduce_factor"),
            format!("expected a positive number, found {}", o.sel_reduce_factor),
        ));
    }
    if !o.env_protection.is_finite() || o.env_protection < 0.0 {
        return Err(fault(
            "descriptor.env_protection",
            format!("expected a number that is not negative, found {}", o.env_protection),
        ));
    }
    if o.use_dynamic_sel && !o.smooth_edge_update {
        return Err(fault(args("smooth_edge_update"), "expected true with use_dynamic_sel"));
    }
    if o.sequential_update && !(o.update_angle && o.update_style == UpdateStyle::Residual) {
        return Err(fault(args("sequential_update"), "needs update_angle and update_style res_residual"));
    }
    if o.update_angle && o.a_compress_rate > 0 {
        let (node, edge) = o.angle_input_widths();
        let split = o.compression() == AngleCompression::Split;
        if node == 0 || edge == 0 || edge > LARGEST_WIDTH || (split && (node > o.n_dim || edge > o.e_dim)) {
            let found = format!(
                "compressed widths {node} (node) and {edge} (edge) do not fit n_dim = {}, e_dim = {}",
                o.n_dim, o.e_dim
            );
            return Err(fault(args("a_compress_rate"), found));
        }
    }
    Ok(())
}

fn dense(entry: &str, layer: &Dense, inputs: usize, outputs: usize) -> Result<(), ModelError> {
    linear(entry, &layer.linear, inputs, outputs, None)?;
    match &layer.timestep {
        Some(values) => numbers(&format!("{entry}.idt"), values, outputs),
        None => Ok(()),
    }
}

/// Checks an affine map; `bias` says whether it must have one, `None` leaves it open.
fn linear(entry: &str, map: &Linear, inputs: usize, outputs: usize, bias: Option<bool>) -> Result<(), ModelError> {
    if (map.inputs, map.outputs) != (inputs, outputs) {
        return Err(fault(
            entry,
            format!("expected a map {inputs} -> {outputs}, found {} -> {}", map.inputs, map.outputs),
        ));
    }
    if outputs == 0 || inputs > LARGEST_WIDTH * 8 || outputs > LARGEST_WIDTH * 8 {
        return Err(fault(entry, format!("width {inputs} -> {outputs} is out of range")));
    }
    numbers(&format!("{entry}.w"), &map.weight, inputs * outputs)?;
    match (&map.bias, bias) {
        (Some(_), Some(false)) => Err(fault(format!("{entry}.b"), "expected no bias, found one")),
        (None, Some(true)) => Err(fault(format!("{entry}.b"), "expected a bias, found none")),
        (Some(values), _) => numbers(&format!("{entry}.b"), values, outputs),
        (None, _) => Ok(()),
    }
}

fn numbers(entry: &str, values: &[f64], length: usize) -> Result<(), ModelError> {
    if values.len() != length {
        return Err(fault(entry, format!("expected {length} values, found {}", values.len())));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(fault(entry, format!("value {} at position {at} is not a finite number", values[at]))),
        None => Ok(()),
    }
}

//! Random models of published shapes, so that anyone can time an architecture without downloading its weights.
//!
//! Tame: weights of the size that training starts from, residuals near 0.1 and a small output layer, so that forces at a relaxed
//! geometry stay below 2 eV/A. The numbers mean nothing chemically.

use super::error::ModelError;
use super::{
    AngleMaps, Dense, Descriptor, DescriptorOptions, Fitting, Layer, Linear, Model, Precision, Source, Statistics,
    UpdateStyle,
};
use crate::activation::Activation;
use crate::element::SYMBOLS;

/// Names that [`new_model`] knows.
pub const PRESETS: [&str; 3] = ["dpa-3.1-3m", "dpa-3.2-5m", "tiny"];

/// Standard deviation of the output layer's weights times the square root of its width.
///
/// Forces are proportional to it. Largest forces with this value: 0.17 eV/A (`tiny`), 0.21 (`dpa-3.1-3m`), 0.32 (`dpa-3.2-5m`) on
/// water, a protein, copper and rutile; another seed changes them by up to five times.
pub const OUTPUT_SCALE: f64 = 8.0;
/// Standard deviation of biases.
const BIAS_SCALE: f64 = 0.1;
/// Mean and half-width of residual vectors and time steps.
const RESIDUAL: (f64, f64) = (0.1, 0.05);
/// Which task of the case embedding a multi-task preset stands for.
const CASE: usize = 27;

/// A random model of a published shape: `dpa-3.1-3m` and `dpa-3.2-5m` have the options of those models, `tiny` is small and cheap; all
/// know the 118 elements and compute in single precision. The same preset and seed give the same model everywhere.
///
/// # Errors
/// [`ModelError::Unsupported`] naming the presets.
pub fn new_model(preset: &str, seed: u64) -> Result<Model, ModelError> {
    let shape = match preset.to_ascii_lowercase().as_str() {
        "dpa-3.1-3m" => Shape { case_embd: 31, ..Shape::default() },
        "dpa-3.2-5m" => Shape { nlayers: 24, use_dist: true, case_embd: 31, ..Shape::default() },
        "tiny" => Shape { n_dim: 32, e_dim: 16, a_dim: 8, nlayers: 3, neuron: 32, ..Shape::default() },
        _ => {
            let what = format!("there is no preset \"{preset}\"");
            return Err(ModelError::unsupported(what, format!("presets are {}", PRESETS.join(", "))));
        }
    };
    let model = shape.model(&Random { seed }, preset);
    model.validate()?;
    Ok(model)
}

/// What distinguishes the presets; everything else is common to the published family.
struct Shape {
    n_dim: usize,
    e_dim: usize,
    a_dim: usize,
    nlayers: usize,
    neuron: usize,
    use_dist: bool,
    case_embd: usize,
}

impl Default for Shape {
    /// DPA-3.1-3M, but for its case embedding.
    fn default() -> Self {
        Self { n_dim: 128, e_dim: 64, a_dim: 32, nlayers: 16, neuron: 240, use_dist: false, case_embd: 0 }
    }
}

impl Shape {
    fn options(&self) -> DescriptorOptions {
        DescriptorOptions {
            n_dim: self.n_dim,
            e_dim: self.e_dim,
            a_dim: self.a_dim,
            nlayers: self.nlayers,
            e_rcut: 6.0,
            e_rcut_smth: 5.3,
            e_sel: 1200,
            a_rcut: 4.0,
            a_rcut_smth: 3.5,
            a_sel: 300,
            axis_neuron: 4,
            a_compress_rate: 1,
            a_compress_e_rate: 2,
            a_compress_use_split: true,
            n_multi_edge_message: 1,
            update_angle: true,
            update_style: UpdateStyle::Residual,
            fix_stat_std: 0.3,
            smooth_edge_update: true,
            edge_init_use_dist: self.use_dist,
            use_exp_switch: true,
            use_dynamic_sel: true,
            sel_reduce_factor: 10.0,
            sequential_update: false,
            concat_output_tebd: false,
            activation: Activation::Silut { threshold: 3.0 },
            precision: Precision::F32,
            exclude_types: Vec::new(),
            env_protection: 0.0,
            use_econf_tebd: false,
            use_tebd_bias: false,
            use_loc_mapping: true,
            add_chg_spin_ebd: false,
            default_chg_spin: None,
        }
    }

    fn model(&self, random: &Random, preset: &str) -> Model {
        let types = SYMBOLS.len();
        let options = self.options();
        let (dn, de, da) = (self.n_dim, self.e_dim, self.a_dim);
        let deviation = f64::from(0.3f32);
        let descriptor = Descriptor {
            type_embedding: Dense {
                linear: random.linear("type_embedding", types, dn, 1.0, false),
                activation: Activation::Linear,
                timestep: None,
                resnet: true,
            },
            charge_spin: None,
            edge_embd: random.linear("edge_embd", 1, de, random.glorot(1, de), true),
            angle_embd: random.linear("angle_embd", 1, da, random.glorot(1, da), false),
            layers: (0..self.nlayers).map(|l| random.layer(l, &options)).collect(),
            statistics: Statistics { slots: 1, davg: vec![0.0; types * 4], dstd: vec![deviation; types * 4] },
            options,
        };
        let mut case_embd = vec![0.0; self.case_embd];
        if let Some(one) = case_embd.get_mut(CASE) {
            *one = 1.0;
        }
        let activation = Activation::Silut { threshold: 3.0 };
        let mut layers = Vec::new();
        let mut width = dn + self.case_embd;
        for k in 0..3 {
            let name = format!("fitting.{k}");
            let steps = width == self.neuron || 2 * width == self.neuron;
            layers.push(Dense {
                linear: random.linear(&name, width, self.neuron, random.glorot(width, self.neuron), true),
                activation,
                timestep: steps.then(|| random.around(&format!("{name}.idt"), self.neuron)),
                resnet: true,
            });
            width = self.neuron;
        }
        let scale = OUTPUT_SCALE / (width as f64).sqrt();
        layers.push(Dense {
            linear: random.linear("fitting.out", width, 1, scale, true),
            activation: Activation::Linear,
            timestep: None,
            resnet: false,
        });
        Model {
            type_map: SYMBOLS.iter().map(|s| s.to_string()).collect(),
            descriptor,
            fitting: Fitting {
                layers,
                numb_fparam: 0,
                numb_aparam: 0,
                use_aparam_as_mask: false,
                default_fparam: None,
                fparam_avg: Vec::new(),
                fparam_inv_std: Vec::new(),
                aparam_avg: Vec::new(),
                aparam_inv_std: Vec::new(),
                case_embd,
                subtract_vacuum: false,
                bias_atom_e: vec![0.0; types],
                exclude_types: Vec::new(),
                precision: Precision::F32,
                activation,
                resnet_dt: true,
            },
            out_bias: vec![0.0; types],
            out_std: vec![1.0; types],
            atom_exclude_types: Vec::new(),
            pair_exclude_types: Vec::new(),
            source: Source {
                path: format!("preset {} seed {}", preset.to_ascii_lowercase(), random.seed),
                format: "preset".into(),
                remarks: vec!["random weights: for timing and tests, not for chemistry".into()],
                ..Source::default()
            },
        }
    }
}

/// Counter-based random numbers: a value depends on the seed, the name of its tensor and its position, and on nothing drawn before.
struct Random {
    seed: u64,
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Random {
    /// `count` numbers uniform in (-1, 1).
    fn uniform<'a>(&self, name: &str, count: usize) -> impl Iterator<Item = f64> + 'a {
        // FNV-1a of the name makes the stream.
        let stream =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let key = mix(self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ stream;
        (0..count as u64).map(move |i| {
            let bits = mix(key.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 11;
            // 53 bits, centred, so that zero and one never occur.
            (bits as f64 + 0.5) * 2f64.powi(-52) - 1.0
        })
    }

    /// Numbers of a standard deviation, rounded to single precision.
    fn spread(&self, name: &str, count: usize, deviation: f64) -> Vec<f64> {
        let half_width = deviation * 3f64.sqrt();
        self.uniform(name, count).map(|u| f64::from((u * half_width) as f32)).collect()
    }

    /// Numbers around that of residuals and time steps.
    fn around(&self, name: &str, count: usize) -> Vec<f64> {
        self.uniform(name, count).map(|u| f64::from((RESIDUAL.0 + u * RESIDUAL.1) as f32)).collect()
    }

    /// The standard deviation that training starts from.
    fn glorot(&self, inputs: usize, outputs: usize) -> f64 {
        1.0 / ((inputs + outputs) as f64).sqrt()
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize, deviation: f64, bias: bool) -> Linear {
        Linear {
            inputs,
            outputs,
            weight: self.spread(&format!("{name}.w"), inputs * outputs, deviation),
            bias: bias.then(|| self.spread(&format!("{name}.b"), outputs, BIAS_SCALE)),
        }
    }

    fn layer(&self, index: usize, o: &DescriptorOptions) -> Layer {
        let (dn, de, da) = (o.n_dim, o.e_dim, o.a_dim);
        let heads = o.n_multi_edge_message;
        let (node, edge) = o.angle_input_widths();
        let map = |part: &str, inputs: usize, outputs: usize| {
            self.linear(&format!("layer.{index}.{part}"), inputs, outputs, self.glorot(inputs, outputs), true)
        };
        let residuals = |part: &str, count: usize, width: usize| {
            (0..count).map(|k| self.around(&format!("layer.{index}.{part}.{k}"), width)).collect()
        };
        let width = da + node + 2 * edge;
        Layer {
            node_self_mlp: map("node_self_mlp", dn, dn),
            node_sym_linear: map("node_sym_linear", o.axis_neuron * (de + dn), dn),
            node_edge_linear: map("node_edge_linear", 2 * dn + de, heads * dn),
            edge_self_linear: map("edge_self_linear", 2 * dn + de, de),
            angle: Some(AngleMaps {
                edge_angle_linear1: map("edge_angle_linear1", width, de),
                edge_angle_linear2: map("edge_angle_linear2", de, de),
                angle_self_linear: map("angle_self_linear", width, da),
                compress_node: None,
                compress_edge: None,
            }),
            n_residual: residuals("n_residual", 2 + heads, dn),
            e_residual: residuals("e_residual", 2, de),
            a_residual: residuals("a_residual", 1, da),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_fixed_by_seed_name_and_position() {
        let random = Random { seed: 7 };
        let long = random.spread("a", 1000, 1.0);
        assert_eq!(random.spread("a", 10, 1.0), long[..10]);
        assert_ne!(random.spread("b", 10, 1.0), long[..10]);
        assert_ne!(Random { seed: 8 }.spread("a", 10, 1.0), long[..10]);
        let mean = long.iter().sum::<f64>() / 1000.0;
        let variance = long.iter().map(|v| v * v).sum::<f64>() / 1000.0;
        assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
        assert!(long.iter().all(|v| v.abs() < 3f64.sqrt() + 1e-6));
    }

    #[test]
    fn a_preset_gives_the_same_model_for_the_same_seed_only() {
        let model = new_model("tiny", 1).unwrap();
        assert_eq!(model, new_model("TINY", 1).unwrap());
        assert_ne!(model.descriptor.layers, new_model("tiny", 2).unwrap().descriptor.layers);
        assert!(new_model("dpa-9", 1).unwrap_err().to_string().contains("dpa-3.1-3m"));
    }

    #[test]
    fn weights_of_a_preset_stay_within_the_bounds_that_keep_it_tame() {
        let model = new_model("dpa-3.2-5m", 3).unwrap();
        assert_eq!(model.descriptor.layers.len(), 24);
        assert!(model.descriptor.options.edge_init_use_dist);
        for layer in &model.descriptor.layers {
            for vector in layer.n_residual.iter().chain(&layer.e_residual).chain(&layer.a_residual) {
                assert!(vector.iter().all(|r| (0.049..0.151).contains(r)));
            }
            let map = &layer.node_edge_linear;
            let bound = 3f64.sqrt() / ((map.inputs + map.outputs) as f64).sqrt() * 1.0001;
            assert!(map.weight.iter().all(|w| w.abs() <= bound));
        }
        let out = &model.fitting.layers[3].linear;
        let bound = OUTPUT_SCALE * 3f64.sqrt() / (out.inputs as f64).sqrt() * 1.0001;
        assert!(out.weight.iter().all(|w| w.abs() <= bound));
    }
}

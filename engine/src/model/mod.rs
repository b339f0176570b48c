//! A DPA3 energy model in memory: every hyper-parameter and weight of specification sections 1 to 11, whatever file it came from.
//!
//! Weights are held in double precision (single-precision files convert without loss); `precision` says what the model computes in.
//! Readers fill a [`Model`] and call [`Model::validate`]; everything after that may rely on its shapes.

mod arrays;
mod build;
pub mod econf;
pub mod error;
pub mod info;
mod load;
pub mod new;
mod pickle;
mod read_dp;
mod read_weir;
mod read_yaml;
mod serialize;
#[cfg(test)]
pub(crate) mod test_support;
mod torch;
pub mod tree;
mod validate;
mod write;
mod write_hdf5;

pub use error::ModelError;
pub use load::{heads, load, load_bytes, LoadOptions};
pub use new::new_model;
pub use torch::heads::HeadInfo;
pub use write::{save, to_dp, to_weir};

use crate::activation::Activation;

/// The floating type a part of the model was trained in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// IEEE binary32
    F32,
    /// IEEE binary64
    F64,
}

/// An affine map `y = x W + b` with row vectors: `weight[i * outputs + o]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
    /// `inputs x outputs`, row-major.
    pub weight: Vec<f64>,
    /// `outputs` values, where the layer has a bias.
    pub bias: Option<Vec<f64>>,
}

/// A dense layer with activation, optional time step and the resnet rule of specification section 9.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// The affine part.
    pub linear: Linear,
    /// Applied to the affine part.
    pub activation: Activation,
    /// Elementwise factor after the activation (`idt`).
    pub timestep: Option<Vec<f64>>,
    /// Whether the resnet rule applies (it acts only for widths n -> n and n -> 2n).
    pub resnet: bool,
}

/// How node and edge features enter the angle messages (specification 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AngleCompression {
    /// `a_compress_rate = 0`: whole features.
    None,
    /// `a_compress_use_split`: leading entries.
    Split,
    /// A stored linear map each.
    Linear,
}

/// How messages combine with the feature (specification 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStyle {
    /// `u + sum_k R_k m_k` with stored vectors.
    Residual,
    /// `(u + sum_k m_k) / sqrt(K + 1)`
    Average,
    /// `u + (sum_k m_k) / sqrt(K)`
    Increment,
}

/// The options of `repflow_args` and of the descriptor that change numbers (specification section 14).
#[derive(Clone, Debug, PartialEq)]
pub struct DescriptorOptions {
    /// Width of node features, Dn.
    pub n_dim: usize,
    /// Width of edge features, De.
    pub e_dim: usize,
    /// Width of angle features, Da.
    pub a_dim: usize,
    /// Number of layers, L.
    pub nlayers: usize,
    /// Edge cutoff r_e, A.
    pub e_rcut: f64,
    /// Where the edge switch starts, s_e, A.
    pub e_rcut_smth: f64,
    /// Largest number of edges of a centre.
    pub e_sel: usize,
    /// Angle cutoff r_a, A.
    pub a_rcut: f64,
    /// Where the angle switch starts, s_a, A.
    pub a_rcut_smth: f64,
    /// Number of leading neighbour slots that may carry angles.
    pub a_sel: usize,
    /// X of the symmetrisation.
    pub axis_neuron: usize,
    /// `c` of specification 7.5.
    pub a_compress_rate: usize,
    /// `q` of specification 7.5.
    pub a_compress_e_rate: usize,
    /// Whether compression takes leading entries instead of a linear map.
    pub a_compress_use_split: bool,
    /// Heads of the node-edge message.
    pub n_multi_edge_message: usize,
    /// Whether angle messages exist.
    pub update_angle: bool,
    /// How messages combine.
    pub update_style: UpdateStyle,
    /// `fix_stat_std` (informational: the statistics are stored).
    pub fix_stat_std: f64,
    /// False: edges outside the angle set feed their own feature to `edge_angle_linear2`.
    pub smooth_edge_update: bool,
    /// Raw distance as edge input.
    pub edge_init_use_dist: bool,
    /// Exponential instead of polynomial switch.
    pub use_exp_switch: bool,
    /// Dynamic selection: counts are scaled by `sel_reduce_factor`.
    pub use_dynamic_sel: bool,
    /// Divides e_sel and a_sel in the normalisation of dynamic selection.
    pub sel_reduce_factor: f64,
    /// Sequential update (specification 7.7).
    pub sequential_update: bool,
    /// Append the type embedding to the descriptor.
    pub concat_output_tebd: bool,
    /// Activation of all descriptor messages.
    pub activation: Activation,
    /// Precision of the descriptor.
    pub precision: Precision,
    /// Descriptor-level excluded pairs of types, as listed (symmetry is the reader's business).
    pub exclude_types: Vec<(usize, usize)>,
    /// `p` of specification section 5.
    pub env_protection: f64,
    /// Electron-configuration input of the type layer.
    pub use_econf_tebd: bool,
    /// Bias in the type layer.
    pub use_tebd_bias: bool,
    /// No effect on results; kept for writing the file back.
    pub use_loc_mapping: bool,
    /// Charge/spin embedding.
    pub add_chg_spin_ebd: bool,
    /// Charge and spin used when the caller gives none.
    pub default_chg_spin: Option<[f64; 2]>,
}

/// The weights of one layer (specification section 7). Missing maps belong to options that are off.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Dn -> Dn
    pub node_self_mlp: Linear,
    /// X (De + Dn) -> Dn
    pub node_sym_linear: Linear,
    /// 2 Dn + De -> heads Dn
    pub node_edge_linear: Linear,
    /// 2 Dn + De -> De
    pub edge_self_linear: Linear,
    /// Present with `update_angle`.
    pub angle: Option<AngleMaps>,
    /// `n_residual`: 2 + heads vectors of Dn; empty unless [`UpdateStyle::Residual`].
    pub n_residual: Vec<Vec<f64>>,
    /// `e_residual`: one vector of De, two with `update_angle`.
    pub e_residual: Vec<Vec<f64>>,
    /// `a_residual`: one vector of Da with `update_angle`.
    pub a_residual: Vec<Vec<f64>>,
}

/// The angle maps of a layer (specification 7.5).
#[derive(Clone, Debug, PartialEq)]
pub struct AngleMaps {
    /// width of `[a, nc, ec, ec]` -> De
    pub edge_angle_linear1: Linear,
    /// De -> De
    pub edge_angle_linear2: Linear,
    /// width of `[a, nc, ec, ec]` -> Da
    pub angle_self_linear: Linear,
    /// Dn -> node part, only with linear compression; no bias.
    pub compress_node: Option<Linear>,
    /// De -> edge part, only with linear compression; no bias.
    pub compress_edge: Option<Linear>,
}

/// Charge and spin embedding (specification section 11).
#[derive(Clone, Debug, PartialEq)]
pub struct ChargeSpin {
    /// 200 -> Dn, input one-hot of charge + 100
    pub charge: Dense,
    /// 100 -> Dn, input one-hot of spin
    pub spin: Dense,
    /// 2 Dn -> Dn, followed by the descriptor activation
    pub mix: Linear,
}

/// The statistics `davg`, `dstd` of specification section 5.
///
/// `slots` is 1 when they do not depend on the neighbour slot (every model DeePMD-kit produces), else `e_sel`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// 1 or e_sel
    pub slots: usize,
    /// `[type][slot][4]`, flattened
    pub davg: Vec<f64>,
    /// `[type][slot][4]`, flattened
    pub dstd: Vec<f64>,
}

impl Statistics {
    /// `(davg, dstd)`, four values each, of a centre's type and a neighbour's slot.
    pub fn of(&self, centre_type: usize, slot: usize) -> (&[f64], &[f64]) {
        let at = (centre_type * self.slots + slot.min(self.slots - 1)) * 4;
        (&self.davg[at..at + 4], &self.dstd[at..at + 4])
    }
}

/// The descriptor: options and weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Everything that is not a weight.
    pub options: DescriptorOptions,
    /// The type layer: T (or electron-configuration width) -> Dn, linear, resnet rule on.
    pub type_embedding: Dense,
    /// Present with `add_chg_spin_ebd`.
    pub charge_spin: Option<ChargeSpin>,
    /// 1 -> De
    pub edge_embd: Linear,
    /// 1 -> Da, no bias
    pub angle_embd: Linear,
    /// `nlayers` of them.
    pub layers: Vec<Layer>,
    /// Input normalisation.
    pub statistics: Statistics,
}

/// The energy fitting net (specification section 10).
#[derive(Clone, Debug, PartialEq)]
pub struct Fitting {
    /// Hidden layers, then one linear layer of width 1.
    pub layers: Vec<Dense>,
    /// Number of frame parameters.
    pub numb_fparam: usize,
    /// Number of atomic parameters.
    pub numb_aparam: usize,
    /// Atomic parameters only mask atoms and do not enter the net.
    pub use_aparam_as_mask: bool,
    /// Frame parameters used when the caller gives none.
    pub default_fparam: Option<Vec<f64>>,
    /// `numb_fparam` averages.
    pub fparam_avg: Vec<f64>,
    /// `numb_fparam` inverse standard deviations.
    pub fparam_inv_std: Vec<f64>,
    /// `numb_aparam` averages.
    pub aparam_avg: Vec<f64>,
    /// `numb_aparam` inverse standard deviations.
    pub aparam_inv_std: Vec<f64>,
    /// One-hot row of the task (empty when `dim_case_embd` is 0).
    pub case_embd: Vec<f64>,
    /// True when `atom_ener` has any non-null entry: the net of a zero descriptor is subtracted.
    pub subtract_vacuum: bool,
    /// `bias_atom_e`, one value a type, eV.
    pub bias_atom_e: Vec<f64>,
    /// Types whose network energy is zero.
    pub exclude_types: Vec<usize>,
    /// Precision of the fitting net.
    pub precision: Precision,
    /// Activation of hidden layers as named in the file (each layer carries its own too).
    pub activation: Activation,
    /// `resnet_dt` as named in the file.
    pub resnet_dt: bool,
}

/// Where a model came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Path as given.
    pub path: String,
    /// `dp`, `pt`, `pth`, `yaml`, `pt2`, `pte`, `weir` or `preset`.
    pub format: String,
    /// SHA-256 of the file, lower-case hex (empty for a preset).
    pub sha256: String,
    /// Branch taken from a multi-task file.
    pub head: Option<String>,
    /// SHA-256 of the file that a `.weir` file was converted from.
    pub origin_sha256: Option<String>,
    /// What the reader passed over under `allow_unknown`, and other remarks, a line each.
    pub remarks: Vec<String>,
}

/// A DPA3 energy model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Element symbols in the order of type indices.
    pub type_map: Vec<String>,
    /// Descriptor.
    pub descriptor: Descriptor,
    /// Fitting net.
    pub fitting: Fitting,
    /// `out_bias`, one value a type, eV, always double precision.
    pub out_bias: Vec<f64>,
    /// `out_std`, one value a type (stored, never applied to energies).
    pub out_std: Vec<f64>,
    /// Types without any energy (model level).
    pub atom_exclude_types: Vec<usize>,
    /// Model-level excluded pairs of types, as listed.
    pub pair_exclude_types: Vec<(usize, usize)>,
    /// Where it came from.
    pub source: Source,
}

impl DescriptorOptions {
    /// `Ne` of specification section 7.
    pub fn edge_scale(&self) -> f64 {
        self.e_sel as f64 / if self.use_dynamic_sel { self.sel_reduce_factor } else { 1.0 }
    }

    /// `Na` of specification section 7.
    pub fn angle_scale(&self) -> f64 {
        self.a_sel as f64 / if self.use_dynamic_sel { self.sel_reduce_factor } else { 1.0 }
    }

    /// Which form of compression the options mean.
    pub fn compression(&self) -> AngleCompression {
        match (self.a_compress_rate, self.a_compress_use_split) {
            (0, _) => AngleCompression::None,
            (_, true) => AngleCompression::Split,
            (_, false) => AngleCompression::Linear,
        }
    }

    /// Widths of the node part and of one edge part of an angle's input (specification 7.5).
    pub fn angle_input_widths(&self) -> (usize, usize) {
        match self.a_compress_rate {
            0 => (self.n_dim, self.e_dim),
            c => (self.a_dim / c, self.a_dim / (2 * c) * self.a_compress_e_rate),
        }
    }
}

impl Model {
    /// Number of types, T.
    pub fn types(&self) -> usize {
        self.type_map.len()
    }

    /// Type index of an element symbol, exact capitalisation first, then any.
    pub fn type_of(&self, symbol: &str) -> Option<usize> {
        let exact = self.type_map.iter().position(|t| t == symbol);
        exact.or_else(|| self.type_map.iter().position(|t| t.eq_ignore_ascii_case(symbol)))
    }

    /// Excluded ordered pairs of types from both levels, as a T x T table (`true` = no edge).
    pub fn excluded_pairs(&self) -> Vec<bool> {
        let t = self.types();
        let mut table = vec![false; t * t];
        for &(a, b) in self.pair_exclude_types.iter().chain(&self.descriptor.options.exclude_types) {
            if a < t && b < t {
                table[a * t + b] = true;
                table[b * t + a] = true;
            }
        }
        table
    }
}

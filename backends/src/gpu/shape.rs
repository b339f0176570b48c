//! A model as the kernel text wants to be told of it.

use crate::cpu::Store;
use crate::network::Shapes;
use weir_engine::activation::Activation;
use weir_engine::model::Model;
use weir_kernels::Shape;

/// Number of an activation in `math.h`, and its threshold.
pub fn activation_number(a: Activation) -> (u32, f64) {
    match a {
        Activation::Linear => (0, 0.0),
        Activation::Tanh => (1, 0.0),
        Activation::Relu => (2, 0.0),
        Activation::Relu6 => (3, 0.0),
        Activation::Sigmoid => (4, 0.0),
        Activation::Softplus => (5, 0.0),
        Activation::Gelu => (6, 0.0),
        Activation::Silu => (7, 0.0),
        Activation::Silut { threshold } => (8, threshold),
    }
}

/// The shape of a model; rows in shared memory are chosen later.
pub fn shape_of(model: &Model, s: &Shapes, double: bool, store: Store) -> Shape {
    let o = &model.descriptor.options;
    Shape {
        double,
        widths: [s.n as u32, s.e as u32, s.a as u32],
        padded: [s.np as u32, s.ep as u32, s.ap as u32],
        edge_inputs: s.ec as u32,
        heads: s.heads as u32,
        axis: s.axis as u32,
        activation: activation_number(o.activation),
        store: match store {
            Store::Exact => 0,
            Store::F32 => 1,
            Store::F16 => 2,
            Store::Bf16 => 3,
        },
        exponential_switch: o.use_exp_switch,
        edge_cutoff: [o.e_rcut, o.e_rcut_smth],
        angle_cutoff: [o.a_rcut, o.a_rcut_smth],
        protection: o.env_protection,
        raw_distance: o.edge_init_use_dist,
        smooth: o.smooth_edge_update,
        scales: [o.edge_scale(), o.angle_scale()],
        rows: [0; 3],
    }
}

//! Padded widths of a model, and which parts of a layer are dead (specification 7.8).

use weir_engine::model::Model;

/// Widths are padded to multiples of this: lanes of every instruction set, columns of a GPU's products.
pub const PAD: usize = 16;

/// Next multiple of the padding.
pub fn padded(width: usize) -> usize {
    width.div_ceil(PAD) * PAD
}

/// Widths shared by all layers. Real widths first, padded ones with `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Layers, L.
    pub layers: usize,
    /// Dn
    pub n: usize,
    /// De
    pub e: usize,
    /// Da
    pub a: usize,
    /// Padded Dn.
    pub np: usize,
    /// Padded De.
    pub ep: usize,
    /// Padded Da.
    pub ap: usize,
    /// Heads of the node-edge message.
    pub heads: usize,
    /// X
    pub axis: usize,
    /// Width of the edge part of an angle's input.
    pub ec: usize,
    /// Whether angle messages exist at all.
    pub angles: bool,
    /// `sequential_update`: every update feeds the nodes of its own layer, so nothing is dead.
    pub sequential: bool,
}

impl Shapes {
    /// Widths of a model.
    pub fn of(model: &Model) -> Self {
        let o = &model.descriptor.options;
        // Linear compression is folded into the weights, so its input is the whole feature.
        let ec = match o.compression() {
            weir_engine::model::AngleCompression::Split => o.angle_input_widths().1,
            _ => o.e_dim,
        };
        Self {
            layers: o.nlayers,
            n: o.n_dim,
            e: o.e_dim,
            a: o.a_dim,
            np: padded(o.n_dim),
            ep: padded(o.e_dim),
            ap: padded(o.a_dim),
            heads: o.n_multi_edge_message,
            axis: o.axis_neuron,
            ec,
            angles: o.update_angle,
            sequential: o.sequential_update,
        }
    }

    /// Padded width of the node-edge messages.
    pub fn mp(&self) -> usize {
        self.heads * self.np
    }

    /// Whether a layer updates edges: the last one's update cannot reach the energy.
    pub fn updates_edges(&self, layer: usize) -> bool {
        self.sequential || layer + 1 < self.layers
    }

    /// Whether a layer computes angle messages to edges.
    pub fn has_angles(&self, layer: usize) -> bool {
        self.angles && self.updates_edges(layer)
    }

    /// Whether a layer updates angles: neither of the last two can matter.
    pub fn updates_angles(&self, layer: usize) -> bool {
        self.angles && (self.sequential || layer + 2 < self.layers)
    }

    /// Padded width of the messages on an edge: node-edge, then edge-self.
    pub fn edge_messages(&self, layer: usize) -> usize {
        self.mp() + if self.updates_edges(layer) { self.ep } else { 0 }
    }

    /// Padded width of the messages on an angle: to its edge, then to itself.
    pub fn angle_messages(&self, layer: usize) -> usize {
        match (self.has_angles(layer), self.updates_angles(layer)) {
            (false, _) => 0,
            (true, false) => self.ep,
            (true, true) => self.ep + self.ap,
        }
    }

    /// Padded width of a centre's projection: the messages of its edges, then of its angles.
    pub fn centre_projection(&self, layer: usize) -> usize {
        self.edge_messages(layer) + self.angle_messages(layer)
    }

    /// Padded width of H of one centre: 3 x (edges, then nodes).
    pub fn moments(&self) -> usize {
        3 * (self.ep + self.np)
    }

    /// Padded width of q of one centre.
    pub fn gram(&self) -> usize {
        self.axis * (self.ep + self.np)
    }
}

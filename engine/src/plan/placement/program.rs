//! The program of a placed step: what every backend interprets.

use super::inside::InsideSlot;

/// Number of a [`Slot`] in [`Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// A byte range of a tier's arena. Slots whose lifetimes do not overlap may share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// 0 is the tier that computes (`hbm`); slots of other tiers appear in [`Op::Save`] and [`Op::Load`] only.
    pub tier: u8,
    /// Bytes from the start of the tier's arena; a multiple of [`super::ALIGN`].
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Where one class (edges or angles) of one tile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the operation neither reads nor writes it.
    #[default]
    None,
    /// Layer 0: made from geometry, never stored.
    Initial,
    /// A slot of tier 0.
    Slot(SlotId),
}

/// Edge and angle features of one tile (or their adjoints).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Edge features.
    pub edges: Place,
    /// Angle features.
    pub angles: Place,
}

/// Number of a copy; every copy of a program has its own.
pub type Ticket = u32;

/// One operation. `State(l)` are the features that enter layer `l`; layers count from 0. Tiles are numbers into the list the plan was
/// made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Switches and normalised inputs of all edges; node features of layer 0.
    Geometry,
    /// Node projections of a layer, into bank `layer % banks`.
    Project {
        /// Layer.
        layer: usize,
    },
    /// A layer forward on a tile: state and nodes of the next layer. The last layer makes nodes only.
    Forward {
        /// Layer.
        layer: usize,
        /// Tile.
        tile: usize,
        /// State(layer).
        input: State,
        /// State(layer + 1).
        output: State,
    },
    /// State of the next layer only, the same bits as `Forward` writes. `output.edges == None`: angles only, because the edges of the
    /// next layer are kept.
    Rebuild {
        /// Layer.
        layer: usize,
        /// Tile.
        tile: usize,
        /// State(layer).
        input: State,
        /// State(layer + 1).
        output: State,
    },
    /// Fitting net, atomic energies, adjoint of the last node features.
    Fit,
    /// Clears what neighbours will owe in a layer. This, [`Op::Gather`] and [`Op::Finish`] are left out in layer 0, whose nodes depend on
    /// types alone.
    Clear {
        /// Layer.
        layer: usize,
    },
    /// A layer backward on a tile. The adjoint of state(layer + 1) is replaced in place by that of state(layer); where state(layer + 1)
    /// has none (edges in the last layer, angles in the last that reads them) the operation starts it.
    Backward {
        /// Layer.
        layer: usize,
        /// Tile.
        tile: usize,
        /// State(layer).
        input: State,
        /// Adjoint slots.
        adjoint: State,
    },
    /// What the tile's centres owe to their neighbours, added in ascending centre order.
    Gather {
        /// Layer.
        layer: usize,
        /// Tile.
        tile: usize,
    },
    /// Adjoint of the nodes entering the layer.
    Finish {
        /// Layer.
        layer: usize,
    },
    /// Edge gradients of a tile, once its layer 0 is done; forces and virial follow after the last tile.
    Assemble {
        /// Tile.
        tile: usize,
        /// Adjoint of state(0).
        adjoint: State,
    },
    /// Starts a copy out of tier 0 once all earlier operations are done. Copies out run in order, beside later operations and copies in.
    Save {
        /// Slot of tier 0.
        from: SlotId,
        /// Slot of another tier.
        to: SlotId,
        /// Number to wait for.
        ticket: Ticket,
    },
    /// Starts a copy into tier 0 once all earlier operations are done. Copies in run in order, beside later operations and copies out.
    Load {
        /// Slot of another tier.
        from: SlotId,
        /// Slot of tier 0.
        to: SlotId,
        /// Number to wait for.
        ticket: Ticket,
    },
    /// Waits for a copy: before the first read of a loaded slot, before either end of a copy is written again, and before a saved state
    /// is loaded.
    Wait {
        /// Number of the copy.
        ticket: Ticket,
    },
}

/// Slots and operations of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Places.
    pub slots: Vec<Slot>,
    /// Projection banks.
    pub banks: usize,
    /// Forward part, up to and including [`Op::Fit`]; no copy is under way at its end.
    pub forward: Vec<Op>,
    /// Backward part, from the seed to the last [`Op::Assemble`]; no copy is under way at its end. It uses up the kept states and expects
    /// the last projections in their banks: another seed needs another forward part.
    pub backward: Vec<Op>,
    /// Insides that are kept, in the first tier.
    pub inside: Vec<InsideSlot>,
    /// Bytes of each tier's arena; tier 0 without [`super::Problem::fixed_bytes`] and the banks.
    pub arena_bytes: Vec<u64>,
    /// Number of copies: tickets are below it.
    pub tickets: u32,
    /// Most bytes of tier 0's arena in use at once; the rest are holes between slots of different size.
    pub in_use: u64,
}

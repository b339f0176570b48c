//! The program of one step.

use super::Checkpoint;

/// Where the edge and angle features that enter a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Layer 0: rebuilt from geometry, never stored.
    Initial,
    /// A slot of the plan.
    Slot(usize),
}

/// One stored state of all edges and angles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Whether angle features are needed too (the last layer reads none).
    pub angles: bool,
}

/// One operation. Tiles are numbers into the plan's list; `layer` counts from 0; `input` and `output` are the places of the edge and
/// angle features entering the layer and the next one.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Switches and normalised inputs of all edges; node features of layer 0.
    Geometry,
    /// Node projections of a layer.
    Project { layer: usize },
    /// A layer forward on a tile: nodes, edges, angles of the next layer.
    Forward { layer: usize, tile: usize, input: Place, output: Option<Place> },
    /// Edges and angles of the next layer only, the same bits as `Forward` writes.
    Rebuild { layer: usize, tile: usize, input: Place, output: Place },
    /// Fitting net, atomic energies, adjoint of the last node features.
    Fit,
    /// Clears what neighbours will owe in a layer.
    Clear { layer: usize },
    /// A layer backward on a tile.
    Backward { layer: usize, tile: usize, input: Place },
    /// What the tile's centres owe to their neighbours, added in ascending centre order.
    Gather { layer: usize, tile: usize },
    /// Adjoint of the nodes entering the layer.
    Finish { layer: usize },
    /// Edge gradients, forces, virial.
    Assemble,
}

/// Program and slots of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Stored states.
    pub slots: Vec<Slot>,
    /// Forward part, up to and including [`Op::Fit`].
    pub forward: Vec<Op>,
    /// Backward part, from the seed to [`Op::Assemble`]; run again for each further seed (atomic virial).
    pub backward: Vec<Op>,
}

impl Program {
    /// The program of a model with `layers` layers on `tiles` tiles.
    pub fn new(layers: usize, tiles: usize, checkpoint: Checkpoint) -> Self {
        let stride = match checkpoint {
            Checkpoint::All => 1,
            Checkpoint::Every(k) => k.clamp(1, layers.max(1)),
        };
        let segment_slots = stride.min(layers).saturating_sub(1);
        let mut slots = vec![Slot { angles: true }; segment_slots];
        let mut place = vec![Place::Initial; layers];
        for (l, place) in place.iter_mut().enumerate().skip(1) {
            *place = if l % stride == 0 {
                slots.push(Slot { angles: l + 1 < layers });
                Place::Slot(slots.len() - 1)
            } else {
                Place::Slot(l % stride - 1)
            };
        }
        let mut forward = vec![Op::Geometry];
        for l in 0..layers {
            forward.push(Op::Project { layer: l });
            let output = place.get(l + 1).copied();
            forward.extend((0..tiles).map(|tile| Op::Forward { layer: l, tile, input: place[l], output }));
        }
        forward.push(Op::Fit);
        let mut backward = Vec::new();
        // The segment whose states the segment slots hold: the forward pass leaves the last one there.
        let mut held = layers.saturating_sub(1) / stride;
        for l in (0..layers).rev() {
            if l / stride != held {
                held = l / stride;
                for r in held * stride..l {
                    backward.push(Op::Project { layer: r });
                    backward.extend((0..tiles).map(|tile| Op::Rebuild {
                        layer: r,
                        tile,
                        input: place[r],
                        output: place[r + 1],
                    }));
                }
            }
            backward.push(Op::Project { layer: l });
            backward.push(Op::Clear { layer: l });
            for tile in 0..tiles {
                backward.push(Op::Backward { layer: l, tile, input: place[l] });
                backward.push(Op::Gather { layer: l, tile });
            }
            backward.push(Op::Finish { layer: l });
        }
        backward.push(Op::Assemble);
        Self { slots, forward, backward }
    }

    /// True when a backward pass leaves the slots as it found them, so that another may follow without a forward pass.
    pub fn backward_keeps_slots(&self) -> bool {
        !self.backward.iter().any(|op| matches!(op, Op::Rebuild { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program on symbols: a state is the number of the layer that it enters.
    fn replay(layers: usize, tiles: usize, checkpoint: Checkpoint) -> Program {
        let program = Program::new(layers, tiles, checkpoint);
        let mut held = vec![vec![usize::MAX; tiles]; program.slots.len()];
        let state = |held: &[Vec<usize>], place: Place, tile: usize| match place {
            Place::Initial => 0,
            Place::Slot(s) => held[s][tile],
        };
        let mut done = Vec::new();
        for op in program.forward.iter().chain(&program.backward) {
            match *op {
                Op::Forward { layer, tile, input, output } => {
                    assert_eq!(state(&held, input, tile), layer);
                    if let Some(Place::Slot(s)) = output {
                        held[s][tile] = layer + 1;
                        assert!(program.slots[s].angles || layer + 2 == layers);
                    }
                }
                Op::Rebuild { layer, tile, input, output } => {
                    assert_eq!(state(&held, input, tile), layer);
                    let Place::Slot(s) = output else { panic!() };
                    held[s][tile] = layer + 1;
                }
                Op::Backward { layer, tile, input } => {
                    assert_eq!(state(&held, input, tile), layer);
                    done.push((layer, tile));
                }
                _ => {}
            }
        }
        let expected: Vec<_> = (0..layers).rev().flat_map(|l| (0..tiles).map(move |t| (l, t))).collect();
        assert_eq!(done, expected);
        program
    }

    #[test]
    fn every_layer_finds_its_input_under_every_policy() {
        for layers in 1..18 {
            replay(layers, 3, Checkpoint::All);
            for k in 1..20 {
                replay(layers, 2, Checkpoint::Every(k));
            }
        }
    }

    #[test]
    fn kept_states_shrink_with_the_stride() {
        assert_eq!(replay(16, 1, Checkpoint::All).slots.len(), 15);
        assert_eq!(replay(16, 1, Checkpoint::Every(4)).slots.len(), 3 + 3);
        assert_eq!(replay(16, 1, Checkpoint::Every(2)).slots.len(), 7 + 1);
        assert_eq!(replay(16, 1, Checkpoint::Every(16)).slots.len(), 15);
    }
}

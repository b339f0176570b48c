//! What the adjoint of a layer needs of its inside, where the plan lets the forward pass keep it.

use super::buffers::Capacity;
use super::memory::Memory;
use super::share::Shared;
use super::simd::Real;
use crate::network::Shapes;
use std::ops::Range;

/// Numbers of one atom, edge or angle in each array of a part.
struct Widths {
    /// Moments, slopes of M1, slopes of M2.
    nodes: [usize; 3],
    /// Node-edge messages, slopes of all messages.
    edges: [usize; 2],
    /// Messages to the edge, slopes of all messages.
    angles: [usize; 2],
    /// Slopes of E2, of every edge; they go with the angles, whose messages they follow from.
    second: usize,
}

impl Widths {
    fn of(s: &Shapes, layer: usize) -> Self {
        let angles = s.has_angles(layer);
        let when = |n: usize| if angles { n } else { 0 };
        Self {
            nodes: [s.moments(), s.np, s.np],
            edges: [s.mp(), s.edge_messages(layer)],
            angles: [when(s.ep), when(s.angle_messages(layer))],
            second: when(s.ep),
        }
    }
}

/// Bytes of the parts of a layer's inside, for these atoms, edges and angles; `number` are those of a number.
pub fn bytes(s: &Shapes, layer: usize, number: u64, counts: [u64; 3]) -> [u64; 3] {
    let w = Widths::of(s, layer);
    let sum = |widths: &[usize]| widths.iter().sum::<usize>() as u64 * number;
    let [nodes, edges, angles] = counts;
    [nodes * sum(&w.nodes), edges * sum(&w.edges), angles * sum(&w.angles) + edges * sum(&[w.second])]
}

/// Seconds that keeping it saves each atom, edge and angle, from what its products, activations and bytes take: `seconds(flop,
/// activations, bytes)`.
pub fn estimate(s: &Shapes, layer: usize, number: u64, seconds: impl Fn(usize, usize, u64) -> f64) -> [f64; 3] {
    let (wd, wa) = (s.edge_messages(layer), s.angle_messages(layer));
    let ap = if layer == 0 { 0 } else { s.ap };
    let [nodes, edges, angles] = bytes(s, layer, number, [1; 3]);
    let node = seconds(2 * s.np * s.np + 2 * s.gram() * s.np, 2 * s.np, nodes);
    let edge = seconds(2 * s.ep * wd, wd, edges);
    [node, edge, if s.has_angles(layer) { seconds(2 * ap * wa, wa, angles) } else { 0.0 }]
}

/// A layer's inside during a phase. Empty where it is not kept.
#[derive(Clone, Copy)]
pub struct InsideRows<'a, T> {
    /// Moments (N x moments), slopes of M1 and of M2 (N x Np).
    pub nodes: Option<[Shared<'a, T>; 3]>,
    /// Node-edge messages (E x Mp), slopes of an edge's messages (E x edge messages).
    pub edges: Option<[Shared<'a, T>; 2]>,
    /// Messages to edges (A x Ep), slopes of an angle's messages (A x angle messages), slopes of E2 (E x Ep).
    pub angles: Option<[Shared<'a, T>; 3]>,
}

impl<'a, T: Real> InsideRows<'a, T> {
    /// Messages and slopes of these edges, `mp` and `wd` wide, where they are kept.
    ///
    /// # Safety
    /// As [`Shared::piece`].
    pub unsafe fn of_edges(&self, edges: Range<usize>, mp: usize, wd: usize) -> Option<(&'a mut [T], &'a mut [T])> {
        let [message, slope] = self.edges.as_ref()?;
        // SAFETY: the caller's promise.
        Some(unsafe {
            (message.piece(edges.start * mp, edges.len() * mp), slope.piece(edges.start * wd, edges.len() * wd))
        })
    }

    /// Messages and slopes of these angles, `ep` and `wa` wide, where they are kept.
    ///
    /// # Safety
    /// As [`Shared::piece`].
    pub unsafe fn of_angles(&self, angles: Range<usize>, ep: usize, wa: usize) -> Option<(&'a mut [T], &'a mut [T])> {
        let [message, slope, _] = self.angles.as_ref()?;
        // SAFETY: the caller's promise.
        Some(unsafe {
            (message.piece(angles.start * ep, angles.len() * ep), slope.piece(angles.start * wa, angles.len() * wa))
        })
    }

    /// Nothing is kept.
    pub fn none() -> Self {
        Self { nodes: None, edges: None, angles: None }
    }

    /// Of a layer.
    pub fn of(memory: &'a Memory, s: &Shapes, c: &Capacity, layer: usize) -> Self {
        let w = Widths::of(s, layer);
        // Arrays of a part lie one behind the other; rows are padded, so each begins where a register may.
        let split = |part: usize, lengths: &[usize]| {
            let whole = memory.inside::<T>(layer, part)?;
            let mut from = 0;
            let mut next = |len: usize| {
                from += len;
                whole.part(from - len, len)
            };
            Some([0, 1, 2].map(|k| next(lengths.get(k).copied().unwrap_or(0))))
        };
        let [moments, m1, m2] = w.nodes.map(|width| c.atoms * width);
        let [edge_message, edge_slope] = w.edges.map(|width| c.edges * width);
        let [message, slope] = w.angles.map(|width| c.angles * width);
        Self {
            nodes: split(0, &[moments, m1, m2]),
            edges: split(1, &[edge_message, edge_slope]).map(|[message, slope, _]| [message, slope]),
            angles: split(2, &[message, slope, c.edges * w.second]),
        }
    }
}

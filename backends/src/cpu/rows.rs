//! Features of the edges and angles of a tile: where they are, and the rows of one centre.

use super::clock::Class;
use super::context::Context;
use super::share::Shared;
use super::simd::Real;
use super::stored::PackedRows;
use std::ops::Range;
use weir_engine::graph::Graph;

/// Rows of one tile, in a slot of the plan: features or adjoints of its edges (x Ep) or angles (x Ap).
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    /// The slot.
    pub data: Shared<'a, T>,
    /// Edge (or angle) of the whole system that row 0 belongs to.
    pub first: usize,
    /// Padded width of a row.
    pub width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Rows of the given edges (or angles).
    ///
    /// # Safety
    /// As [`Shared::piece`].
    pub unsafe fn of(&self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { self.data.piece((range.start - self.first) * self.width, range.len() * self.width) }
    }
}

/// Where a layer's edge and angle features are.
#[derive(Clone, Copy)]
pub enum Features<'a, T> {
    /// Layer 0: made from geometry when needed.
    Initial,
    /// In slots; layers without angles have none of them.
    Stored {
        /// Edges.
        edges: Rows<'a, T>,
        /// Angles.
        angles: Option<Rows<'a, T>>,
    },
    /// In slots in fewer bits, unpacked when needed.
    Packed {
        /// Edges.
        edges: PackedRows<'a>,
        /// Angles.
        angles: Option<PackedRows<'a>>,
    },
}

/// Where features go.
#[derive(Clone, Copy)]
pub enum Target<'a, T> {
    /// Into a slot.
    Rows(Rows<'a, T>),
    /// Into a slot in fewer bits.
    Packed(PackedRows<'a>),
}

/// Edge rows of a centre: the stored ones, or layer 0's made into the scratch.
pub fn edge_rows<'s, T: Real>(
    ctx: &Context<T>,
    input: &Features<'s, T>,
    edges: Range<usize>,
    e0: &'s mut [T],
) -> &'s [T] {
    match input {
        Features::Initial => {
            ctx.embed_edges(edges.clone(), e0, &mut []);
            &e0[..edges.len() * ctx.s.ep]
        }
        // SAFETY: the rows of this centre, which only this work item touches.
        Features::Stored { edges: rows, .. } => unsafe { rows.of(edges) },
        Features::Packed { edges: rows, .. } => {
            let out = &mut e0[..edges.len() * ctx.s.ep];
            // SAFETY: as above.
            ctx.run(
                Class::Element,
                #[inline(always)]
                || unsafe { rows.unpack(edges, out) },
            );
            out
        }
    }
}

/// Angle rows of receiving edge number k of a centre, m x Ap.
///
/// # Safety
/// Only the work item of this centre touches its angles.
pub unsafe fn angle_rows<'s, T>(rows: &Rows<'s, T>, graph: &Graph, centre: usize, k: usize) -> &'s mut [T] {
    // SAFETY: the caller's promise.
    unsafe { rows.of(angle_range(graph, centre, k)) }
}

/// Angles of receiving edge number k of a centre.
pub fn angle_range(graph: &Graph, centre: usize, k: usize) -> Range<usize> {
    let m = graph.angle_edges[centre] as usize;
    let from = graph.first_angle[centre] as usize + k * m;
    from..from + m
}

/// Unpacks the angles of receiving edge number k of a centre.
pub fn unpack_angles<T: Real>(ctx: &Context<T>, rows: &Option<PackedRows>, centre: usize, k: usize, out: &mut [T]) {
    let rows = rows.as_ref().expect("a layer with angles has their features");
    // SAFETY: angles of this centre, which only its work item touches.
    ctx.run(
        Class::Element,
        #[inline(always)]
        || unsafe { rows.unpack(angle_range(ctx.graph, centre, k), out) },
    );
}

//! What the planner may keep of a layer's inside on a device: slopes of the second map of its angle edges (specification 7.5). They are a
//! sixteenth of the layer's states and save, byte by byte, several times what those do; without them the backward pass makes the sums S again before it knows their adjoint. All else is made again
//! in registers, which is faster than reading it.

use crate::network::Shapes;
use weir_engine::plan::placement::{Problem, Rates};

/// The part of an inside that they are ([`weir_engine::plan::placement::INSIDE`]): they go with the angles, which they save work on.
pub const PART: usize = 2;

/// The question with them, in numbers of so many bytes, where every tile has room for `tile_pairs` angle edges: as many may a step have in all,
/// for the device tells of tiles that overflow and of nothing else.
pub(super) fn asked(problem: Problem, s: &Shapes, number: u64, tile_pairs: usize) -> Problem {
    // Where updates follow one another a layer has several second maps.
    let keeps = |l: usize| s.has_angles(l) && !s.sequential;
    let room = tile_pairs as u64 * problem.tiles.len() as u64 * s.ep as u64 * number;
    let bytes = |l: usize| if keeps(l) { room } else { 0 };
    let inside_bytes = (0..s.layers).map(|l| [0, 0, bytes(l)]).collect();
    let rates = if problem.rates.inside.is_empty() { completed(problem.rates, s) } else { problem.rates };
    Problem { inside_bytes, inside_first: true, rates, ..problem }
}

/// Rates of backward passes that make messages once, as those of passes that do so twice, with what is won where slopes are kept. Making them is
/// half of what the angles of such a pass take, and those to the edge are Ep of the columns.
fn completed(mut rates: Rates, s: &Shapes) -> Rates {
    rates.inside = vec![Default::default(); s.layers];
    for (l, (backward, inside)) in rates.backward.iter_mut().zip(&mut rates.inside).enumerate() {
        if s.has_angles(l) {
            inside.angle = backward.angle * s.ep as f64 / (2 * s.angle_messages(l)) as f64;
            backward.angle += inside.angle;
        }
    }
    rates
}

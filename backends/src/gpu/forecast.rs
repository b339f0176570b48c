//! What a calculator asks the planner, without a device: counts of a structure, or of one as large as anybody likes.

use super::array::Writer;
use super::buffers::{Buffers, Extent};
use super::fit::FitArrays;
use super::list::list_bytes;
use super::second;
use super::weights::ModelArrays;
use super::{tile_choices, LEAST_TILE};
use crate::cpu::layout::{ask, capacity, pairs_with_room, with_room};
use crate::cpu::{Arithmetic, Census, PrecisionChoice, Terms};
use crate::network::Shapes;
use weir_engine::model::Model;
use weir_engine::plan::placement::{plan, Plan, PlanError, Problem, TileSize};
use weir_kernels::Products;

/// A model as the planner sees it on a GPU: widths, and the bytes of its weights there.
#[derive(Clone, Debug)]
pub struct GpuOutline {
    shapes: Shapes,
    extent: Extent,
    fit: FitArrays,
    weight_bytes: u64,
    arithmetic: Arithmetic,
}

impl GpuOutline {
    /// Of a model in a precision, its products made as told.
    pub fn of(model: &Model, precision: PrecisionChoice, products: Products) -> Self {
        let double = model.descriptor.options.sequential_update || !precision.is_single(model);
        let shapes = Shapes::of(model);
        let laid_out = |products| {
            let mut writer = Writer::counting(double, products);
            let weights = ModelArrays::new(&mut writer, model, &shapes);
            (weights, writer.length())
        };
        let (weights, bytes) = laid_out(products);
        // Those of a step beyond the range of halves are there too.
        let others = products.wider().filter(|_| !double).map_or(0, |wider| laid_out(wider).1);
        let fitting: usize = model.fitting.layers.iter().map(|l| l.linear.inputs * l.linear.outputs).sum();
        Self {
            arithmetic: Arithmetic::of(&shapes, fitting),
            extent: Extent::of(model, if double { 8 } else { 4 }, 0, false),
            fit: weights.fit,
            weight_bytes: bytes + others,
            shapes,
        }
    }

    /// Bytes of a number.
    pub fn number(&self) -> u64 {
        self.extent.number
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.shapes.layers
    }

    /// What its operations compute.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.arithmetic
    }

    /// The question that a calculator asks at the first step of such a configuration; moments are made again.
    pub fn problem(&self, census: &Census, terms: &Terms) -> Problem {
        self.question(census, terms, false)
    }

    /// A plan as a calculator chooses it among tile sizes: the largest edge count of a tile, the question and its answer. `counts` answers
    /// for tiles of a size.
    ///
    /// # Errors
    /// What does not fit with the smallest tiles.
    pub fn planned(
        &self,
        sizes: impl IntoIterator<Item = usize>,
        counts: impl Fn(usize) -> (Census, Terms),
    ) -> Result<(usize, Problem, Plan), PlanError> {
        let ask = |edges: usize, keeps: bool| {
            let (census, terms) = counts(edges);
            let problem = self.question(&census, &terms, keeps);
            let plan = plan(&problem)?;
            Ok((problem, plan))
        };
        let (edges, (problem, plan), _) = choose(sizes, ask, |answer: &(Problem, Plan)| (&answer.0, &answer.1))?;
        Ok((edges, problem, plan))
    }

    fn question(&self, census: &Census, terms: &Terms, keeps_moments: bool) -> Problem {
        let (s, number, total) = (&self.shapes, self.extent.number, census.total());
        let sizes: Vec<TileSize> = census.tiles.iter().map(|&t| with_room(t)).collect();
        let mut c = capacity(&sizes, census.centre_edges, census.centre_angle_edges);
        c.tile_pairs = pairs_with_room(census.tile_pairs as usize);
        let x = Extent { tiles: most_tiles(total.edges, census.tile_edges, total.atoms), keeps_moments, ..self.extent };
        let held = [0, 1].map(|banks| Buffers::new(0, s, &c, &x, &self.fit, banks).1);
        let other = self.weight_bytes + list_bytes(total.atoms, census.list_pairs, x.types);
        second::asked(ask(s, number, sizes, held, other, 1, terms), s, number, c.tile_pairs)
    }
}

/// As many tiles as there can be; they take 40 bytes each.
pub(super) fn most_tiles(edges: u64, tile_edges: u64, atoms: u64) -> u64 {
    (edges / tile_edges.max(1) * 2 + 2).min(atoms)
}

/// Tile sizes that are tried for so many edges, the largest first: of those that hold all, one.
pub fn tile_sizes(edges: usize) -> impl Iterator<Item = usize> {
    tile_choices().filter(move |n| n / 2 < edges || n / 2 < LEAST_TILE)
}

/// An answer in tiles of a size, and whether it keeps moments: it does where that costs no more time for want of memory than it saves (a
/// fortieth of what a step moves). `of` finds the plan in an answer.
pub(super) fn choose_moments<T, E>(
    ask: impl Fn(bool) -> Result<T, E>,
    of: impl Fn(&T) -> (&Problem, &Plan),
) -> Result<(T, bool), E> {
    let kept = ask(true);
    if kept.as_ref().is_ok_and(|answer| free(of(answer))) {
        return kept.map(|answer| (answer, true));
    }
    let made = ask(false)?;
    match kept {
        Ok(kept) if of(&kept).1.prediction.seconds <= 1.01 * of(&made).1.prediction.seconds => Ok((kept, true)),
        _ => Ok((made, false)),
    }
}

/// An answer with its tile size, and whether it keeps moments. Where memory is short, smaller tiles are tried, whose live states and scratch
/// are smaller, as long as that saves time. The error is that of the smallest: the budget that it names is enough.
pub(super) fn choose<T, E>(
    sizes: impl IntoIterator<Item = usize>,
    ask: impl Fn(usize, bool) -> Result<T, E>,
    of: impl Fn(&T) -> (&Problem, &Plan),
) -> Result<(usize, T, bool), E> {
    let mut best: Option<(usize, T, bool)> = None;
    let mut error = None;
    for edges in sizes {
        match choose_moments(|keeps| ask(edges, keeps), &of) {
            Ok((answer, keeps)) => {
                let seconds = of(&answer).1.prediction.seconds;
                if best.as_ref().is_some_and(|old| seconds > 0.99 * of(&old.1).1.prediction.seconds) {
                    break;
                }
                let done = !moves(of(&answer).1);
                best = Some((edges, answer, keeps));
                if done {
                    break;
                }
            }
            Err(e) => error = Some(e),
        }
    }
    best.ok_or_else(|| error.expect("some size was tried"))
}

/// Whether memory is short in no way: nothing is copied or rebuilt, and all insides that are wanted are kept.
fn free((problem, plan): (&Problem, &Plan)) -> bool {
    !moves(plan) && problem.keeps_insides(plan)
}

/// Whether a plan copies or rebuilds anything.
fn moves(plan: &Plan) -> bool {
    let p = &plan.prediction;
    p.rebuild > 0.0 || p.out_bytes.iter().chain(&p.load_bytes).any(|&b| b > 0)
}

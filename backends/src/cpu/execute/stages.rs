//! The phases of a step, each on the tiles that its operation names.

use super::super::assemble::edge_gradients;
use super::super::backward::BackwardLayer;
use super::super::clock::Class;
use super::super::context::{round_geometry, Context};
use super::super::fit::FIT_BLOCK;
use super::super::forward::ForwardLayer;
use super::super::inside::InsideRows;
use super::super::kernels_moments::Gather;
use super::super::scratch::block;
use super::super::share::Shared;
use super::super::simd::{Old, Real};
use super::super::slots::{angle_rows, edge_rows, features, targets};
use super::Executor;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Mutex;
use weir_engine::backend::ComputeError;
use weir_engine::graph::Graph;
use weir_engine::plan::placement::{Place, State};
use weir_engine::reference::output_rule;

/// Pieces of work of a range, in parallel; each piece gets the scratch of its thread.
fn parallel<S: Send>(
    scratch: &[Mutex<S>],
    range: Range<usize>,
    block: usize,
    f: impl Fn(Range<usize>, &mut S) + Send + Sync,
) {
    let count = range.len().div_ceil(block);
    (0..count).into_par_iter().with_max_len(1).for_each(|b| {
        let from = range.start + b * block;
        let thread = rayon::current_thread_index().unwrap_or(0) % scratch.len();
        let mut scratch = scratch[thread].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        f(from..(from + block).min(range.end), &mut scratch);
    });
}

/// Fills a buffer, each thread parts of 64 KiB.
fn fill<V: Copy + Send + Sync>(buffer: &mut [V], value: V) {
    let part = (1 << 16) / std::mem::size_of::<V>();
    buffer.par_chunks_mut(part).for_each(|part| part.fill(value));
}

/// Centres in work items of the size that suits their number.
fn over_centres<S: Send>(scratch: &[Mutex<S>], centres: Range<usize>, f: impl Fn(Range<usize>, &mut S) + Send + Sync) {
    let size = block(centres.len(), scratch.len());
    parallel(scratch, centres, size, f);
}

/// The surroundings of a phase. A macro, because it borrows single fields while the phase writes others.
macro_rules! context {
    ($executor:ident, $buffers:ident, $graph:ident) => {
        Context {
            clock: &$executor.clock,
            arch: $executor.arch,
            s: &$executor.shapes,
            model: &$executor.model,
            graph: $graph,
            activator: &$executor.activator,
            geometry: &$buffers.geometry[..$graph.edges()],
            exact: &$buffers.exact[..$graph.edges()],
            embedding: &$executor.embedding,
        }
    };
}

impl<T: Real> Executor<T> {
    pub(super) fn geometry(&mut self, graph: &Graph) {
        let edges = graph.edges();
        let b = &mut self.buffers;
        round_geometry(&self.model, graph, &mut b.geometry[..edges], &mut b.exact[..edges]);
        let (n, np, first) = (self.shapes.n, self.shapes.np, &self.first);
        let nodes = &mut self.buffers.nodes[0][..graph.atoms() * np];
        nodes.par_chunks_exact_mut(np).zip(&graph.types).with_min_len(64).for_each(|(row, &t)| {
            let t = t.max(0) as usize;
            row[..n].copy_from_slice(&first[t * n..(t + 1) * n]);
        });
    }

    /// The centre of every edge.
    pub(super) fn number_centres(&mut self, graph: &Graph) {
        let centres = Shared::new(&mut self.buffers.edge_centre);
        (0..graph.atoms()).into_par_iter().with_min_len(64).for_each(|i| {
            let edges = graph.edges_of(i);
            // SAFETY: the edges of this centre.
            unsafe { centres.piece(edges.start, edges.len()) }.fill(i as u32);
        });
    }

    /// Adjoints that a backward pass begins with.
    pub(super) fn seed_adjoints(&mut self, graph: &Graph, weight: impl Fn(usize) -> f64 + Sync) {
        let (np, n) = (self.shapes.np, self.shapes.n);
        let (owned, b) = (self.exchange.owned(graph.atoms()), &mut self.buffers);
        let rows = b.node_bar[..graph.atoms() * np].par_chunks_exact_mut(np);
        rows.zip(b.seed.par_chunks_exact(n)).enumerate().with_min_len(64).for_each(|(i, (row, seed))| {
            let w = if (graph.order[i] as usize) < owned { weight(i) } else { 0.0 };
            row.fill(T::default());
            for (x, g) in row.iter_mut().zip(seed) {
                *x = T::from_f64(w * g);
            }
        });
        fill(&mut b.geometry_bar[..graph.edges()], [0.0; 5]);
    }

    /// Sums of a layer's gathers begin.
    pub(super) fn clear(&mut self, graph: &Graph, layer: usize) {
        let (atoms, s) = (graph.atoms(), &self.shapes);
        fill(&mut self.buffers.message_sum[..atoms * s.edge_messages(layer)], T::default());
        fill(&mut self.buffers.node_sum[..atoms * s.np], T::default());
    }

    pub(super) fn project(&mut self, graph: &Graph, layer: usize) {
        let (s, w, arch, clock) = (&self.shapes, &self.layers[layer], self.arch, &self.clock);
        let (wc, wd) = (s.centre_projection(layer), s.edge_messages(layer));
        let nodes = &self.buffers.nodes[layer];
        let banks = self.layout.plan.program.banks;
        let (centre, neighbour) = &mut self.buffers.banks[layer % banks];
        let (centre, neighbour) = (Shared::new(centre), Shared::new(neighbour));
        parallel(&self.scratch, 0..graph.atoms(), 2 * block(graph.atoms(), self.scratch.len()), |block, _| {
            let rows = block.len();
            // SAFETY: the rows of this block.
            let (c, n) =
                unsafe { (centre.piece(block.start * wc, rows * wc), neighbour.piece(block.start * wd, rows * wd)) };
            for row in c.chunks_exact_mut(wc) {
                row.copy_from_slice(&w.centre_bias);
            }
            let a = &nodes[block.start * s.np..];
            clock.product(rows, s.np, wc, || w.centre.forward.multiply(arch, rows, a, s.np, c, wc, wc, Old::Continued));
            clock.product(rows, s.np, wd, || {
                w.neighbour.forward.multiply(arch, rows, a, s.np, n, wd, wd, Old::Overwritten)
            });
        });
    }

    pub(super) fn layer(
        &mut self,
        graph: &Graph,
        layer: usize,
        tile: usize,
        input: State,
        output: State,
        with_nodes: bool,
    ) -> Result<(), ComputeError> {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let (before, after) = b.nodes.split_at_mut(layer + 1);
        let nodes_out = with_nodes.then(|| Shared::new(&mut after[0]));
        let context = context!(self, b, graph);
        let (centre, neighbour) = &b.banks[layer % self.layout.plan.program.banks];
        let inside = InsideRows::of(&self.memory, s, &self.layout.capacity, layer);
        let [edges_out, angles_out] = targets(&self.memory, s, tile, output, self.store);
        let forward = ForwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &before[layer],
            centre,
            neighbour,
            input: features(&self.memory, s, tile, input, self.store),
            edges_out,
            angles_out,
            beyond: &self.beyond,
            nodes_out,
            inside: if with_nodes { inside } else { InsideRows::none() },
        };
        let angles_only = !with_nodes && output.edges == Place::None;
        over_centres(&self.scratch, tile.centres.clone(), |block, t| match angles_only {
            true => forward.angles_only(&context, block, &mut t.0),
            false => forward.block(&context, block, &mut t.0),
        });
        match self.beyond.take() {
            Some(value) => Err(ComputeError::Stored { layer: layer + 1, value, store: self.store.to_string() }),
            None => Ok(()),
        }
    }

    pub(super) fn fitting(&mut self, graph: &Graph) {
        let (b, clock) = (&mut self.buffers, &self.clock);
        let (s, model, fit) = (&self.shapes, &self.model, &self.fit);
        let nodes = &b.nodes[s.layers];
        let (energies, seed) = (Shared::new(&mut b.energies), Shared::new(&mut b.seed));
        let (parameters, z) = (self.parameters.as_ref().expect("forward sets them"), &self.z);
        parallel(&self.scratch, 0..graph.atoms(), FIT_BLOCK, |block, (_, t, rows)| {
            let (width, count) = (fit.inputs(), block.len());
            for (k, i) in block.clone().enumerate() {
                let t = graph.types[i].max(0) as usize;
                let node = |c: usize| nodes[i * s.np + c].to_f64();
                let row = &mut rows[k * width..(k + 1) * width];
                fit.fill_input(model, parameters, graph.order[i] as usize, node, &z[t * s.n..(t + 1) * s.n], row);
            }
            // SAFETY: the rows of this block.
            let (e, seed) = unsafe { (energies.piece(block.start, count), seed.piece(block.start * s.n, count * s.n)) };
            fit.evaluate(count, rows, e, t, clock);
            for (k, i) in block.enumerate() {
                let (factor, shift) = output_rule(model, graph.types[i]);
                // A type without network energy is selected out, not multiplied: its net may be anything.
                e[k] = if factor == 0.0 { shift } else { factor * e[k] + shift };
                for c in 0..s.n {
                    seed[k * s.n + c] = if factor == 0.0 { 0.0 } else { factor * rows[k * width + c] };
                }
            }
        });
    }

    pub(super) fn layer_backward(&mut self, graph: &Graph, layer: usize, tile: usize, input: State, adjoint: State) {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let context = context!(self, b, graph);
        let (centre, neighbour) = &b.banks[layer % self.layout.plan.program.banks];
        let backward = BackwardLayer {
            layer,
            weights: &self.layers[layer],
            nodes: &b.nodes[layer],
            centre,
            neighbour,
            input: features(&self.memory, s, tile, input, self.store),
            node_bar: &b.node_bar,
            e_bar: edge_rows(&self.memory, s, tile, adjoint.edges).expect("edges have adjoints in every layer"),
            a_bar: angle_rows(&self.memory, s, tile, adjoint.angles),
            self_bar: Shared::new(&mut b.self_bar),
            centre_bar: Shared::new(&mut b.centre_bar),
            moment_bar: Shared::new(&mut b.moment_bar),
            message_bar: Shared::new(&mut b.message_bar),
            first_edge: tile.edges.start,
            geometry_bar: Shared::new(&mut b.geometry_bar),
            inside: InsideRows::of(&self.memory, s, &self.layout.capacity, layer),
        };
        over_centres(&self.scratch, tile.centres.clone(), |block, t| backward.block(&context, block, &mut t.0));
    }

    pub(super) fn gather(&mut self, graph: &Graph, layer: usize, tile: usize) {
        let (b, clock) = (&mut self.buffers, &self.clock);
        let (wd, np, arch) = (self.shapes.edge_messages(layer), self.shapes.np, self.arch);
        let edges = self.tiles[tile].edges.clone();
        let (message_sum, node_sum) = (Shared::new(&mut b.message_sum), Shared::new(&mut b.node_sum));
        let (messages, moments, geometry) = (&b.message_bar, &b.moment_bar, &b.geometry);
        let centres = &b.edge_centre[edges.clone()];
        parallel(&self.scratch, 0..graph.atoms(), 64, |block, _| {
            for j in block {
                let all = &graph.incoming[graph.first_incoming[j] as usize..graph.first_incoming[j + 1] as usize];
                let from = all.partition_point(|&e| (e as usize) < edges.start);
                let to = all.partition_point(|&e| (e as usize) < edges.end);
                if from == to {
                    continue;
                }
                // SAFETY: the rows of owner j.
                let (message_sum, node_sum) = unsafe { (message_sum.piece(j * wd, wd), node_sum.piece(j * np, np)) };
                let gather = Gather {
                    incoming: &all[from..to],
                    first: edges.start,
                    messages,
                    wd,
                    centres,
                    geometry,
                    moments,
                    np,
                    message_sum,
                    node_sum,
                };
                clock.time(Class::Reduce, || arch.dispatch(gather));
            }
        });
    }

    pub(super) fn finish(&mut self, graph: &Graph, layer: usize) {
        let (b, clock) = (&mut self.buffers, &self.clock);
        let (s, w, arch) = (&self.shapes, &self.layers[layer], self.arch);
        let (wc, wd, np) = (s.centre_projection(layer), s.edge_messages(layer), s.np);
        let node_bar = Shared::new(&mut b.node_bar);
        let (self_bar, centre_bar, message_sum, node_sum) = (&b.self_bar, &b.centre_bar, &b.message_sum, &b.node_sum);
        over_centres(&self.scratch, 0..graph.atoms(), |block, t| {
            let (from, rows) = (block.start, block.len());
            // SAFETY: the rows of this block.
            let bar = unsafe { node_bar.piece(from * np, rows * np) };
            // Summed apart and joined once, as in `backward`.
            let sum = &mut t.0.n1[..rows * np];
            sum.copy_from_slice(&node_sum[from * np..(from + rows) * np]);
            for (matrix, bar, width) in [
                (&w.node_self.adjoint, &self_bar[from * np..], np),
                (&w.centre.adjoint, &centre_bar[from * wc..], wc),
                (&w.neighbour.adjoint, &message_sum[from * wd..], wd),
            ] {
                clock.product(rows, width, np, || matrix.multiply(arch, rows, bar, width, sum, np, np, Old::Continued));
            }
            let keep = w.keep[0].to_f64();
            for (x, y) in bar.iter_mut().zip(&*sum) {
                *x = T::from_f64(keep * x.to_f64() + y.to_f64());
            }
        });
    }

    pub(super) fn assemble(&mut self, graph: &Graph, tile: usize, adjoint: State) {
        let (s, b) = (&self.shapes, &mut self.buffers);
        let tile = &self.tiles[tile];
        let context = context!(self, b, graph);
        let gradient = Shared::new(&mut b.gradient);
        let e_bar = edge_rows(&self.memory, s, tile, adjoint.edges).expect("edges have adjoints in every layer");
        let a_bar = angle_rows(&self.memory, s, tile, adjoint.angles);
        let geometry_bar = &b.geometry_bar;
        over_centres(&self.scratch, tile.centres.clone(), |block, t| {
            for i in block {
                let edges = graph.edges_of(i);
                // SAFETY: the edges of this centre.
                let out = unsafe { gradient.piece(edges.start, edges.len()) };
                edge_gradients(&context, i, &e_bar, a_bar.as_ref(), &geometry_bar[edges], &mut t.0, out);
            }
        });
    }
}

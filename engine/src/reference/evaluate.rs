//! Energy, forces, virial and atomic virial of the reference (specification section 12).

use super::descriptor::descriptor;
use super::fitting::atomic_energies;
use super::inputs::{initial_node_features, ParameterError, ResolvedParameters};
use super::tape::Tape;
use crate::backend::{FrameParameters, Request, Results};
use crate::graph::Graph;
use crate::model::Model;

/// Results and, for tests, every named intermediate with its adjoint.
pub struct Evaluation {
    /// Energy, forces, virial in input order.
    pub results: Results,
    /// Bytes of values and adjoints on the tape.
    pub bytes: u64,
    /// Every named intermediate, sorted order.
    pub intermediates: Vec<Intermediate>,
}

/// One matrix of the run.
pub struct Intermediate {
    /// Name as in DeePMD-kit's fixtures.
    pub name: String,
    /// Rows: atoms, edges or angles.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Values, row-major.
    pub value: Vec<f64>,
    /// `dE/dvalue`, where the energy depends on it.
    pub adjoint: Option<Vec<f64>>,
}

/// Evaluates the model on a graph.
///
/// `wrapped` are the positions (input order, A) that atomic virials refer to: inside the cell when there is one.
///
/// # Errors
/// [`ParameterError`] when a parameter that the model needs is missing.
pub fn evaluate(
    model: &Model,
    graph: &Graph,
    wrapped: &[[f64; 3]],
    parameters: &FrameParameters,
    request: Request,
) -> Result<Evaluation, ParameterError> {
    let atoms = graph.atoms();
    let parameters = ResolvedParameters::new(model, atoms, parameters)?;
    let z = initial_node_features(model, &parameters);
    let mut tape = Tape::default();
    let trace = descriptor(&mut tape, model, graph, &z);
    let energies = atomic_energies(&mut tape, model, graph, &parameters, trace.output);
    let adjoints = tape.backward(energies, vec![1.0; atoms]);
    let zero = vec![0.0; graph.edges() * 3];
    let gradient = adjoints.of(trace.vectors).unwrap_or(&zero).to_vec();
    let mut results = assemble(graph, &gradient);
    for (s, &input) in graph.order.iter().enumerate() {
        results.atomic_energy[input as usize] = tape.value(energies)[s];
    }
    results.energy = results.atomic_energy.iter().sum();
    if request.atomic_virial {
        let mut p = Vec::new();
        for l in 0..3 {
            let seed = graph.order.iter().map(|&i| wrapped[i as usize][l]).collect();
            let adjoints = tape.backward(energies, seed);
            p.push(adjoints.of(trace.vectors).unwrap_or(&zero).to_vec());
        }
        results.atomic_virial = Some(atomic_virial(graph, wrapped, &gradient, &p));
    }
    let mut named = trace.named;
    named.push(("fit.in".into(), trace.output));
    let intermediates = named.into_iter().map(|(name, var)| {
        let (rows, columns) = tape.shape(var);
        Intermediate {
            name,
            rows,
            columns,
            value: tape.value(var).to_vec(),
            adjoint: adjoints.of(var).map(<[f64]>::to_vec),
        }
    });
    Ok(Evaluation { intermediates: intermediates.collect(), bytes: 2 * tape.bytes(), results })
}

/// Forces and virial from edge gradients `dE/dd_e`.
fn assemble(graph: &Graph, gradient: &[f64]) -> Results {
    let atoms = graph.atoms();
    let mut out = Results { atomic_energy: vec![0.0; atoms], forces: vec![[0.0; 3]; atoms], ..Default::default() };
    for i in 0..atoms {
        for e in graph.edges_of(i) {
            let j = graph.order[graph.neighbour[e] as usize] as usize;
            let i = graph.order[i] as usize;
            for k in 0..3 {
                let g = gradient[e * 3 + k];
                out.forces[i][k] += g;
                out.forces[j][k] -= g;
                for l in 0..3 {
                    out.virial[k][l] -= g * graph.vector[e][l];
                }
            }
        }
    }
    out
}

/// `W_k[a][l]` of specification section 12; `p[l]` are the edge gradients seeded with coordinate l of the centre atoms.
fn atomic_virial(graph: &Graph, wrapped: &[[f64; 3]], gradient: &[f64], p: &[Vec<f64>]) -> Vec<[f64; 9]> {
    let mut out = vec![[0.0; 9]; graph.atoms()];
    for i in 0..graph.atoms() {
        for e in graph.edges_of(i) {
            let j = graph.order[graph.neighbour[e] as usize] as usize;
            let i = graph.order[i] as usize;
            for a in 0..3 {
                for l in 0..3 {
                    let centre = gradient[e * 3 + a] * wrapped[i][l] - p[l][e * 3 + a];
                    let image = gradient[e * 3 + a] * (wrapped[i][l] + graph.vector[e][l]) - p[l][e * 3 + a];
                    out[i][a * 3 + l] += centre;
                    out[j][a * 3 + l] -= image;
                }
            }
        }
    }
    out
}

//! Random models of published shapes are tame.

use weir_engine::backend::{FrameParameters, Request};
use weir_engine::graph::{summation_order, Graph, GraphOptions, NeighbourList};
use weir_engine::model::new_model;
use weir_engine::reference::evaluate;

/// Water molecules in their equilibrium geometry on a lattice of hydrogen-bond length.
fn water(edge: usize) -> (Vec<&'static str>, Vec<[f64; 3]>) {
    let molecule = [("O", [0.0, 0.0, 0.0]), ("H", [0.9572, 0.0, 0.0]), ("H", [-0.239988, 0.926627, 0.0])];
    let (mut symbols, mut positions) = (Vec::new(), Vec::new());
    for cell in 0..edge * edge * edge {
        let at = [cell % edge, cell / edge % edge, cell / edge / edge].map(|i| i as f64 * 2.9);
        for (k, (symbol, x)) in molecule.iter().enumerate() {
            // Every other molecule is turned about z by a quarter.
            let x = if cell % 2 == 0 { *x } else { [-x[1], x[0], x[2]] };
            symbols.push(*symbol);
            positions.push([at[0] + x[0], at[1] + x[1], at[2] + x[2] + 0.01 * k as f64]);
        }
    }
    (symbols, positions)
}

fn largest_force(preset: &str, seed: u64, edge: usize) -> f64 {
    let model = new_model(preset, seed).unwrap();
    let (symbols, positions) = water(edge);
    let types: Vec<i32> = symbols.iter().map(|s| model.type_of(s).unwrap() as i32).collect();
    let order = summation_order(&positions, None).unwrap();
    let options = GraphOptions::of(&model);
    let list = NeighbourList::build(&positions, None, &types, &order, options.edge_cutoff, 0.0).unwrap();
    let mut graph = Graph::default();
    graph.fill(&list, &positions, None, &types, &options).unwrap();
    let run = evaluate(&model, &graph, &positions, &FrameParameters::default(), Request::default()).unwrap();
    let norm = |f: &[f64; 3]| f.iter().map(|x| x * x).sum::<f64>().sqrt();
    run.results.forces.iter().map(norm).fold(0.0, f64::max)
}

#[test]
fn forces_of_a_preset_at_a_relaxed_geometry_are_small_and_not_zero() {
    for (preset, seed, edge) in
        [("tiny", 1, 2), ("tiny", 2, 2), ("tiny", 3, 2), ("tiny", 4, 2), ("dpa-3.1-3m", 1, 2), ("dpa-3.2-5m", 1, 1)]
    {
        let force = largest_force(preset, seed, edge);
        println!("{preset} seed {seed}: {force:.4} eV/A");
        assert!((1e-4..2.0).contains(&force), "{preset} seed {seed}: {force} eV/A");
    }
}

//! The f64 reference equals DeePMD-kit 3.2.0: energies to 1e-10 relative, everything else to 1e-9, for every option.
#![allow(missing_docs)]

mod common;

use common::*;
use weir_engine::backend::Request;
use weir_engine::reference::{evaluate, Intermediate};

fn check(folder: &std::path::Path, largest: usize) -> usize {
    let model = load_model(&folder.join("model.dp"));
    let mut checked = 0;
    for path in references(folder) {
        let reference = Reference::read(&path);
        if reference.positions.len() > largest {
            continue;
        }
        let graph = reference.graph(&model);
        let request = Request { atomic_virial: reference.exact("atom_virial").is_some() };
        let got = evaluate(&model, &graph, &reference.wrapped(), &reference.parameters, request).unwrap().results;
        let label = format!("{} {}", folder.file_name().unwrap().to_string_lossy(), reference.name);
        let energy = reference.exact("energy").unwrap()[0];
        assert!((got.energy - energy).abs() <= 1e-10 * energy.abs().max(1.0), "{label}: {} {energy}", got.energy);
        let mut pairs = vec![
            ("atom_energy", got.atomic_energy.clone()),
            ("force", got.forces.concat()),
            ("virial", got.virial.concat()),
        ];
        if let Some(v) = &got.atomic_virial {
            pairs.push(("atom_virial", v.concat()));
        }
        for (name, value) in pairs {
            let d = largest_difference(&value, reference.exact(name).unwrap());
            assert!(d <= 1e-9, "{label} {name}: {d:e}");
        }
        checked += 1;
    }
    checked
}

#[test]
fn reference_equals_deepmd_kit_on_carried_models() {
    let mut checked = 0;
    for folder in model_folders(&data("parity")) {
        checked += check(&folder, 100);
    }
    assert!(checked >= 10, "only {checked} references carried");
}

#[test]
fn reference_equals_deepmd_kit_on_every_fixture() {
    let Some(shared) = shared() else {
        println!("skipped: no fixture folder (set WEIR_SHARED)");
        return;
    };
    let mut checked = 0;
    for folder in model_folders(&shared.join("fixtures/models")) {
        // The published shape keeps gigabytes on the tape; the CPU backend's parity test covers it.
        if folder.ends_with("dpa31_3m") {
            continue;
        }
        checked += check(&folder, 100);
    }
    println!("{checked} reference results");
    assert!(checked > 100);
}

#[test]
fn layer_by_layer_intermediates_equal_deepmd_kit() {
    let Some(shared) = shared() else {
        println!("skipped: no fixture folder (set WEIR_SHARED)");
        return;
    };
    let mut compared = 0;
    for file in ["tiny__molecule", "tiny__triclinic", "edge_dist__molecule", "fixed_nonsmooth_trunc__molecule"] {
        let (model_name, structure) = file.split_once("__").unwrap();
        let folder = shared.join("fixtures/models").join(model_name);
        let model = load_model(&folder.join("model.dp"));
        let reference = Reference::read(&folder.join("ref").join(format!("{structure}.safetensors")));
        let graph = reference.graph(&model);
        let run = evaluate(&model, &graph, &reference.wrapped(), &reference.parameters, Request::default()).unwrap();
        let stored = tensors(&shared.join("fixtures/intermediates").join(format!("{file}.safetensors")));
        for Intermediate { name, rows, columns: cols, value, adjoint } in &run.intermediates {
            // Node quantities: one row an atom, in both programs; sorted order here, input order there.
            if *rows != graph.atoms() || name == "fit.in" && model.fitting.numb_fparam > 0 {
                continue;
            }
            let to_input = |v: &[f64]| {
                let mut out = vec![0.0; v.len()];
                for (s, &i) in graph.order.iter().enumerate() {
                    out[i as usize * cols..(i as usize + 1) * cols].copy_from_slice(&v[s * cols..(s + 1) * cols]);
                }
                out
            };
            if let Some(expected) = stored.get(name) {
                let d = largest_difference(&to_input(value), expected);
                assert!(d < 1e-11, "{file} {name}: {d:e}");
                compared += 1;
            }
            if let (Some(expected), Some(adjoint)) = (stored.get(&format!("grad.{name}")), adjoint) {
                let d = largest_difference(&to_input(adjoint), expected);
                assert!(d < 1e-10, "{file} grad {name}: {d:e}");
                compared += 1;
            }
        }
        compared += compare_edges(&graph, &run.intermediates, &stored, file);
    }
    assert!(compared > 150, "{compared}");
}

/// Edge and angle quantities of dynamic-selection files: matched through the flattened order, centre by centre.
fn compare_edges(
    graph: &weir_engine::graph::Graph,
    run: &[Intermediate],
    stored: &std::collections::BTreeMap<String, Vec<f64>>,
    file: &str,
) -> usize {
    if !stored.contains_key("angle_index") || file.starts_with("fixed") {
        return 0;
    }
    // The stored arrays are centre-major in input order; ours in sorted order: list our rows in theirs.
    let mut position = vec![0; graph.atoms()];
    for (s, &i) in graph.order.iter().enumerate() {
        position[i as usize] = s;
    }
    let edge_rows: Vec<usize> = position.iter().flat_map(|&s| graph.edges_of(s)).collect();
    let angle_rows: Vec<usize> =
        position.iter().flat_map(|&s| graph.first_angle[s] as usize..graph.first_angle[s + 1] as usize).collect();
    let mut compared = 0;
    for Intermediate { name, rows, columns: cols, value, adjoint } in run {
        let order = match *rows {
            r if r == graph.edges() => &edge_rows,
            r if r as u64 == graph.angles() => &angle_rows,
            _ => continue,
        };
        let pick = |v: &[f64]| -> Vec<f64> {
            order.iter().flat_map(|&r| v[r * cols..(r + 1) * cols].iter().copied()).collect()
        };
        for (key, ours) in [(name.clone(), Some(value)), (format!("grad.{name}"), adjoint.as_ref())] {
            if let (Some(expected), Some(ours)) = (stored.get(&key), ours) {
                if expected.len() == ours.len() && *rows > graph.atoms() {
                    let d = largest_difference(&pick(ours), expected);
                    assert!(d < 1e-10, "{file} {key}: {d:e}");
                    compared += 1;
                }
            }
        }
    }
    compared
}

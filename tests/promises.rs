//! The promises on the fused CPU backend.
#![allow(missing_docs)]

mod common;

#[path = "bodies/promises.rs"]
mod bodies;

use common::{bits, system, Cpu, Settings};
use weir_backends::cpu::PrecisionChoice;

#[test]
fn forces_are_minus_gradient() {
    bodies::forces_are_minus_gradient::<Cpu>(20);
}

#[test]
fn virial_is_the_strain_derivative() {
    bodies::virial_is_the_strain_derivative::<Cpu>();
}

#[test]
fn translation_rotation_wrapping_and_permutation_change_nothing() {
    bodies::translation_rotation_wrapping_and_permutation_change_nothing::<Cpu>();
}

#[test]
fn a_doubled_cell_doubles_the_energy() {
    bodies::a_doubled_cell_doubles_the_energy::<Cpu>();
}

#[test]
fn energy_is_smooth_when_an_atom_crosses_a_cutoff() {
    bodies::energy_is_smooth_when_an_atom_crosses_a_cutoff::<Cpu>();
}

#[test]
fn same_bits_under_every_thread_count_tile_checkpoint_and_skin() {
    bodies::same_bits_under_every_thread_count_tile_checkpoint_and_skin::<Cpu>(70);
}

/// Work items are the CPU's own: of 36, 18 and 12 centres where 1, 2 and 3 threads share 300.
#[test]
fn same_bits_under_every_size_of_work_items() {
    for (name, precision) in [("tiny", PrecisionChoice::F64), ("tiny32", PrecisionChoice::F32)] {
        let model = bodies::model(name);
        let cell = bodies::triclinic(bodies::scaled(9.5, 300, 70));
        let (x, types) = system(300, bodies::scaled(9.0, 300, 70), 19, model.types());
        let with = |threads| {
            let settings = Settings { precision, threads, tile_edges: 1 << 20, ..Default::default() };
            bits(&bodies::run::<Cpu>(&model, &settings, &x, &cell, &types))
        };
        let expected = with(1);
        for threads in [2, 3] {
            assert_eq!(with(threads), expected, "{name}, {threads} threads");
        }
    }
}

#[test]
fn a_list_outlives_changes_of_the_cell() {
    bodies::a_list_outlives_changes_of_the_cell::<Cpu>(60);
}

#[test]
fn repeats_are_bit_identical_and_an_old_list_gives_the_bits_of_a_new_one() {
    bodies::repeats_are_bit_identical_and_an_old_list_gives_the_bits_of_a_new_one::<Cpu>(60);
}

#[test]
fn an_overflowing_plan_is_laid_out_again_and_repeats_its_step() {
    bodies::an_overflowing_plan_is_laid_out_again_and_repeats_its_step::<Cpu>(60);
}

#[test]
fn bad_configurations_are_named() {
    bodies::bad_configurations_are_named::<Cpu>();
}

#[test]
fn an_empty_system_and_a_lone_atom_have_an_energy() {
    bodies::an_empty_system_and_a_lone_atom_have_an_energy::<Cpu>();
}

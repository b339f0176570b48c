//! The GPU backend on the emulated device: the same promises and the same parity as on the CPU, from the same bodies.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../bodies/parity.rs"]
mod parity;
#[path = "../bodies/promises.rs"]
mod promises;

mod compiled;
mod faults;
mod given;
mod heavy;
mod insides;
mod lanes;
mod lists;
mod placed;
mod products;
mod ptx;
mod ranges;
mod recorded;
mod resident;
mod sanitizers;
mod shallow;
mod streams;
mod verified;
mod watched;
mod widened;

use common::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuCalculator, GpuOptions};
use weir_engine::model::Model;

impl Counted for GpuCalculator {
    fn plans(&self) -> usize {
        self.plans()
    }
    fn list_builds(&self) -> usize {
        self.list_builds()
    }
}

/// The emulated device, every access watched.
struct Watched;
/// The same without watching, for the many steps of the promises.
struct Fast;
/// Without watching, and with waves of 64.
struct Wide;

/// Compiled kernels stay from run to run.
fn kept() -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels"))
}

fn make(watch: Watch, wave: u32, model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
    let driver = Arc::new(Emulated::new(EmulatedOptions { watch, wave, ..Default::default() }));
    let options = GpuOptions {
        precision: s.precision,
        checkpoint: s.checkpoint,
        skin: s.skin,
        tile_edges: s.tile_edges,
        poison: watch == Watch::Memory,
        cache_dir: kept(),
        ..Default::default()
    };
    Box::new(create(driver, model.clone(), types, &options).unwrap())
}

impl Backend for Watched {
    const THREADS: &'static [usize] = &[1];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
        make(Watch::Memory, 32, model, types, s)
    }
}

impl Backend for Fast {
    const THREADS: &'static [usize] = &[1];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
        make(Watch::Nothing, 32, model, types, s)
    }
}

impl Backend for Wide {
    const THREADS: &'static [usize] = &[1];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
        make(Watch::Nothing, 64, model, types, s)
    }
}

#[test]
fn carried_models_equal_deepmd_kit_on_waves_of_64() {
    parity::carried_models_equal_deepmd_kit::<Wide>(20);
}

#[test]
fn carried_models_equal_deepmd_kit_and_break_no_rule_of_memory() {
    parity::carried_models_equal_deepmd_kit::<Watched>(20);
}

/// Structures of up to 40 atoms, of a third of the models each: the longest of all tests, which would run on when other cores have nothing to do.
mod every_fixture_equals_deepmd_kit {
    use super::{parity::every_fixture_equals_deepmd_kit, Fast};

    #[test]
    fn first_third() {
        every_fixture_equals_deepmd_kit::<Fast>(40, 0, 3);
    }

    #[test]
    fn second_third() {
        every_fixture_equals_deepmd_kit::<Fast>(40, 1, 3);
    }

    #[test]
    fn last_third() {
        every_fixture_equals_deepmd_kit::<Fast>(40, 2, 3);
    }

    /// The boxes of 81 atoms too, a quarter of an hour: a long check (docs/checks.md).
    #[test]
    #[ignore = "a quarter of an hour"]
    fn with_large_ones() {
        every_fixture_equals_deepmd_kit::<Fast>(100, 0, 1);
    }
}

#[test]
fn forces_are_minus_gradient() {
    promises::forces_are_minus_gradient::<Fast>(8);
}

#[test]
fn virial_is_the_strain_derivative() {
    promises::virial_is_the_strain_derivative::<Fast>();
}

#[test]
fn translation_rotation_wrapping_and_permutation_change_nothing() {
    promises::translation_rotation_wrapping_and_permutation_change_nothing::<Fast>();
}

#[test]
fn a_doubled_cell_doubles_the_energy() {
    promises::a_doubled_cell_doubles_the_energy::<Fast>();
}

#[test]
fn energy_is_smooth_when_an_atom_crosses_a_cutoff() {
    promises::energy_is_smooth_when_an_atom_crosses_a_cutoff::<Fast>();
}

#[test]
fn same_bits_under_every_thread_count_tile_checkpoint_and_skin() {
    promises::same_bits_under_every_thread_count_tile_checkpoint_and_skin::<Fast>(24);
}

#[test]
fn a_list_outlives_changes_of_the_cell() {
    promises::a_list_outlives_changes_of_the_cell::<Fast>(20);
}

#[test]
fn repeats_are_bit_identical_and_an_old_list_gives_the_bits_of_a_new_one() {
    promises::repeats_are_bit_identical_and_an_old_list_gives_the_bits_of_a_new_one::<Fast>(20);
}

#[test]
fn an_overflowing_plan_is_laid_out_again_and_repeats_its_step() {
    promises::an_overflowing_plan_is_laid_out_again_and_repeats_its_step::<Fast>(30);
}

#[test]
fn bad_configurations_are_named() {
    promises::bad_configurations_are_named::<Fast>();
}

#[test]
fn an_empty_system_and_a_lone_atom_have_an_energy() {
    promises::an_empty_system_and_a_lone_atom_have_an_energy::<Fast>();
}

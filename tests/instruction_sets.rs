//! Every instruction set that this machine has keeps the promises; all other tests compute with the widest one.
#![allow(missing_docs)]

mod common;

// Not every body needs to be run with every set.
#[allow(dead_code)]
#[path = "bodies/parity.rs"]
mod parity;
#[allow(dead_code)]
#[path = "bodies/promises.rs"]
mod promises;

use common::{on_cpu, Backend, Counted, Settings};
use std::sync::Arc;
use weir_backends::cpu::{create_cpu, CpuError, CpuOptions, InstructionSet, PrecisionChoice};
use weir_engine::model::Model;

macro_rules! sets {
    ($($name:ident)*) => {$(
        struct $name;

        impl Backend for $name {
            const THREADS: &'static [usize] = &[1, 3];
            fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
                on_cpu(model, types, s, Some(InstructionSet::$name))
            }
        }
    )*};
}
sets!(Avx512 Avx2 Neon Scalar);

/// Runs a body with every set that is here.
macro_rules! with_each {
    ($module:ident :: $body:ident $(, $argument:expr)*) => {
        for set in InstructionSet::here() {
            eprintln!("{}", set.name());
            match set {
                InstructionSet::Avx512 => $module::$body::<Avx512>($($argument),*),
                InstructionSet::Avx2 => $module::$body::<Avx2>($($argument),*),
                InstructionSet::Neon => $module::$body::<Neon>($($argument),*),
                InstructionSet::Scalar => $module::$body::<Scalar>($($argument),*),
            }
        }
    };
}

#[test]
fn carried_models_equal_deepmd_kit_in_every_set() {
    with_each!(parity::carried_models_equal_deepmd_kit, 1000);
}

#[test]
fn forces_are_minus_gradient_in_every_set() {
    with_each!(promises::forces_are_minus_gradient, 12);
}

#[test]
fn same_bits_under_every_thread_count_tile_checkpoint_and_skin_in_every_set() {
    with_each!(promises::same_bits_under_every_thread_count_tile_checkpoint_and_skin, 24);
}

#[test]
fn sets_agree_to_rounding_and_not_to_the_bit() {
    let (model, settings) =
        (promises::model("tiny32"), Settings { precision: PrecisionChoice::F32, ..Settings::default() });
    let (x, types) = common::system(24, 6.4, 11, model.types());
    let cell = promises::triclinic(6.6);
    let plain = promises::run::<Scalar>(&model, &settings, &x, &cell, &types);
    let wide = promises::run::<common::Cpu>(&model, &settings, &x, &cell, &types);
    let size = plain.forces.iter().flatten().fold(0.0f64, |m, f| m.max(f.abs()));
    let off =
        plain.forces.iter().flatten().zip(wide.forces.iter().flatten()).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(off < 1e-5 * size, "{off} of {size}");
    assert_eq!(off > 0.0, InstructionSet::best() != InstructionSet::Scalar, "another set was asked for");
}

#[test]
fn a_set_that_is_not_here_is_refused_by_name() {
    let model = promises::model("tiny");
    for set in InstructionSet::ALL {
        let options = CpuOptions { simd: Some(set), threads: 1, ..CpuOptions::default() };
        match create_cpu(model.clone(), &[0, 1], &options) {
            Ok(_) => assert!(InstructionSet::here().contains(&set)),
            Err(CpuError::InstructionSet(e)) => {
                assert_eq!((e.asked, &e.here), (set, &InstructionSet::here()));
                assert!(!e.here.contains(&set) && e.to_string().contains(set.name()), "{e}");
            }
            Err(e) => panic!("{e}"),
        }
    }
}

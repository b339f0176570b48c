//! The fused CPU backend equals DeePMD-kit 3.2.0, in double and in single precision, for every fixture.
#![allow(missing_docs)]

mod common;

#[path = "bodies/parity.rs"]
mod bodies;

use common::Cpu;

#[test]
fn carried_models_equal_deepmd_kit() {
    bodies::carried_models_equal_deepmd_kit::<Cpu>(1000);
}

#[test]
fn every_fixture_equals_deepmd_kit() {
    bodies::every_fixture_equals_deepmd_kit::<Cpu>(1000, 0, 1);
}

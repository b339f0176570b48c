//! Marks for the vendors' profilers.

use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::Calculator;

#[test]
fn every_operation_is_marked_where_that_is_asked_for() {
    let case = Case::of(8, 4.2, [[4.9, 0.0, 0.0], [0.3, 4.8, 0.0], [-0.5, 0.2, 5.1]]);
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let base = tight(&case, device, &GpuOptions { poison: false, ..options(PrecisionChoice::F32) });
    for ranges in [false, true] {
        let driver = Arc::new(Emulated::new(device));
        let options = GpuOptions { ranges, graph: false, ..base.clone() };
        let mut c = create(driver.clone(), case.model.clone(), &case.types, &options).unwrap();
        case.run(&mut c).unwrap();
        let marks = driver.ranges();
        if !ranges {
            assert!(marks.is_empty());
            continue;
        }
        let program = &c.plan().unwrap().program;
        assert_eq!(marks.len(), 2 * (program.forward.len() + program.backward.len()));
        assert!(marks.chunks_exact(2).all(|pair| pair[0].is_some() && pair[1].is_none()), "ranges do not nest");
        let names: Vec<&str> = marks.iter().flatten().map(String::as_str).collect();
        assert_eq!(names[0], "geometry");
        for name in
            ["project 0", "forward 5 tile 0", "fit", "backward 5 tile 0", "finish 1", "assemble tile 0", "save 0"]
        {
            assert!(names.contains(&name), "no {name} in {names:?}");
        }
    }
}

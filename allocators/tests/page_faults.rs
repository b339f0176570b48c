//! After a region is handed out, nobody faults on it. Alone in its file: the kernel counts for the whole process.

use weir_allocators::faults::Faults;
use weir_allocators::faults_taken;
use weir_allocators::kind::{Hbm, Kind, Ledger, System};

#[test]
fn touching_a_region_after_allocation_takes_no_page_fault() {
    let ledger = || Ledger::new("test", "WEIR_HBM_BUDGET", 1 << 30);
    let kinds: [Box<dyn Kind>; 2] = [
        Box::new(Hbm::new(ledger(), Faults::none())),
        Box::new(System::new(ledger(), Some(0), Vec::new(), Faults::none())),
    ];
    for kind in kinds {
        let mut region = kind.allocate(128 << 20).unwrap();
        let memory = region.bytes_of().unwrap();
        // The first round warms what belongs to the test.
        for round in 0..3 {
            let before = faults_taken();
            for byte in memory.iter_mut().step_by(512) {
                *byte = byte.wrapping_add(1);
            }
            let after = faults_taken();
            let (minor, major) = (after.0 - before.0, after.1 - before.1);
            // 32,768 small or 64 huge pages; a few faults are the test's own stack and code.
            assert!(
                minor < 8 && major == 0,
                "{}: {minor} minor and {major} major faults in round {round}",
                kind.tier()
            );
        }
        assert!(memory.iter().step_by(512).all(|&b| b == 3));
    }
}

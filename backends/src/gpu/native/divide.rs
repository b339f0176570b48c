//! How a multiprocessor's memory is divided between shared memory and its first cache.

/// Registers of a multiprocessor and of a block's rows of them (eight for each thread of a wave): CUDA 8.0 to 12.0.
const REGISTERS: u32 = 65_536;
/// Of kB of shared memory the division before the last, on 9.0 and 10.0. Where there is none between (164 kB and less), asking for it means all.
const LESS: u64 = 196;
const ALL: u64 = 228;

/// Per cent of the shared memory that a multiprocessor can have, which as many blocks of `threads` threads with so many `registers` each and
/// `shared` bytes need as there can be. Two answers alone, so that kernels which run beside each other have the same where they can.
/// `unit`: bytes of a multiprocessor, and what every block costs beside its own.
pub(super) fn division(unit: (u32, u32), registers: u32, threads: u32, shared: u32) -> i32 {
    let (unit, reserved) = unit;
    let block = shared.saturating_add(reserved);
    let by_registers = REGISTERS / (registers.next_multiple_of(8).max(8) * threads.max(1)).max(1);
    let blocks = (unit / block.max(1)).min(by_registers.max(1)).max(1);
    let needed = u64::from(blocks) * u64::from(block);
    if needed * ALL <= u64::from(unit) * LESS {
        // Rounded down: drivers take the next division that is as large.
        (LESS * 100 / ALL) as i32
    } else {
        100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(unit_kb: u32, registers: u32, shared: u32) -> i32 {
        division((unit_kb << 10, 1 << 10), registers, 128, shared)
    }

    #[test]
    fn a_multiprocessor_keeps_what_its_blocks_do_not_need_as_a_cache() {
        // angle_backward and angle_forward of DPA-3.1-3M in f16x3 on an H100: three blocks by shared memory, four by registers.
        assert_eq!(on(228, 146, 63_424), 85);
        assert_eq!(on(228, 120, 38_912), 85);
        // edge_backward: four blocks of 52.5 kB.
        assert_eq!(on(228, 116, 52_736), 100);
        // Three blocks of as much by registers.
        assert_eq!(on(228, 168, 52_736), 85);
        // A block alone, and what has more than there is.
        assert_eq!(on(228, 255, 200 << 10), 100);
        assert_eq!(on(228, 0, 300 << 10), 100);
        assert_eq!(on(164, 168, 53_504), 100);
    }
}

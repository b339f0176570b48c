//! Few ranges: packed one by one, whatever their order in time.

use super::{Lease, Offsets};

/// Places leases one by one, the largest key first, each as low as those placed before allow; the best of several keys.
pub(super) fn packed(leases: &[Lease], sizes: &[u64]) -> Offsets {
    let span = |l: &Lease| u64::from(l.to - l.from);
    let bytes = |l: &Lease| sizes[usize::from(l.kind)];
    let keys: [&dyn Fn(&Lease) -> u64; 3] = [&bytes, &span, &|l| bytes(l).saturating_mul(span(l))];
    keys.into_iter().map(|key| by(leases, sizes, key)).min_by_key(|found| found.1).expect("several keys")
}

fn by(leases: &[Lease], sizes: &[u64], key: &dyn Fn(&Lease) -> u64) -> Offsets {
    let mut order: Vec<usize> = (0..leases.len()).collect();
    order.sort_by_key(|&n| (std::cmp::Reverse(key(&leases[n])), n));
    let mut offsets = vec![0; leases.len()];
    // Placed so far, by offset.
    let mut placed: Vec<(u64, usize)> = Vec::with_capacity(leases.len());
    let mut need = 0;
    let size = |l: &Lease| sizes[usize::from(l.kind)];
    for n in order {
        let lease = leases[n];
        let mut at = 0;
        for &(offset, other) in &placed {
            let o = leases[other];
            if o.from < lease.to && lease.from < o.to {
                if offset >= at + size(&lease) {
                    break;
                }
                at = at.max(offset + size(&o));
            }
        }
        offsets[n] = at;
        need = need.max(at + size(&lease));
        placed.insert(placed.partition_point(|p| p.0 < at), (at, n));
    }
    (offsets, need)
}

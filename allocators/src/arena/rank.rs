//! Largest first, each into the lowest gap between those placed before it that are alive with it.

use super::Request;

/// Offsets and total. Quadratic in the number of requests.
pub fn rank(requests: &[Request], sizes: &[u64]) -> (Vec<u64>, u64) {
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i] > 0).collect();
    let long = |i: usize| requests[i].last - requests[i].first;
    order.sort_unstable_by_key(|&i| (std::cmp::Reverse(sizes[i]), std::cmp::Reverse(long(i)), i));
    let mut offsets = vec![0; sizes.len()];
    let mut total = 0;
    // By offset, so that gaps are met from below.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for &i in &order {
        let mut offset = 0;
        for &j in &placed {
            if !requests[i].overlaps(&requests[j]) {
                continue;
            }
            if offsets[j] >= offset + sizes[i] {
                break;
            }
            offset = offset.max(offsets[j] + sizes[j]);
        }
        offsets[i] = offset;
        total = total.max(offset + sizes[i]);
        let at = placed.partition_point(|&j| offsets[j] <= offset);
        placed.insert(at, i);
    }
    (offsets, total)
}

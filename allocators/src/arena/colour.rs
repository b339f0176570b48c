//! Each length on its own: as many tracks as are alive at once, which is exact for one length.

use super::layout::Events;
use std::collections::HashMap;

/// With more lengths than this, lengths that do not share bytes waste more than a sweep does.
const LENGTHS: usize = 256;

/// Offsets and total; none where lengths hardly repeat.
pub fn colour(events: &Events, sizes: &[u64]) -> Option<(Vec<u64>, u64)> {
    let mut classes: HashMap<u64, u32> = HashMap::new();
    let mut lengths = Vec::new();
    let mut last = (u64::MAX, 0);
    let mut class = Vec::with_capacity(sizes.len());
    for &size in sizes {
        // Neighbours in the list mostly have one length.
        if size != last.0 {
            let number = *classes.entry(size).or_insert_with(|| {
                lengths.push(size);
                lengths.len() as u32 - 1
            });
            last = (size, number);
        }
        if lengths.len() > LENGTHS {
            return None;
        }
        class.push(last.1);
    }
    struct State {
        free: Vec<Vec<u32>>,
        tracks: Vec<u32>,
        track: Vec<u32>,
    }
    let mut state =
        State { free: vec![Vec::new(); lengths.len()], tracks: vec![0; lengths.len()], track: vec![0; sizes.len()] };
    events.walk(
        &mut state,
        |s, i| {
            let c = class[i] as usize;
            s.track[i] = s.free[c].pop().unwrap_or_else(|| {
                s.tracks[c] += 1;
                s.tracks[c] - 1
            });
        },
        |s, i| s.free[class[i] as usize].push(s.track[i]),
    );
    let mut total = 0;
    let bases: Vec<u64> = lengths
        .iter()
        .zip(&state.tracks)
        .map(|(&length, &tracks)| {
            let base = total;
            total += length * u64::from(tracks);
            base
        })
        .collect();
    let offset = |i: usize| bases[class[i] as usize] + sizes[i] * u64::from(state.track[i]);
    let offsets = (0..sizes.len()).map(|i| if sizes[i] == 0 { 0 } else { offset(i) }).collect();
    Some((offsets, total))
}

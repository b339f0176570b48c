//! One xtc frame, through `molly`, behind checks for the frames that its encoder would not survive or would mangle.

use std::io::Write;

use molly::reader::{FIRSTIDX, MAGICINTS};
use molly::XTCWriter;

use super::error::StructureError;
use super::Structure;

/// The usual steps per nm.
pub(crate) const XTC_PRECISION: f32 = 1000.0;

/// Appends `frame` to `out` as one xtc frame.
pub(crate) fn encode_xtc(
    out: &mut impl Write,
    frame: &Structure,
    precision: f32,
    path: &str,
) -> Result<(), StructureError> {
    let refuse = |reason: String| StructureError::Unwritable { path: path.to_string(), reason };
    if !(precision.is_finite() && precision > 0.0) {
        return Err(refuse(format!("precision {precision} is not a positive number")));
    }
    let Ok(step) = i32::try_from(frame.step.unwrap_or(0)) else {
        return Err(refuse(format!("step {} does not fit the 31 bits of an xtc step", frame.step.unwrap_or(0))));
    };
    if i32::try_from(frame.len()).is_err() {
        return Err(refuse(format!("{} atoms are too many for xtc", frame.len())));
    }
    let positions: Vec<[f32; 3]> = frame.positions.iter().map(|p| p.map(|x| (x / 10.0) as f32)).collect();
    check(&positions, precision).map_err(refuse)?;
    let mut cell = [0.0; 9];
    if let Some(rows) = &frame.cell {
        for (x, v) in cell.iter_mut().zip(rows.iter().flatten()) {
            *x = (v / 10.0) as f32;
        }
    }
    let time = frame.time.unwrap_or(0.0) as f32;
    XTCWriter::new(out)
        .write_frame_parts(step as u32, time, cell, positions.iter(), precision)
        .map_err(|e| StructureError::io(path, e))
}

/// Refuses coordinates whose integers overflow in the encoder (2^30 steps), whose ranges need more than 64 bits together, or whose
/// neighbours all lie so far apart that a size index beyond 64 bits could come up: the encoder is only right up to there.
fn check(positions: &[[f32; 3]], precision: f32) -> Result<(), String> {
    const LIMIT: f32 = (1 << 30) as f32;
    let advice = "lower the precision, or write extxyz";
    let mut low = [i64::MAX; 3];
    let mut high = [i64::MIN; 3];
    let mut nearest = i64::MAX;
    let mut previous: Option<[i64; 3]> = None;
    for (atom, p) in positions.iter().enumerate() {
        let scaled = p.map(|x| (x * precision).round());
        if scaled.iter().any(|x| !(x.is_finite() && x.abs() < LIMIT)) {
            return Err(format!(
                "atom {} lies too far out ({} nm): {advice}",
                atom + 1,
                p[0].abs().max(p[1].abs()).max(p[2].abs())
            ));
        }
        let v = scaled.map(|x| x as i64);
        for k in 0..3 {
            low[k] = low[k].min(v[k]);
            high[k] = high[k].max(v[k]);
        }
        if let Some(q) = previous {
            nearest = nearest.min((0..3).map(|k| (v[k] - q[k]).abs()).sum());
        }
        previous = Some(v);
    }
    if positions.len() < 2 {
        return Ok(());
    }
    let sizes = [0, 1, 2].map(|k| (high[k] - low[k] + 1) as u128);
    if sizes.iter().all(|s| *s <= 0xff_ffff) && sizes.iter().product::<u128>() >= 1 << 64 {
        return Err(format!("the ranges of the coordinates need more than 64 bits: {advice}"));
    }
    // The size index starts at the nearest pair's and may rise by 8.
    let start = MAGICINTS[FIRSTIDX..]
        .iter()
        .position(|m| i64::from(*m) >= nearest)
        .map_or(MAGICINTS.len() - 1, |k| FIRSTIDX + k);
    if start + 8 > 64 {
        return Err(format!("successive atoms lie at least {} nm apart: {advice}", nearest as f32 / precision));
    }
    Ok(())
}

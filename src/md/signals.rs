//! Signals that ask a run to write its restart file and stop.
//!
//! SIGUSR1 stops too: batch systems send it some minutes before they kill a job. And SIGHUP, which comes when a terminal closes, unless whoever started
//! the program had it ignored (`nohup`).

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

/// Remembers the first signal.
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// The signal that came, if one did.
    pub fn asked(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            n => Some(n as i32),
        }
    }
}

/// Catches SIGINT, SIGTERM, SIGHUP and SIGUSR1. A second SIGINT or SIGTERM ends the program at once, as without us: a step may take long.
///
/// # Errors
/// What the system refuses.
pub fn catch() -> Result<Stop> {
    let (which, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let register = || -> std::io::Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
            if signal == SIGHUP && ignored(signal) {
                continue;
            }
            // In this order: the second signal must find the flag that the first has set.
            if signal == SIGINT || signal == SIGTERM {
                flag::register_conditional_default(signal, again.clone())?;
                flag::register(signal, again.clone())?;
            }
            flag::register_usize(signal, which.clone(), signal as usize)?;
        }
        Ok(())
    };
    register().context("cannot catch signals")?;
    Ok(Stop(which))
}

/// Whether a signal is ignored, as the system tells in its list of processes; where it does not, no.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Name of a signal.
pub fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGHUP => "SIGHUP",
        SIGUSR1 => "SIGUSR1",
        _ => "a signal",
    }
}

//! Two streams of kernels, where a step may have two. What nodes are asked for (their update and projections on the way up, gathers and their
//! adjoint on the way down) is neither read nor written by the kernels of angles that come next, needs a few multiprocessors, and takes several
//! launches in turn: beside them it costs next to nothing. Which kernels may run beside which is said where they are launched
//! (`execute/forward.rs`, `execute/backward.rs`).

use super::driver::{Driver, DriverError, Stream};
use super::memory::Mark;
use std::sync::Arc;

/// Which stream launches go to, and how far each has waited for the other.
#[derive(Default)]
pub struct Lanes {
    /// Marks in the compute stream and in the other one; none: there is one stream.
    marks: Option<[Mark; 2]>,
    /// Whether launches go beside.
    beside: bool,
    /// Whether something was launched beside that the compute stream has not waited for.
    apart: bool,
}

impl Lanes {
    /// Two streams.
    ///
    /// # Errors
    /// The driver's.
    pub fn two(driver: &Arc<dyn Driver>) -> Result<Self, DriverError> {
        Ok(Self { marks: Some([Mark::new(driver)?, Mark::new(driver)?]), ..Self::default() })
    }

    /// A step begins; the one before it was waited for.
    pub(super) fn begin(&mut self) {
        (self.beside, self.apart) = (false, false);
    }

    /// The stream of a launch.
    pub(super) fn take(&mut self) -> Stream {
        match self.beside && self.marks.is_some() {
            true => {
                self.apart = true;
                Stream::Beside
            }
            false => Stream::Compute,
        }
    }

    /// Whether launches go beside from now on, where there are two streams.
    pub fn go(&mut self, beside: bool) {
        self.beside = beside;
    }

    /// Launches beside wait for everything in the compute stream so far.
    ///
    /// # Errors
    /// The driver's.
    pub fn fork(&mut self, driver: &dyn Driver) -> Result<(), DriverError> {
        let Some([mark, _]) = &self.marks else { return Ok(()) };
        driver.record(mark.event, Stream::Compute)?;
        driver.wait(Stream::Beside, mark.event)
    }

    /// The compute stream waits for what was launched beside.
    ///
    /// # Errors
    /// The driver's.
    pub fn join(&mut self, driver: &dyn Driver) -> Result<(), DriverError> {
        match &self.marks {
            Some([_, mark]) if std::mem::take(&mut self.apart) => {
                driver.record(mark.event, Stream::Beside)?;
                driver.wait(Stream::Compute, mark.event)
            }
            _ => Ok(()),
        }
    }
}

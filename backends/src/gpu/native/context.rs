//! The device of a thread. The host program has its own idea of it, which is put back after every call.

use super::calls::Handle;
use super::library::{call, Api};
use super::Native;
use crate::gpu::driver::DriverError;
use std::ffi::c_int;

/// What makes a device current.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// CUDA: the primary context, which the runtime and other libraries of the process share.
    Context(Handle),
    /// HIP: a number.
    Device(c_int),
}

impl Place {
    pub(super) fn take(api: &Api, device: c_int) -> Result<Place, DriverError> {
        if !api.vendor.cuda {
            return Ok(Place::Device(device));
        }
        let mut context = 0;
        call!(api, context_retain(&mut context, device))?;
        Ok(Place::Context(context))
    }

    /// Gives back what `take` took; harmless after a reset.
    pub(super) fn leave(self, api: &Api, device: c_int) {
        if let Place::Context(_) = self {
            drop(call!(api, context_release(device)));
        }
    }

    /// Handles of a context that was reset point to nothing.
    pub(super) fn alive(self, api: &Api, device: c_int) -> bool {
        let Place::Context(_) = self else { return true };
        let (mut flags, mut active) = (0, 0);
        call!(api, context_state(device, &mut flags, &mut active)).is_ok() && active != 0
    }

    fn current(self, api: &Api) -> Result<Place, DriverError> {
        match self {
            Place::Context(_) => {
                let mut context = 0;
                call!(api, context_get(&mut context)).map(|()| Place::Context(context))
            }
            Place::Device(_) => {
                let mut device = 0;
                call!(api, device_get(&mut device)).map(|()| Place::Device(device))
            }
        }
    }

    fn enter(self, api: &Api) -> Result<(), DriverError> {
        match self {
            Place::Context(context) => call!(api, context_set(context)),
            Place::Device(device) => call!(api, device_set(device)),
        }
    }
}

/// While it lives, the thread works on this device.
pub(super) struct Here<'a> {
    api: &'a Api,
    before: Option<Place>,
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            drop(before.enter(self.api));
        }
    }
}

impl Native {
    pub(super) fn enter(&self) -> Result<Here<'_>, DriverError> {
        let before = self.place.current(&self.api)?;
        if before == self.place {
            return Ok(Here { api: &self.api, before: None });
        }
        self.place.enter(&self.api)?;
        Ok(Here { api: &self.api, before: Some(before) })
    }
}

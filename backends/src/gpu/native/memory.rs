//! Memory: taking, giving back, advice, moving.

use super::calls::Location;
use super::library::call;
use super::vendor::{code, flag, BROKEN};
use super::Native;
use crate::gpu::driver::{DriverError, Memory, Side, Stream};
use std::ffi::c_int;
use std::sync::atomic::Ordering;
use weir_allocators::topology::Topology;

const COPIES: &str = "use device and pinned memory and copies";

impl Native {
    pub(super) fn free_and_all(&self) -> Result<(u64, u64), DriverError> {
        let _here = self.enter()?;
        let (mut free, mut all) = (0usize, 0usize);
        call!(&self.api, memory_free(&mut free, &mut all))?;
        Ok((free as u64, all as u64))
    }

    pub(super) fn take(&self, memory: Memory, bytes: u64) -> Result<u64, DriverError> {
        let here = self.enter()?;
        let api = &self.api;
        let mut address = 0u64;
        // Nothing is a request that drivers refuse.
        let size = usize::try_from(bytes.max(1)).unwrap_or(usize::MAX);
        let (name, code) = {
            // Codes are needed, not only errors: too little memory is told apart.
            let c = &api.calls;
            // SAFETY: the functions have the types of the vendor's header and write one address.
            unsafe {
                match memory {
                    Memory::Device => (c.allocate.name, c.allocate.get(&api.title, BROKEN)?(&mut address, size)),
                    Memory::Pinned => {
                        let function = c.allocate_pinned.get(&api.title, "use ordinary host memory")?;
                        (c.allocate_pinned.name, function(&mut address, size, flag::PINNED))
                    }
                    Memory::Managed => {
                        let function = c.allocate_managed.get(&api.title, COPIES)?;
                        (c.allocate_managed.name, function(&mut address, size, flag::MANAGED))
                    }
                }
            }
        };
        drop(here);
        if code == code::OUT_OF_MEMORY {
            let free = match memory {
                Memory::Pinned => Topology::here().memory.available,
                Memory::Device | Memory::Managed => self.free_and_all().map_or(0, |f| f.0),
            };
            let memory = match memory {
                Memory::Device => "device",
                Memory::Pinned => "pinned",
                Memory::Managed => "managed",
            };
            return Err(DriverError::OutOfMemory { memory, bytes, free });
        }
        api.check(name, code)?;
        self.state().memory.insert(address, (memory, bytes));
        if memory == Memory::Device {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(address)
    }

    pub(super) fn give(&self, memory: Memory, address: u64) {
        // What was not taken here, or was given back before, is not ours to give.
        let Some((_, bytes)) = self.state().memory.remove(&address) else { return };
        if memory == Memory::Device {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        if let Ok(_here) = self.enter() {
            drop(self.release(memory, address));
        }
    }

    pub(super) fn release(&self, memory: Memory, address: u64) -> Result<(), DriverError> {
        match memory {
            Memory::Device | Memory::Managed => call!(&self.api, free(address)),
            Memory::Pinned => call!(&self.api, free_pinned(address)),
        }
    }

    /// In calls by location, and for those of old drivers: these know the host as a whole only.
    fn location(&self, side: Side) -> (Location, c_int) {
        match side {
            Side::Device => (Location { kind: Location::DEVICE, id: self.device }, self.device),
            Side::Host(None) => (Location { kind: Location::HOST, id: 0 }, flag::HOST),
            Side::Host(Some(node)) => {
                (Location { kind: Location::HOST_NODE, id: c_int::try_from(node).unwrap_or(0) }, flag::HOST)
            }
        }
    }

    /// Old calls are for drivers without the new ones, and for those that have them and refuse (HIP before 7.1 on some devices).
    fn either(
        new: Result<(), DriverError>,
        old: impl FnOnce() -> Result<(), DriverError>,
        refused: impl Fn(&DriverError) -> bool,
    ) -> Result<(), DriverError> {
        match new {
            Err(e @ DriverError::Unsupported { .. }) => old().map_err(|o| if refused(&o) { e } else { o }),
            Err(e) if refused(&e) => old(),
            done => done,
        }
    }

    fn managed_error(&self, error: DriverError, call: &'static str) -> DriverError {
        if self.refused(&error) {
            return DriverError::Unsupported { driver: self.api.title.clone(), call, instead: COPIES };
        }
        error
    }

    /// The driver has the call, the device not the ability.
    fn refused(&self, error: &DriverError) -> bool {
        let word = |c: c_int| self.api.word(c);
        matches!(error, DriverError::Call { cause, .. }
            if *cause == word(code::NOT_SUPPORTED) || *cause == word(code::INVALID_DEVICE))
    }

    pub(super) fn advise_managed(&self, address: u64, bytes: u64, side: Side) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let (location, old) = self.location(side);
        let (api, size) = (&self.api, usize::try_from(bytes).unwrap_or(usize::MAX));
        let advise = |advice: c_int, location: Location, old: c_int| {
            let new = call!(api, advise_at(address, size, advice, location), COPIES);
            Native::either(new, || call!(api, advise(address, size, advice, old), COPIES), |e| self.refused(e))
        };
        advise(flag::PREFERRED, location, old).map_err(|e| self.managed_error(e, api.calls.advise.name))?;
        if let Side::Host(_) = side {
            // Mapped for the device, so that it reads in place instead of pulling pages over.
            let device = Location { kind: Location::DEVICE, id: self.device };
            advise(flag::ACCESSED, device, self.device).map_err(|e| self.managed_error(e, api.calls.advise.name))?;
        }
        Ok(())
    }

    pub(super) fn prefetch_managed(
        &self,
        address: u64,
        bytes: u64,
        side: Side,
        stream: Stream,
    ) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let (location, old) = self.location(side);
        let (api, size, stream) = (&self.api, usize::try_from(bytes).unwrap_or(usize::MAX), self.stream(stream));
        let new = call!(api, prefetch_at(address, size, location, 0, stream), COPIES);
        Native::either(new, || call!(api, prefetch(address, size, old, stream), COPIES), |e| self.refused(e))
            .map_err(|e| self.managed_error(e, api.calls.prefetch.name))
    }
}

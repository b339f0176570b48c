//! Memory: taking, giving back, advice.

use crate::machine::{code, fault, Answer, Handle, Machine, State};
use weir_backends::gpu::driver::{Driver, DriverError, Memory};

impl Machine {
    pub fn take(&self, state: &mut State, memory: Memory, bytes: usize, flags: u32, known: u32) -> Answer<u64> {
        self.here(state)?;
        state.unsafe_now("memory was taken")?;
        if bytes == 0 || flags & !known != 0 {
            return fault(code::INVALID, format!("{bytes} bytes, flags {flags}"));
        }
        let address = match self.device.allocate(memory, bytes as u64) {
            Ok(address) => address,
            Err(DriverError::OutOfMemory { bytes, free, .. }) => {
                return fault(code::OUT_OF_MEMORY, format!("{bytes} bytes wanted, {free} free"));
            }
            Err(other) => return fault(code::UNKNOWN, other),
        };
        // Nobody promises what new memory holds: these are no floating-point numbers, and counts beyond all arrays.
        // SAFETY: memory of that many bytes, taken just now.
        unsafe { (address as *mut u8).write_bytes(0xff, bytes) };
        state.memory.insert(address, memory);
        Ok(address)
    }

    /// Waits for all work, as the vendors' functions do.
    pub fn give(&self, state: &mut State, address: u64, pinned: bool) -> Answer {
        self.here(state)?;
        state.unsafe_now("memory was given back")?;
        let found = state.memory.get(&address).copied();
        let Some(memory) = found.filter(|m| (*m == Memory::Pinned) == pinned) else {
            return fault(code::INVALID, format!("{address:#x} is {found:?}"));
        };
        self.settle_all(state)?;
        self.device.free(memory, address);
        state.memory.remove(&address);
        Ok(())
    }

    pub fn free_and_all(&self, state: &State) -> Answer<(usize, usize)> {
        self.here(state)?;
        let (free, all) = self.device.memory().or_else(|e| fault(code::UNKNOWN, e))?;
        Ok((free as usize, all as usize))
    }

    /// Advice and moving are for managed memory.
    fn managed(&self, state: &State, address: u64, bytes: usize) -> Answer {
        self.here(state)?;
        self.inside(address, bytes)?;
        let mut all = state.memory.iter().filter(|(_, m)| **m == Memory::Managed);
        match all.any(|(at, _)| *at <= address && self.same(*at, address)) {
            true => Ok(()),
            false => fault(code::INVALID, format!("{address:#x} is no managed memory")),
        }
    }

    pub fn advise(&self, state: &State, address: u64, bytes: usize, advice: i32) -> Answer {
        match advice {
            1..=6 => self.managed(state, address, bytes),
            _ => fault(code::INVALID, format!("advice {advice}")),
        }
    }

    pub fn prefetch(&self, state: &mut State, address: u64, bytes: usize, stream: Handle) -> Answer {
        state.stream(stream)?;
        if state.records(stream) {
            state.spoil("managed memory was moved");
            return fault(code::CAPTURE_UNSUPPORTED, "moving managed memory cannot be recorded");
        }
        self.managed(state, address, bytes)
    }

    /// Whether two addresses lie in one allocation.
    fn same(&self, base: u64, address: u64) -> bool {
        self.device.rest(base).is_some_and(|bytes| address - base < bytes)
    }

    /// Bytes of one allocation of the device.
    pub fn inside(&self, address: u64, bytes: usize) -> Answer {
        match self.device.rest(address) {
            Some(rest) if bytes as u64 <= rest => Ok(()),
            Some(rest) => fault(code::INVALID, format!("{bytes} bytes from {address:#x} on, {rest} there are")),
            None => fault(code::INVALID, format!("{address:#x} is no memory of the device")),
        }
    }
}

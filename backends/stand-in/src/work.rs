//! Kernels, copies, streams.

use crate::machine::{code, fault, Answer, Handle, Machine, State, Vendor};
use std::ffi::{c_int, c_void, CStr};
use weir_backends::gpu::driver::{self, Arg, Driver, DriverError, HostWork, Launch, Stream};
use weir_kernels::resources::Resources;

/// A kernel of a loaded image.
pub struct Function {
    pub module: Handle,
    function: driver::Function,
    resources: Resources,
    /// Types of its arguments.
    kinds: Vec<String>,
    threads: u32,
    /// Dynamic shared memory that it may have.
    dynamic: u32,
}

/// Shared memory of a block that nobody has to ask for (CUDA).
const USUAL: u32 = 48 << 10;

/// Attributes of functions, the same numbers for both vendors.
mod attribute {
    use std::ffi::c_int;
    pub const THREADS: c_int = 0;
    pub const SHARED: c_int = 1;
    pub const LOCAL: c_int = 3;
    pub const REGISTERS: c_int = 4;
    pub const DYNAMIC: c_int = 8;
    pub const CARVEOUT: c_int = 9;
}

impl Machine {
    pub fn make_stream(&self, state: &mut State, flags: u32, priority: c_int) -> Answer<Handle> {
        self.here(state)?;
        if flags != 1 {
            return fault(
                code::UNKNOWN,
                format!("flags {flags}: it would be in order with the host program's default stream"),
            );
        }
        // The emulated device has as many as a calculator makes, always all of them and in this order; those of a second one share them.
        let plain = [Stream::Compute, Stream::Out, Stream::In];
        let stream = if priority < 0 { Stream::Beside } else { plain[state.plain % plain.len()] };
        state.plain += usize::from(priority >= 0);
        let handle = state.handle();
        state.streams.insert(handle, stream);
        Ok(handle)
    }

    pub fn drop_stream(&self, state: &mut State, handle: Handle) -> Answer {
        self.here(state)?;
        let Some(stream) = state.streams.get(&handle).copied() else {
            return fault(code::INVALID_HANDLE, format!("no stream {handle:#x}"));
        };
        if state.recorded_by_another(handle, stream) {
            return fault(code::UNKNOWN, "another calculator of this stand-in records");
        }
        if state.records(handle) {
            state.spoil("a stream of it was destroyed");
            if stream == Stream::Compute {
                self.abandon(state);
            }
        } else {
            self.settle(state, stream)?;
        }
        state.streams.remove(&handle);
        Ok(())
    }

    pub fn synchronise(&self, state: &mut State, handle: Handle) -> Answer {
        self.here(state)?;
        let stream = state.stream(handle)?;
        // Of a stream that records nothing the manuals may allow it; nobody here does so.
        state.unsafe_now("somebody waited")?;
        self.settle(state, stream)
    }

    pub fn settle(&self, state: &mut State, stream: Stream) -> Answer {
        self.device.synchronise(stream).or_else(|error| {
            state.lost = true;
            fault(code::LAUNCH_FAILED, error)
        })
    }

    /// All streams.
    pub fn settle_all(&self, state: &mut State) -> Answer {
        Stream::ALL.into_iter().try_for_each(|stream| self.settle(state, stream))
    }

    pub fn function(&self, state: &mut State, module: Handle, name: &CStr) -> Answer<Handle> {
        self.here(state)?;
        let Some(loaded) = state.modules.get(&module) else {
            return fault(code::INVALID_HANDLE, format!("no module {module:#x}"));
        };
        let name = name.to_string_lossy();
        let Some(resources) = loaded.resources.get(&*name).cloned() else {
            return fault(code::NOT_FOUND, format!("no kernel {name}"));
        };
        let function = self.device.function(loaded.module, &name).or_else(|e| fault(code::NOT_FOUND, e))?;
        let Some(kinds) = self.device.kinds(function) else {
            return fault(code::UNKNOWN, format!("{name} does not tell its arguments"));
        };
        let threads = self.device.function_facts(function).or_else(|e| fault(code::UNKNOWN, e))?.threads;
        let dynamic = match self.vendor {
            Vendor::Cuda => USUAL.saturating_sub(resources.shared),
            Vendor::Amd => self.vendor.kind().shared.saturating_sub(resources.shared),
        };
        let handle = state.handle();
        let made = Function { module, function, resources, kinds, threads, dynamic };
        state.functions.insert(handle, made);
        Ok(handle)
    }

    pub fn function_attribute(&self, state: &State, number: c_int, function: Handle) -> Answer<c_int> {
        self.here(state)?;
        let f = found(state, function)?;
        let value = match number {
            attribute::THREADS => f.threads,
            attribute::SHARED => f.resources.shared,
            attribute::LOCAL => f.resources.stack,
            attribute::REGISTERS => f.resources.registers,
            attribute::DYNAMIC => f.dynamic,
            _ => return fault(code::INVALID, format!("attribute {number} of a function")),
        };
        Ok(value as c_int)
    }

    pub fn set_function(&self, state: &mut State, function: Handle, number: c_int, value: c_int) -> Answer {
        self.here(state)?;
        let shared = found(state, function)?.resources.shared;
        let most = self.vendor.kind().shared.saturating_sub(shared);
        match (number, u32::try_from(value)) {
            (attribute::DYNAMIC, Ok(bytes)) if bytes <= most => {
                state.functions.get_mut(&function).expect("found above").dynamic = bytes;
                Ok(())
            }
            (attribute::CARVEOUT, Ok(0..=100)) => Ok(()),
            _ => fault(code::INVALID, format!("attribute {number} of a function: {value}, at most {most} bytes")),
        }
    }

    /// # Safety
    /// As many arguments as the kernel has, of its types.
    pub unsafe fn launch(
        &self,
        state: &mut State,
        function: Handle,
        grid: [u32; 3],
        block: [u32; 3],
        shared: u32,
        stream: Handle,
        arguments: *const *const c_void,
    ) -> Answer {
        self.here(state)?;
        let f = found(state, function)?;
        let stream = state.stream(stream)?;
        if (grid[1], grid[2], block[1], block[2]) != (1, 1, 1, 1) {
            return fault(code::UNKNOWN, "this stand-in has one dimension");
        }
        if grid[0] == 0 || grid[0] > i32::MAX as u32 || block[0] == 0 || block[0] > f.threads || shared > f.dynamic {
            let limits = (f.threads, f.dynamic);
            return fault(code::INVALID, format!("{grid:?} {block:?}, {shared} bytes; {limits:?} at most"));
        }
        // SAFETY: the caller's promise: as many pointers as the kernel has arguments.
        if arguments.is_null() || (0..f.kinds.len()).any(|k| unsafe { *arguments.add(k) }.is_null()) {
            return fault(code::INVALID, "an argument from nowhere");
        }
        // SAFETY: as above.
        let args = self.arguments(&f.kinds, |k| unsafe { (*arguments.add(k)).cast() });
        let launch = Launch { function: f.function, grid: grid[0], block: block[0], shared, stream, args: &args };
        self.device.launch(&launch).or_else(|e| fault(code::INVALID, e))
    }

    /// Arguments from where their values stand. How far an array goes C does not tell: to the next one, or the end of its allocation.
    fn arguments(&self, kinds: &[String], at: impl Fn(usize) -> *const u64) -> Vec<Arg> {
        let read = |(k, kind): (usize, &String)| {
            // SAFETY: the caller's promise: arguments of these types.
            unsafe {
                match kind.as_str() {
                    "u32" => Arg::U32(at(k).cast::<u32>().read_unaligned()),
                    "f64" => Arg::F64(at(k).cast::<f64>().read_unaligned()),
                    _ => Arg::U64(at(k).read_unaligned()),
                }
            }
        };
        let mut all: Vec<Arg> = kinds.iter().enumerate().map(read).collect();
        let numbers = |a: &Arg| if let Arg::U64(n) = *a { Some(n) } else { None };
        let starts: Vec<u64> = all.iter().filter_map(numbers).filter(|n| self.device.rest(*n).is_some()).collect();
        for arg in &mut all {
            if let Some((from, rest)) = numbers(arg).and_then(|n| Some((n, self.device.rest(n)?))) {
                let next = starts.iter().filter(|s| **s > from).map(|s| s - from).min();
                *arg = Arg::Pointer(from, next.map_or(rest, |next| next.min(rest)));
            }
        }
        all
    }

    /// # Safety
    /// Both ends hold that many bytes until the copy is done.
    pub unsafe fn copy(&self, state: &State, to: u64, from: u64, bytes: usize, stream: Handle) -> Answer {
        self.here(state)?;
        let stream = state.stream(stream)?;
        let bytes = bytes as u64;
        if to.abs_diff(from) < bytes {
            return fault(code::INVALID, "its ends overlap");
        }
        for end in [to, from] {
            match self.device.rest(end) {
                Some(rest) if bytes > rest => {
                    return fault(code::INVALID, format!("{bytes} bytes from {end:#x} on, {rest} there are"));
                }
                Some(_) => {}
                None if end == 0 => return fault(code::INVALID, "an end at 0"),
                // Ordinary memory of the host, which may be where the device's was before.
                None => {}
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.device.copy(stream, to, from, bytes) }.or_else(|e| fault(code::INVALID, e))
    }

    pub fn fill(&self, state: &State, to: u64, byte: u8, bytes: usize, stream: Handle) -> Answer {
        self.here(state)?;
        let stream = state.stream(stream)?;
        self.inside(to, bytes)?;
        self.device.fill(stream, to, byte, bytes as u64).or_else(|e| fault(code::INVALID, e))
    }

    /// # Safety
    /// As [`driver::Driver::host`].
    pub unsafe fn host(&self, state: &State, stream: Handle, work: HostWork) -> Answer {
        self.here(state)?;
        let stream = state.stream(stream)?;
        // SAFETY: the caller's promise.
        unsafe { self.device.host(stream, work) }.or_else(|e: DriverError| fault(code::INVALID, e))
    }
}

fn found(state: &State, function: Handle) -> Answer<&Function> {
    state.functions.get(&function).map_or_else(|| fault(code::INVALID_HANDLE, format!("no function {function:#x}")), Ok)
}

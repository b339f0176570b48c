//! Kernels, copies, streams and recorded work.

use super::calls::Handle;
use super::divide::division;
use super::library::call;
use super::vendor::{code, flag, BROKEN};
use super::{Function, Native, Queued};
use crate::gpu::driver::{self, Arg, DriverError, FunctionFacts, Graph, Launch, Module, Stream};
use std::ffi::{c_int, c_void, CString};

/// Most arguments of a kernel; the list of pointers to them lives on the stack.
const ARGUMENTS: usize = 64;

fn wrong(call: &'static str, cause: String) -> DriverError {
    DriverError::Call { call, cause }
}

impl Native {
    pub(super) fn load_image(&self, image: &[u8]) -> Result<Module, DriverError> {
        let _here = self.enter()?;
        let mut module = 0;
        let failed = |cause: String| DriverError::Image { chip: self.facts.chip.to_string(), cause };
        // Drivers read the length from the image's own header: nothing shorter than one is handed over.
        if image.len() < 64 {
            return Err(failed(format!("{} bytes are no image", image.len())));
        }
        match call!(&self.api, module_load(&mut module, image.as_ptr().cast())) {
            Ok(()) => {}
            Err(DriverError::Call { cause, .. }) => return Err(failed(cause)),
            Err(other) => return Err(other),
        }
        let mut state = self.state();
        state.modules.push(module);
        Ok(Module(state.modules.len() as u32 - 1))
    }

    pub(super) fn drop_image(&self, module: Module) {
        let handle = self.state().modules.get_mut(module.0 as usize).map_or(0, std::mem::take);
        if handle != 0 {
            if let Ok(_here) = self.enter() {
                drop(call!(&self.api, module_unload(handle)));
            }
        }
    }

    pub(super) fn find_function(&self, module: Module, name: &str) -> Result<driver::Function, DriverError> {
        let _here = self.enter()?;
        let mut state = self.state();
        let call = self.api.calls.module_function.name;
        let handle = state.modules.get(module.0 as usize).copied().filter(|m| *m != 0);
        let handle = handle.ok_or_else(|| wrong(call, format!("no {module:?}")))?;
        let text = CString::new(name).map_err(|_| DriverError::Kernel(name.into()))?;
        let mut function = 0;
        match call!(&self.api, module_function(&mut function, handle, text.as_ptr())) {
            Ok(()) => {}
            Err(DriverError::Call { cause, .. }) if cause == self.api.word(code::NOT_FOUND) => {
                return Err(DriverError::Kernel(name.into()));
            }
            Err(other) => return Err(other),
        }
        // CUDA: 48 kB less what the kernel declares.
        let shared = self.attribute(function, flag::FUNCTION_DYNAMIC).unwrap_or(0);
        let registers = self.attribute(function, flag::FUNCTION_REGISTERS).unwrap_or(0);
        state.functions.push(Function { handle: function, name: name.into(), shared, registers, division: 0 });
        Ok(driver::Function(state.functions.len() as u32 - 1))
    }

    /// A number of a function; zero where it is none.
    fn attribute(&self, function: Handle, number: c_int) -> Result<u32, DriverError> {
        let mut value = 0;
        call!(&self.api, function_attribute(&mut value, number, function))?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// On HIP `registers` is what the runtime says, in some versions the registers that were there to be used.
    pub(super) fn facts_of(&self, function: driver::Function) -> Result<FunctionFacts, DriverError> {
        let _here = self.enter()?;
        let call = self.api.calls.function_attribute.name;
        let state = self.state();
        let found = state.functions.get(function.0 as usize).ok_or_else(|| wrong(call, format!("no {function:?}")))?;
        let value = |number| self.attribute(found.handle, number);
        Ok(FunctionFacts {
            registers: value(flag::FUNCTION_REGISTERS)?,
            shared: value(flag::FUNCTION_SHARED)?,
            local: value(flag::FUNCTION_LOCAL)?,
            threads: value(flag::FUNCTION_THREADS)?,
        })
    }

    pub(super) fn queue(&self, launch: &Launch) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let mut state = self.state();
        let Launch { function: number, grid, block, shared, stream, args } = *launch;
        let call = self.api.calls.launch.name;
        let function =
            state.functions.get_mut(number.0 as usize).ok_or_else(|| wrong(call, format!("no {number:?}")))?;
        let failed = |function: &Function, cause: String| DriverError::Launch { kernel: function.name.clone(), cause };
        let named = |function: &Function, error: DriverError| match error {
            DriverError::Call { cause, .. } => failed(function, cause),
            other => other,
        };
        if args.len() > ARGUMENTS {
            return Err(failed(function, format!("{} arguments, {ARGUMENTS} at most", args.len())));
        }
        if shared > self.facts.shared {
            let cause = format!("{shared} bytes of shared memory wanted, the device has {}", self.facts.shared);
            return Err(failed(function, cause));
        }
        // CUDA gives a block more than the usual 48 kB only where a kernel asks; AMD's devices give all they have.
        if self.api.vendor.cuda && shared > function.shared {
            let size = c_int::try_from(shared).unwrap_or(c_int::MAX);
            call!(&self.api, function_set(function.handle, flag::FUNCTION_DYNAMIC, size))
                .map_err(|e| named(function, e))?;
            function.shared = shared;
        }
        // How much of a multiprocessor's first cache is shared memory is the driver's choice, which may leave room for fewer such blocks than there
        // could be. And a multiprocessor takes blocks of kernels that want another division only when it is empty: all that may run beside each
        // other, kernels with shared memory and those of the other stream, want that of the angles' kernels. A hint: whether it is followed shows
        // in time alone.
        if self.api.vendor.cuda && (shared > 0 || stream == Stream::Beside) {
            let division =
                division((self.facts.unit_shared, self.facts.reserved_shared), function.registers, block, shared);
            if division > function.division {
                function.division = division;
                drop(call!(&self.api, function_set(function.handle, flag::FUNCTION_CARVEOUT, division)));
            }
        }
        let mut pointers = [std::ptr::null_mut::<c_void>(); ARGUMENTS];
        for (pointer, arg) in pointers.iter_mut().zip(args) {
            // The driver copies the values during the call and writes none.
            *pointer = match arg {
                Arg::Pointer(value, _) => std::ptr::from_ref(value).cast_mut().cast(),
                Arg::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
                Arg::U64(value) => std::ptr::from_ref(value).cast_mut().cast(),
                Arg::F64(value) => std::ptr::from_ref(value).cast_mut().cast(),
            };
        }
        let none = std::ptr::null_mut();
        let handle = self.stream(stream);
        call!(&self.api, launch(function.handle, grid, 1, 1, block, 1, 1, shared, handle, pointers.as_mut_ptr(), none))
            .map_err(|e| named(function, e))?;
        state.last[stream as usize] = Some(Queued::Function(number.0));
        Ok(())
    }

    /// # Safety
    /// As [`driver::Driver::copy`].
    pub(super) unsafe fn queue_copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), DriverError> {
        if bytes == 0 {
            return Ok(());
        }
        let _here = self.enter()?;
        let (size, stream) = (usize::try_from(bytes).unwrap_or(usize::MAX), self.stream(stream));
        if self.api.vendor.cuda {
            call!(&self.api, copy(to, from, size, stream))
        } else {
            call!(&self.api, copy_kind(to, from, size, flag::ANY_COPY, stream))
        }
    }

    /// What a wait tells: a kernel's fault is told with the last kernel's name.
    pub(super) fn settle(&self, stream: Stream) -> Result<(), DriverError> {
        let here = self.enter()?;
        let call = &self.api.calls.stream_synchronise;
        let function = call.get(&self.api.title, BROKEN)?;
        // SAFETY: a stream of this library.
        let result = unsafe { function(self.stream(stream)) };
        drop(here);
        let mut state = self.state();
        let last = state.last[stream as usize].take();
        if !code::fault(result) {
            return self.api.check(call.name, result);
        }
        let kernel = match last {
            Some(Queued::Function(f)) => {
                format!("{} (or one queued before it)", state.functions.get(f as usize).map_or("?", |f| &f.name))
            }
            Some(Queued::Graph) => "of a recorded step".into(),
            None => "unknown".into(),
        };
        Err(DriverError::Launch { kernel, cause: self.api.word(result) })
    }

    pub(super) fn start_recording(&self) -> Result<(), DriverError> {
        let _here = self.enter()?;
        if let Some(oldest) = self.api.vendor.records_from.filter(|oldest| self.api.version < *oldest) {
            let cause =
                format!("{} records no streams that part and join before {}.{}", self.api.title, oldest.0, oldest.1);
            return Err(wrong(self.api.calls.capture_begin.name, cause));
        }
        call!(&self.api, capture_begin(self.stream(Stream::Compute), flag::CAPTURE), "set WEIR_GRAPH=off")?;
        self.state().recording = true;
        Ok(())
    }

    pub(super) fn finish_recording(&self) -> Result<Graph, DriverError> {
        let _here = self.enter()?;
        let (mut graph, mut ready) = (0, 0);
        self.state().recording = false;
        let ended = call!(&self.api, capture_end(self.stream(Stream::Compute), &mut graph), "set WEIR_GRAPH=off");
        if ended.is_err() && !self.api.vendor.cuda {
            self.renew_streams()?;
        }
        ended?;
        if graph == 0 {
            let cause = "the recording was cut short by a call that cannot be recorded".into();
            return Err(wrong(self.api.calls.capture_end.name, cause));
        }
        // HIP has the flag in newer versions only, and older ones refuse what they do not know.
        let flags = if self.api.vendor.cuda { flag::NODE_PRIORITIES } else { 0 };
        let made = call!(&self.api, graph_instantiate(&mut ready, graph, flags), "set WEIR_GRAPH=off");
        drop(call!(&self.api, graph_destroy(graph)));
        made?;
        if let Err(error) = self.upload(ready) {
            drop(call!(&self.api, graph_drop(ready)));
            return Err(error);
        }
        let mut state = self.state();
        // What was only recorded did not run.
        state.last = [None; Stream::ALL.len()];
        state.graphs.push(ready);
        Ok(Graph(state.graphs.len() as u32 - 1))
    }

    /// Takes what recorded work needs on the device now: where memory is short its first run would fail, which is too late to queue it piece by
    /// piece.
    fn upload(&self, ready: Handle) -> Result<(), DriverError> {
        if self.api.calls.graph_upload.function.is_none() {
            return Ok(());
        }
        let stream = self.stream(Stream::Compute);
        call!(&self.api, graph_upload(ready, stream), "set WEIR_GRAPH=off")?;
        call!(&self.api, stream_synchronise(stream))
    }

    pub(super) fn run_recorded(&self, graph: Graph) -> Result<(), DriverError> {
        let _here = self.enter()?;
        let mut state = self.state();
        let name = self.api.calls.graph_launch.name;
        let handle = state.graphs.get(graph.0 as usize).copied().filter(|g| *g != 0);
        let handle = handle.ok_or_else(|| wrong(name, format!("no {graph:?}")))?;
        call!(&self.api, graph_launch(handle, self.stream(Stream::Compute)))?;
        state.last[Stream::Compute as usize] = Some(Queued::Graph);
        Ok(())
    }

    pub(super) fn drop_recorded(&self, graph: Graph) {
        let handle = self.state().graphs.get_mut(graph.0 as usize).map_or(0, std::mem::take);
        if handle != 0 {
            if let Ok(_here) = self.enter() {
                drop(call!(&self.api, graph_drop(handle)));
            }
        }
    }
}

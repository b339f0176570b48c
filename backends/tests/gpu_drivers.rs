//! Promises of the CUDA and HIP drivers, kept on a machine without either: against a stub of their libraries.

mod stub;

use stub::{Stub, Vendor, BOTH};
use weir_backends::gpu::driver::{
    Arg, DriverError, Function, FunctionFacts, HostWork, Launch, Memory, Module, Shared, Side, Stream,
};

fn image() -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..4].copy_from_slice(b"\x7fELF");
    image
}

fn launch<'a>(function: Function, shared: u32, args: &'a [Arg]) -> Launch<'a> {
    Launch { function, grid: 3, block: 128, shared, stream: Stream::Compute, args }
}

/// Numbers in memory of the stub, which is ordinary memory.
fn numbers(address: u64, n: usize) -> Vec<f64> {
    // SAFETY: the stub's allocations are as long as asked for.
    unsafe { std::slice::from_raw_parts(address as *const f64, n) }.to_vec()
}

fn fill_numbers(driver: &Shared, address: u64, values: &[f64]) {
    // SAFETY: both ends hold the values, and the stub copies at once.
    unsafe { driver.copy(Stream::In, address, values.as_ptr() as u64, size_of_val(values) as u64) }.unwrap();
}

#[test]
fn a_missing_symbol_is_an_error_that_names_it() {
    type Use = fn(&Shared) -> Result<(), DriverError>;
    let uses: [(&str, &str, Use); 13] = [
        ("cuMemAlloc_v2", "hipMalloc", |d| d.allocate(Memory::Device, 8).map(drop)),
        ("cuMemHostAlloc", "hipHostMalloc", |d| d.allocate(Memory::Pinned, 8).map(drop)),
        ("cuMemAllocManaged", "hipMallocManaged", |d| d.allocate(Memory::Managed, 8).map(drop)),
        ("cuMemGetInfo_v2", "hipMemGetInfo", |d| d.memory().map(drop)),
        ("cuModuleLoadData", "hipModuleLoadData", |d| d.load(&image()).map(drop)),
        ("cuModuleGetFunction", "hipModuleGetFunction", |d| d.function(d.load(&image())?, "scale").map(drop)),
        ("cuLaunchKernel", "hipModuleLaunchKernel", |d| {
            let f = d.function(d.load(&image())?, "scale")?;
            d.launch(&launch(f, 0, &[]))
        }),
        ("cuEventCreate", "hipEventCreateWithFlags", |d| d.event().map(drop)),
        ("cuMemsetD8Async", "hipMemsetD8Async", |d| d.fill(Stream::Out, 1, 0, 1)),
        // SAFETY: never reached, the function is not there.
        ("cuMemcpyAsync", "hipMemcpyAsync", |d| unsafe { d.copy(Stream::Out, 1, 2, 1) }),
        // SAFETY: never reached, the function is not there.
        ("cuLaunchHostFunc", "hipLaunchHostFunc", |d| unsafe {
            d.host(Stream::In, HostWork { function: add, data: 0 })
        }),
        ("cuStreamBeginCapture_v2", "hipStreamBeginCapture", |d| d.begin_capture()),
        ("cuStreamSynchronize", "hipStreamSynchronize", |d| d.synchronise(Stream::In)),
    ];
    for vendor in BOTH {
        let named =
            |(cuda, hip, _): &(&'static str, &'static str, Use)| if vendor == Vendor::Cuda { *cuda } else { *hip };
        // All that do not need each other are taken away together.
        let (alone, together): (Vec<_>, Vec<_>) = uses.iter().partition(|u| u.0.starts_with("cuModule"));
        for lacking in alone.iter().map(std::slice::from_ref).chain([&together[..]]) {
            let stub = Stub::new(vendor, &lacking.iter().map(|u| named(u)).collect::<Vec<_>>());
            let driver = stub.open(0).unwrap();
            for one in lacking {
                let error = one.2(&driver).expect_err(named(one));
                assert!(matches!(error, DriverError::Unsupported { call, .. } if call == named(one)), "{error}");
                assert!(error.to_string().contains(named(one)), "{error}");
            }
        }
        // What every start needs.
        let names: [&str; 3] = match vendor {
            Vendor::Cuda => ["cuInit", "cuDriverGetVersion", "cuCtxGetCurrent"],
            Vendor::Hip => ["hipInit", "hipRuntimeGetVersion", "hipGetDevice"],
        };
        for name in names {
            let error = Stub::new(vendor, &[name]).open(0).err().expect(name);
            assert!(matches!(error, DriverError::Unusable { .. }) && error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn memory_is_counted_and_too_much_of_it_is_an_error_with_numbers() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let before = stub.live();
        let (a, b) = (driver.allocate(Memory::Device, 1000).unwrap(), driver.allocate(Memory::Device, 0).unwrap());
        let (c, d) = (driver.allocate(Memory::Pinned, 500).unwrap(), driver.allocate(Memory::Managed, 7).unwrap());
        assert_eq!((driver.held(), stub.live() - before), (1000, 4));
        assert!([a, b, c, d].iter().all(|p| p % 256 == 0));
        driver.free(Memory::Device, a);
        driver.free(Memory::Device, a);
        assert_eq!((driver.held(), stub.live() - before), (0, 3));
        driver.free(Memory::Device, b);
        driver.free(Memory::Pinned, c);
        driver.free(Memory::Managed, d);
        assert_eq!(stub.live(), before);
        let record = stub.record();
        let pinned = stub.name("cuMemFreeHost()", "hipHostFree()");
        assert_eq!(record.matches(pinned).count(), 1, "{record}");
        // Portable and mapped.
        assert!(record.contains(stub.name("cuMemHostAlloc(500, 3)", "hipHostMalloc(500, 3)")), "{record}");
        assert_eq!(driver.memory().unwrap(), (1 << 20, 96 << 30));
        let error = driver.allocate(Memory::Device, 1 << 21).unwrap_err();
        assert_eq!(error, DriverError::OutOfMemory { memory: "device", bytes: 1 << 21, free: 1 << 20 });
        let error = driver.allocate(Memory::Pinned, 1 << 21).unwrap_err();
        assert!(matches!(error, DriverError::OutOfMemory { memory: "pinned", free: 1.., .. }), "{error}");
        assert_eq!(driver.held(), 0);
    }
}

#[test]
fn managed_memory_is_advised_by_location_and_by_device_number_on_old_drivers() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(1).unwrap();
        stub.record();
        driver.advise(256, 10, Side::Host(Some(3))).unwrap();
        driver.prefetch(256, 10, Side::Host(Some(3)), Stream::Out).unwrap();
        driver.advise(256, 10, Side::Device).unwrap();
        let record = stub.record();
        let advise = stub.name("cuMemAdvise_v2", "hipMemAdvise_v2");
        let prefetch = stub.name("cuMemPrefetchAsync_v2", "hipMemPrefetchAsync_v2");
        for line in ["(10, 3, 3:3)", "(10, 5, 1:1)", "(10, 3, 1:1)"].map(|a| format!("{advise}{a}")) {
            assert!(record.contains(&line), "{line} not in {record}");
        }
        assert!(record.contains(&format!("{prefetch}(10, 3:3, 0)")), "{record}");

        let stub = Stub::new(vendor, &[advise, prefetch]);
        let driver = stub.open(1).unwrap();
        stub.record();
        driver.advise(256, 10, Side::Host(Some(3))).unwrap();
        driver.prefetch(256, 10, Side::Device, Stream::In).unwrap();
        let record = stub.record();
        let (advise, prefetch) =
            (stub.name("cuMemAdvise", "hipMemAdvise"), stub.name("cuMemPrefetchAsync", "hipMemPrefetchAsync"));
        for line in [format!("{advise}(10, 3, -1)"), format!("{advise}(10, 5, 1)"), format!("{prefetch}(10, 1)")] {
            assert!(record.contains(&line), "{line} not in {record}");
        }
        // A device that cannot: an answer with the way out.
        stub.fail(advise, 801);
        let error = driver.advise(256, 10, Side::Device).unwrap_err();
        assert!(matches!(error, DriverError::Unsupported { .. }) && error.to_string().contains("copies"), "{error}");
    }
}

#[test]
fn kernels_get_their_arguments_and_unknown_ones_are_named() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        assert!(matches!(driver.load(b"no image"), Err(DriverError::Image { .. })));
        let chip = stub.name("sm_90a", "gfx942");
        assert!(matches!(driver.load(&[0; 64]), Err(DriverError::Image { chip: c, .. }) if c == chip));
        let module = driver.load(&image()).unwrap();
        assert_eq!(driver.function(module, "absent"), Err(DriverError::Kernel("absent".into())));
        assert!(driver.function(Module(7), "scale").is_err());
        let scale = driver.function(module, "scale").unwrap();
        let facts = driver.function_facts(scale).unwrap();
        assert_eq!(facts, FunctionFacts { registers: 40, shared: 128, local: 16, threads: 1024 });

        let memory = driver.allocate(Memory::Device, 64).unwrap();
        fill_numbers(&driver, memory, &[1.0, 2.0, 3.0, 4.0]);
        let args = [Arg::Pointer(memory, 64), Arg::U64(1), Arg::U32(2), Arg::F64(-0.5)];
        driver.launch(&launch(scale, 0, &args)).unwrap();
        driver.synchronise(Stream::Compute).unwrap();
        assert_eq!(numbers(memory, 4), [1.0, -1.0, -1.5, 4.0]);
        let line =
            stub.name("cuLaunchKernel(scale, 3 1 1, 128 1 1, 0)", "hipModuleLaunchKernel(scale, 3 1 1, 128 1 1, 0)");
        assert!(stub.record().contains(line));
        assert!(matches!(driver.launch(&launch(scale, 0, &[Arg::U32(0); 65])), Err(DriverError::Launch { .. })));
        assert!(driver.launch(&launch(Function(9), 0, &args)).is_err());
        let error = driver.launch(&launch(scale, 1 << 20, &args)).unwrap_err();
        assert!(matches!(&error, DriverError::Launch { kernel, .. } if kernel == "scale"), "{error}");
    }
}

#[test]
fn one_stream_comes_first_and_its_kernels_divide_the_cache_as_others_do() {
    let args = [Arg::Pointer(0, 0), Arg::U64(0), Arg::U32(0), Arg::F64(0.0)];
    for (vendor, asked) in [(Vendor::Cuda, 1), (Vendor::Hip, 0)] {
        let stub = Stub::new(vendor, &[]);
        stub.record();
        let driver = stub.open(0).unwrap();
        let made = stub.record();
        let (plain, first) = (
            stub.name("cuStreamCreate(1)", "hipStreamCreateWithFlags(1)"),
            stub.name("cuStreamCreateWithPriority(1, -1)", "hipStreamCreateWithPriority(1, -1)"),
        );
        assert_eq!((made.matches(plain).count(), made.matches(first).count()), (3, 1), "{made}");
        let scale = driver.function(driver.load(&image()).unwrap(), "scale").unwrap();
        stub.record();
        for stream in [Stream::Compute, Stream::Beside, Stream::Beside] {
            driver.launch(&Launch { stream, ..launch(scale, 0, &args) }).unwrap();
        }
        assert_eq!(stub.record().matches("cuFuncSetAttribute").count(), asked);
    }
}

#[test]
fn shared_memory_is_asked_for_on_cuda_and_never_on_hip() {
    let args = [Arg::Pointer(0, 0), Arg::U64(0), Arg::U32(0), Arg::F64(0.0)];
    for (vendor, asked) in [(Vendor::Cuda, [2, 1]), (Vendor::Hip, [0, 0])] {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let scale = driver.function(driver.load(&image()).unwrap(), "scale").unwrap();
        stub.record();
        driver.launch(&launch(scale, 8_000, &args)).unwrap();
        assert_eq!(stub.record().contains("cuFuncSetAttribute(9, 85)"), vendor == Vendor::Cuda);
        // 49024: what 48 kB leave beside the 128 bytes that the kernel declares.
        driver.launch(&launch(scale, 49_024, &args)).unwrap();
        assert!(!stub.record().contains("cuFuncSetAttribute(8, "));
        for shared in [49_025, 60_000, 60_000, 50_000] {
            driver.launch(&launch(scale, shared, &args)).unwrap();
        }
        let record = stub.record();
        // With it as much of the cache as can be, so that several such blocks find room.
        let of = ["cuFuncSetAttribute(8, ", "cuFuncSetAttribute(9, 100)"].map(|call| record.matches(call).count());
        assert_eq!(of, asked, "{record}");
    }
}

#[test]
fn a_fault_is_told_with_the_kernels_name() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let fault = driver.function(driver.load(&image()).unwrap(), "fault").unwrap();
        driver.launch(&launch(fault, 0, &[])).unwrap();
        let error = driver.synchronise(Stream::Compute).unwrap_err();
        let DriverError::Launch { kernel, cause } = &error else { panic!("{error}") };
        assert!(kernel.starts_with("fault"), "{kernel}");
        assert!(
            cause.contains(stub.name("CUDA_ERROR_ILLEGAL_ADDRESS (700)", "hipErrorIllegalAddress (700)")),
            "{cause}"
        );
        // The launch itself.
        stub.fail(stub.name("cuLaunchKernel", "hipModuleLaunchKernel"), 719);
        let error = driver.launch(&launch(fault, 0, &[])).unwrap_err();
        assert!(matches!(&error, DriverError::Launch { kernel, .. } if kernel == "fault"), "{error}");
    }
}

#[test]
fn a_code_that_no_list_holds_is_still_an_error() {
    let stub = Stub::new(Vendor::Cuda, &[]);
    let driver = stub.open(0).unwrap();
    stub.fail("cuMemGetInfo_v2", 9999);
    let expected = DriverError::Call { call: "cuMemGetInfo_v2", cause: "error 9999".into() };
    assert_eq!(driver.memory(), Err(expected));
}

#[test]
fn recorded_work_runs_when_it_is_replayed_and_not_before() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let (a, b) = (driver.allocate(Memory::Device, 64).unwrap(), driver.allocate(Memory::Pinned, 64).unwrap());
        driver.fill(Stream::Compute, a, 1, 64).unwrap();
        driver.fill(Stream::Compute, b, 2, 64).unwrap();
        let bytes = |address: u64| numbers(address, 8).iter().map(|x| x.to_ne_bytes()[0]).collect::<Vec<_>>();
        driver.begin_capture().unwrap();
        driver.fill(Stream::Compute, a, 7, 64).unwrap();
        // SAFETY: 64 bytes each, alive until the driver goes.
        unsafe { driver.copy(Stream::Compute, b, a, 64) }.unwrap();
        let graph = driver.end_capture().unwrap();
        assert_eq!((bytes(a), bytes(b)), (vec![1; 8], vec![2; 8]));
        for _ in 0..2 {
            driver.fill(Stream::Compute, b, 3, 64).unwrap();
            driver.replay(graph).unwrap();
            driver.synchronise(Stream::Compute).unwrap();
            assert_eq!((bytes(a), bytes(b)), (vec![7; 8], vec![7; 8]));
        }
        driver.forget(graph);
        driver.forget(graph);
        assert!(driver.replay(graph).is_err());
        // Only this thread's calls are held to the rules of recording. Where the driver knows the flag, kernels keep their priorities.
        let record = stub.record();
        for line in [
            stub.name("cuStreamBeginCapture_v2(1)", "hipStreamBeginCapture(1)"),
            stub.name("cuGraphInstantiateWithFlags(8)", "hipGraphInstantiateWithFlags(0)"),
        ] {
            assert!(record.contains(line), "no {line} in {record}");
        }
        stub.fail(stub.name("cuStreamEndCapture", "hipStreamEndCapture"), 901);
        driver.begin_capture().unwrap();
        stub.record();
        assert!(driver.end_capture().is_err());
        // HIP leaves streams recording then: they give way to others.
        let made = stub.record().matches("StreamCreate").count();
        assert_eq!(made, if matches!(vendor, Vendor::Cuda) { 0 } else { Stream::ALL.len() });
        driver.fill(Stream::Compute, a, 9, 64).unwrap();
        driver.synchronise(Stream::Compute).unwrap();
        assert_eq!(bytes(a), vec![9; 8]);
    }
}

#[test]
fn memory_that_recorded_work_lacks_shows_when_the_recording_ends_and_not_when_it_runs() {
    let stub = Stub::new(Vendor::Cuda, &[]);
    let driver = stub.open(0).unwrap();
    let before = stub.live();
    stub.record();
    stub.fail("cuGraphUpload", 2);
    driver.begin_capture().unwrap();
    let error = driver.end_capture().unwrap_err();
    assert!(error.to_string().contains("cuGraphUpload") && error.to_string().contains("(2)"), "{error}");
    assert_eq!(stub.live(), before, "{}", stub.record());
    stub.fail("", 0);
    stub.record();
    driver.begin_capture().unwrap();
    let graph = driver.end_capture().unwrap();
    let record = stub.record();
    let at = |call: &str| record.find(call).unwrap_or_else(|| panic!("no {call} in {record}"));
    assert!(at("cuGraphUpload()\ncuStreamSynchronize()") > at("cuGraphInstantiateWithFlags"), "{record}");
    driver.replay(graph).unwrap();
    // A driver that does not have the call, and HIP, whose oldest versions do not.
    for stub in [Stub::new(Vendor::Cuda, &["cuGraphUpload"]), Stub::new(Vendor::Hip, &[])] {
        let driver = stub.open(0).unwrap();
        driver.begin_capture().unwrap();
        driver.replay(driver.end_capture().unwrap()).unwrap();
        assert!(!stub.record().contains("Upload"));
    }
}

#[test]
fn versions_that_cannot_record_parting_streams_say_so() {
    let stub = Stub::new(Vendor::Hip, &[]);
    stub.set("version", 60_042_134);
    let told = stub.open(0).unwrap().begin_capture().unwrap_err().to_string();
    assert!(told.contains("hip 6.0") && told.contains("6.1"), "{told}");
}

/// Adds one to a number.
unsafe extern "C" fn add(number: *mut std::ffi::c_void) {
    // SAFETY: the tests below hand it the address of a number.
    unsafe { *number.cast::<u64>() += 1 };
}

#[test]
fn work_of_the_host_runs_in_its_stream_and_in_what_was_recorded() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let mut count = 0u64;
        let work = HostWork { function: add, data: (&raw mut count) as u64 };
        let read = || {
            // SAFETY: alive, and nothing runs: the stub works at once.
            unsafe { (work.data as *const u64).read_volatile() }
        };
        // SAFETY: the number outlives the driver's use of it.
        unsafe { driver.host(Stream::Out, work) }.unwrap();
        assert_eq!(read(), 1);
        driver.begin_capture().unwrap();
        // SAFETY: as above.
        unsafe { driver.host(Stream::Compute, work) }.unwrap();
        let graph = driver.end_capture().unwrap();
        assert_eq!(read(), 1, "recorded, not run");
        for n in 2..4 {
            driver.replay(graph).unwrap();
            assert_eq!(read(), n);
        }
        driver.forget(graph);
    }
}

#[test]
fn events_measure_seconds_and_order_streams() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let (a, b) = (driver.event().unwrap(), driver.event().unwrap());
        driver.record(a, Stream::Compute).unwrap();
        driver.record(b, Stream::Out).unwrap();
        driver.wait(Stream::In, b).unwrap();
        assert_eq!(driver.elapsed(a, b).unwrap(), 1.5e-3);
        assert!(stub.record().contains(stub.name("cuStreamWaitEvent(0)", "hipStreamWaitEvent(0)")));
        driver.range(Some(
            "a named range that is much longer than any line that a profiler shows, which must do no harm at all",
        ));
        driver.range(None);
    }
}

#[test]
fn events_and_images_are_given_back_once() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let before = stub.live();
        let (event, module) = (driver.event().unwrap(), driver.load(&image()).unwrap());
        assert_eq!(stub.live(), before + 2);
        for _ in 0..2 {
            driver.drop_event(event);
            driver.unload(module);
            assert_eq!(stub.live(), before);
        }
        assert!(driver.record(event, Stream::Compute).is_err());
        assert!(driver.function(module, "scale").is_err());
        // The number of an event that is gone serves the next one.
        assert_eq!(driver.event().unwrap(), event);
        driver.record(event, Stream::Compute).unwrap();
        drop(driver);
        assert_eq!(stub.live(), 0, "{}", stub.record());
    }
}

#[test]
fn the_callers_device_stays_current() {
    for (vendor, theirs) in [(Vendor::Cuda, 0x2000), (Vendor::Hip, 0)] {
        let stub = Stub::new(vendor, &[]);
        stub.set_current(theirs);
        let driver = stub.open(1).unwrap();
        assert_eq!(stub.current(), theirs);
        driver.allocate(Memory::Device, 8).unwrap();
        let set = stub.name("cuCtxSetCurrent(1001)", "hipSetDevice(1)");
        assert!(stub.record().contains(set));
        assert_eq!(stub.current(), theirs);
        let failing = stub.name("cuMemAlloc_v2", "hipMalloc");
        stub.fail(failing, 2);
        assert!(driver.allocate(Memory::Device, 8).is_err());
        assert_eq!(stub.current(), theirs, "after an error too");
        drop(driver);
        assert_eq!(stub.current(), theirs);
        // Another thread of the executor, which has no device yet.
        let driver = stub.open(1).unwrap();
        std::thread::scope(|s| {
            s.spawn(|| driver.memory().unwrap());
        });
    }
}

/// Everything there is, made and left to the driver.
fn busy(driver: &Shared) {
    let function = driver.function(driver.load(&image()).unwrap(), "scale").unwrap();
    driver.event().unwrap();
    for memory in [Memory::Device, Memory::Pinned, Memory::Managed] {
        driver.allocate(memory, 100).unwrap();
    }
    let args = [Arg::Pointer(0, 0), Arg::U64(0), Arg::U32(0), Arg::F64(0.0)];
    driver.launch(&launch(function, 0, &args)).unwrap();
    driver.begin_capture().unwrap();
    driver.end_capture().unwrap();
}

#[test]
fn teardown_gives_everything_back_and_touches_nothing_after_a_reset_or_a_fault() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        busy(&driver);
        assert!(stub.live() > 8);
        drop(driver);
        assert_eq!(stub.live(), 0, "{}", stub.record());
        // In the midst of a recording.
        let driver = stub.open(0).unwrap();
        driver.begin_capture().unwrap();
        drop(driver);
        assert_eq!(stub.live(), 0, "{}", stub.record());

        // Broken: waiting says so, and no handle is handed out any more.
        let driver = stub.open(0).unwrap();
        busy(&driver);
        stub.record();
        stub.fail(stub.name("cuStreamSynchronize", "hipStreamSynchronize"), 4);
        drop(driver);
        let record = stub.record();
        assert!(!record.contains("Destroy") && !record.contains("Free"), "{record}");
    }
    let stub = Stub::new(Vendor::Cuda, &[]);
    let driver = stub.open(0).unwrap();
    busy(&driver);
    stub.record();
    stub.set("reset", 0);
    drop(driver);
    let record = stub.record();
    assert_eq!(record, "cuDevicePrimaryCtxRelease_v2(0)\n");
}

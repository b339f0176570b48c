//! Opening a vendor's library and asking about its devices. Nothing here makes a context.

use super::calls::Calls;
use super::vendor::{Vendor, BROKEN};
use crate::gpu::driver::{DeviceFacts, DriverError};
use libloading::os::unix;
use libloading::Library;
use std::ffi::{c_char, c_int, CStr};
use std::path::{Path, PathBuf};

/// glibc's and musl's `RTLD_NOLOAD` (dlfcn.h): find what is loaded, load nothing.
const RTLD_NOLOAD: c_int = 4;

/// An opened library of a vendor. It stays loaded for the life of the process.
pub struct Api {
    pub vendor: &'static Vendor,
    pub calls: Calls,
    /// `cuda 12.4`
    pub title: String,
    pub version: (u32, u32),
    pub devices: u32,
}

/// Calls a function of the table and turns its code into an error. Arguments are handles of this library and pointers to live values.
macro_rules! call {
    ($api:expr, $field:ident ( $($argument:expr),* )) => {
        call!($api, $field ( $($argument),* ), $crate::gpu::native::BROKEN)
    };
    ($api:expr, $field:ident ( $($argument:expr),* ), $instead:expr) => {{
        let api: &$crate::gpu::native::Api = $api;
        match api.calls.$field.get(&api.title, $instead) {
            Err(error) => Err(error),
            // SAFETY: the function has the type of the vendor's header, and every use hands it handles that this library made and
            // pointers to values that outlive the call.
            Ok(function) => api.check(api.calls.$field.name, unsafe { function($($argument),*) }),
        }
    }};
}
pub(crate) use call;

impl Api {
    /// The first library that opens and is more than a stub; before all, one that the process has opened already: a second runtime would not
    /// know the host program's pointers.
    pub fn open(vendor: &'static Vendor) -> Result<Api, DriverError> {
        let libraries = (vendor.libraries)();
        let mut looked = Vec::new();
        let mut only_stubs = false;
        let opened = libraries.iter().filter_map(|path| Some((path, Ok(Api::opened(path)?))));
        for (path, library) in opened.chain(libraries.iter().map(|path| (path, Api::load(vendor, path)))) {
            let why = match library {
                Err(_) => String::new(),
                Ok(library) => {
                    let (api, code) = Api::begin(vendor, &library)?;
                    if vendor.stub != Some(code) {
                        return Api::start(api, code);
                    }
                    only_stubs = true;
                    " (the toolkit's stub, made for linking)".into()
                }
            };
            let place = format!("{}{why}", path.display());
            if !looked.contains(&place) {
                looked.push(place);
            }
        }
        let cause = format!("found none of {}", looked.join(", "));
        match only_stubs && (vendor.driven)() {
            false => Err(DriverError::Absent { driver: vendor.name, cause }),
            true => Err(DriverError::Unusable {
                device: format!("a {} device", vendor.name),
                cause: format!(
                    "{cause}; name the folder of the driver's library in LD_LIBRARY_PATH, before that of stubs"
                ),
            }),
        }
    }

    /// The library of this path.
    pub fn open_at(vendor: &'static Vendor, path: &Path) -> Result<Api, DriverError> {
        let library = Api::load(vendor, path)?;
        let (api, code) = Api::begin(vendor, &library)?;
        Api::start(api, code)
    }

    /// A library that somebody in this process has opened.
    fn opened(path: &Path) -> Option<std::mem::ManuallyDrop<Library>> {
        // SAFETY: nothing is loaded, so no initialiser runs. Never closed, as in `load`.
        let library = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | RTLD_NOLOAD) };
        library.ok().map(|l| std::mem::ManuallyDrop::new(l.into()))
    }

    fn load(vendor: &'static Vendor, path: &Path) -> Result<std::mem::ManuallyDrop<Library>, DriverError> {
        // SAFETY: loading a driver's library runs its initialisers, which have no preconditions. Never unloaded: it keeps threads.
        let library = unsafe { Library::new(path) };
        let absent = |e: libloading::Error| DriverError::Absent { driver: vendor.name, cause: e.to_string() };
        library.map(std::mem::ManuallyDrop::new).map_err(absent)
    }

    /// Its functions, and the code of its first call.
    fn begin(vendor: &'static Vendor, library: &Library) -> Result<(Api, c_int), DriverError> {
        // SAFETY: found under the vendor's name; `load` never unloads.
        let calls = unsafe { Calls::load(library, vendor.cuda) };
        let api = Api { vendor, calls, title: vendor.name.into(), version: (0, 0), devices: 0 };
        let init = api.calls.init.get(&api.title, BROKEN).map_err(|e| api.unusable(e.to_string()))?;
        // SAFETY: takes no pointer; may be called any number of times.
        let code = unsafe { init(0) };
        Ok((api, code))
    }

    fn unusable(&self, cause: String) -> DriverError {
        DriverError::Unusable { device: format!("a {} driver", self.vendor.name), cause }
    }

    fn start(mut api: Api, code: c_int) -> Result<Api, DriverError> {
        if (api.vendor.absent)(code) {
            return Err(api.no_device(&api.word(code)));
        }
        if code != 0 {
            return Err(api.unusable(format!("{}: {}", api.calls.init.name, api.word(code))));
        }
        let mut number = 0;
        call!(&api, version(&mut number)).map_err(|e| api.unusable(e.to_string()))?;
        api.version = (api.vendor.version)(number);
        api.title = format!("{} {}.{}", api.vendor.name, api.version.0, api.version.1);
        let (oldest, remedy) = api.vendor.oldest;
        if api.version < oldest {
            return Err(api.unusable(format!("{} is older than {}.{}; {remedy}", api.title, oldest.0, oldest.1)));
        }
        let mut count = 0;
        match call!(&api, count(&mut count)) {
            Err(DriverError::Call { .. }) => count = 0,
            other => other.map_err(|e| api.unusable(e.to_string()))?,
        }
        api.devices = u32::try_from(count).unwrap_or(0);
        if api.devices == 0 {
            return Err(api.no_device("the driver shows no device"));
        }
        Ok(api)
    }

    fn no_device(&self, word: &str) -> DriverError {
        let set = self.vendor.hiding.iter().filter_map(|n| Some(format!("{n}={}", std::env::var(n).ok()?)));
        let set: Vec<_> = set.collect();
        let hidden = if set.is_empty() { String::new() } else { format!(" ({})", set.join(", ")) };
        DriverError::Absent { driver: self.vendor.name, cause: format!("{word}{hidden}") }
    }

    /// An error for every code but 0.
    pub fn check(&self, call: &'static str, code: c_int) -> Result<(), DriverError> {
        if code == 0 {
            Ok(())
        } else {
            Err(DriverError::Call { call, cause: self.word(code) })
        }
    }

    /// Name, number and meaning of a code.
    pub fn word(&self, code: c_int) -> String {
        let text = |index: usize| -> Option<String> {
            let mut text: *const c_char = std::ptr::null();
            if let Some(function) = self.calls.words[index].function {
                // SAFETY: returns a static text for every code.
                text = unsafe { function(code) };
            } else if let Some(function) = [self.calls.error_name, self.calls.error_text][index].function {
                // SAFETY: writes one pointer to a static text, or fails.
                if unsafe { function(code, &mut text) } != 0 {
                    return None;
                }
            }
            // SAFETY: the vendor's static, null-terminated text.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match (text(0), text(1)) {
            (Some(name), Some(meaning)) => format!("{name} ({code}): {meaning}"),
            (Some(name), None) => format!("{name} ({code})"),
            _ => format!("error {code}"),
        }
    }

    /// An attribute, where the driver knows it.
    pub fn attribute(&self, device: c_int, number: c_int) -> Option<c_int> {
        let mut value = 0;
        call!(self, attribute(&mut value, number, device)).ok().map(|()| value)
    }

    /// What a device is.
    pub fn facts(&self, ordinal: u32) -> Result<(c_int, DeviceFacts), DriverError> {
        let mut device = 0;
        call!(self, device(&mut device, c_int::try_from(ordinal).unwrap_or(c_int::MAX)))?;
        let mut text = [0 as c_char; 256];
        call!(self, device_name(text.as_mut_ptr(), 255, device))?;
        let name = string(&text);
        let mut memory = 0usize;
        call!(self, device_memory(&mut memory, device))?;
        let numbers = &self.vendor.attributes;
        let unusable =
            |what: &str| DriverError::Unusable { device: name.clone(), cause: format!("it does not tell {what}") };
        let needed = |number: c_int, what: &str| {
            self.attribute(device, number)
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .ok_or_else(|| unusable(what))
        };
        let yes = |number: c_int| self.attribute(device, number).is_some_and(|v| v != 0);
        let shared = numbers.shared.iter().filter_map(|n| self.attribute(device, *n)).find(|v| *v > 0);
        let shared = shared.and_then(|v| u32::try_from(v).ok()).ok_or_else(|| unusable("its shared memory"))?;
        let bytes = |n: c_int| self.attribute(device, n).and_then(|v| u32::try_from(v).ok());
        let node = numbers.host_node.and_then(|n| self.attribute(device, n)).and_then(|n| u32::try_from(n).ok());
        let facts = DeviceFacts {
            chip: (self.vendor.chip)(self, device)?,
            driver: format!("{}.{}", self.version.0, self.version.1),
            wave: needed(numbers.wave, "how many threads run in step")?,
            units: needed(numbers.units, "how many multiprocessors it has")?,
            shared,
            // A driver that does not tell: a multiprocessor has at least what one block may have.
            unit_shared: bytes(numbers.unit_shared).map_or(shared, |unit| unit.max(shared)),
            reserved_shared: numbers.reserved_shared.and_then(bytes).unwrap_or(0),
            memory: memory as u64,
            pageable: yes(numbers.pageable),
            host_page_tables: yes(numbers.host_page_tables),
            concurrent_managed: yes(numbers.concurrent_managed),
            // One pool by its name too: runtimes before ROCm 6.2 do not call MI300A integrated.
            integrated: yes(numbers.integrated) || name.contains("MI300A"),
            host_node: node.or_else(|| self.bus_node(device)),
            name,
        };
        Ok((device, facts))
    }

    /// The NUMA node that sysfs names for a device.
    fn bus_node(&self, device: c_int) -> Option<u32> {
        let mut text = [0 as c_char; 64];
        call!(self, device_bus(text.as_mut_ptr(), 63, device)).ok()?;
        let bus = string(&text).to_lowercase();
        // A name that is none of a bus cannot lead out of the folder.
        if bus.is_empty()
            || !bus.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
            || bus.contains("..")
        {
            return None;
        }
        let path = PathBuf::from("/sys/bus/pci/devices").join(bus).join("numa_node");
        // -1 where the machine has one node.
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

/// A C text in a buffer; the last byte counts as its end.
pub fn string(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|c| c.to_ne_bytes()[0]).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

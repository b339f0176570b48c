//! A model's kernels and weights in one arithmetic. Most executors have one; where products are of halves a second one stands by, whose range is
//! f32's.

use super::super::array::Writer;
use super::super::driver::{Driver, DriverError, Memory, Module, Stream};
use super::super::launch::Kernels;
use super::super::memory::Held;
use super::super::weights::ModelArrays;
use super::super::{GpuError, GpuOptions};
use super::record::{Key, Recorded};
use super::Executor;
use crate::network::Shapes;
use std::sync::Arc;
use weir_engine::backend::ComputeError;
use weir_engine::model::Model;
use weir_engine::reference::output_slope;
use weir_kernels::{Chip, Products, Shape, SharedNumbers, Source};

/// See the module. Fields are dropped in this order: what was recorded before the memory it points to, memory before the image.
pub(super) struct Code {
    /// The step in this arithmetic, once it was recorded.
    pub recorded: Option<Recorded>,
    /// What a step of this arithmetic was last run for.
    pub ran: Option<Key>,
    /// Matrices of the model.
    pub weights: ModelArrays,
    memory: Held,
    /// Shared memory of the kernels, in numbers.
    pub shared: SharedNumbers,
    /// What adjoints are multiplied by between the fitting net and the gradients of edges: a power of two.
    pub adjoint_unit: f64,
    /// Nodes of a block.
    pub nodes_of_block: u64,
    source: Source,
    loaded: Option<Loaded>,
}

impl Code {
    /// Brings the weights to the device; kernels come with [`Code::load`].
    ///
    /// # Errors
    /// [`GpuError::Weight`], the driver's.
    pub fn new(driver: &Arc<dyn Driver>, model: &Model, shapes: &Shapes, shape: &Shape) -> Result<Self, GpuError> {
        let count = ModelArrays::counted(model, shapes, shape.double, shape.products)?.1;
        let memory = Held::new(driver, Memory::Device, count.length())?;
        let mut writer = Writer::new(memory.array.at, shape.double, shape.products);
        let weights = ModelArrays::new(&mut writer, model, shapes);
        let (at, bytes) = (writer.bytes.as_ptr() as u64, writer.bytes.len() as u64);
        // SAFETY: the writer's bytes live until the stream has been waited for, which happens after an error too.
        let sent = unsafe { driver.copy(Stream::Compute, memory.array.at, at, bytes) };
        let waited = driver.synchronise(Stream::Compute);
        sent.and(waited)?;
        Ok(Self {
            recorded: None,
            ran: None,
            weights,
            memory,
            shared: SharedNumbers::of(shape),
            adjoint_unit: adjoint_unit(model, shape.products),
            nodes_of_block: u64::from(shape.rows.node),
            source: Source::dpa3(shape),
            loaded: None,
        })
    }

    /// Finds or compiles the kernels and loads them, unless that was done. What did not go as it should meanwhile goes to `remarks`.
    ///
    /// # Errors
    /// [`GpuError::Compile`], the driver's.
    pub fn load(
        &mut self,
        driver: &Arc<dyn Driver>,
        options: &GpuOptions,
        remarks: &mut Vec<String>,
    ) -> Result<(), GpuError> {
        if self.loaded.is_none() {
            let (image, told) = super::super::compile::image(&self.source, driver.as_ref(), options)?;
            remarks.extend(told);
            let module = driver.load(&image)?;
            let image = Image { driver: driver.clone(), module };
            self.loaded = Some(Loaded { kernels: Kernels::of(driver.as_ref(), module)?, _image: image });
        }
        Ok(())
    }

    /// The kernels, which have been loaded.
    pub fn kernels(&self) -> Kernels {
        self.loaded.as_ref().expect("kernels are loaded before they are used").kernels
    }

    /// What the weights take of the device's memory.
    pub fn bytes(&self) -> u64 {
        self.memory.array.bytes
    }
}

/// About what the largest adjoint of a type's first features becomes: then the largest factor of a step is 270, 360 and 1700 in three models of
/// ours, where a half holds 65504 (an emulation, 2026-12-01).
const ADJOINT: f64 = 4096.0;

/// What adjoints are multiplied by so that halves are fine enough for them: they are as large as the energy depends on features, which differs by
/// a hundred times between trained models. One for products of other numbers.
pub fn adjoint_unit(model: &Model, products: Products) -> f64 {
    if products != Products::F16x3 {
        return 1.0;
    }
    let slope = output_slope(model);
    match slope.is_finite() && slope > 0.0 {
        true => (ADJOINT / slope).log2().floor().clamp(-64.0, 64.0).exp2(),
        false => 1.0,
    }
}

/// The kernels of the wider range cannot be had. To ask for their arithmetic from the start helps only where both together are too much.
fn without(error: &GpuError, chip: &Chip) -> ComputeError {
    let remedy = match error {
        GpuError::Compile(_) => format!("weir kernels build --arch {chip} --model FILE --precision f16x3 --out DIR makes them beforehand, on any machine with a compiler, and WEIR_KERNEL_DIR=DIR names the folder"),
        GpuError::Driver(DriverError::OutOfMemory { .. }) => {
            "set WEIR_PRECISION=tf32x3, which loads one set of kernels instead of two, or a smaller WEIR_HBM_BUDGET".into()
        }
        _ => "set WEIR_PRECISION=f32, which needs no matrix units".into(),
    };
    ComputeError::Wider { cause: error.to_string(), remedy }
}

/// Kernels and what keeps them there.
struct Loaded {
    kernels: Kernels,
    _image: Image,
}

/// An image on the device, until nobody needs it.
struct Image {
    driver: Arc<dyn Driver>,
    module: Module,
}

impl Drop for Image {
    fn drop(&mut self) {
        self.driver.unload(self.module);
    }
}

impl Executor {
    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        std::iter::once(&self.code).chain(&self.other)
    }

    /// Nothing that was recorded is run again: memory that it reads is about to change, or cannot be relied upon.
    pub(super) fn unrecord(&mut self) {
        for code in std::iter::once(&mut self.code).chain(&mut self.other) {
            code.recorded = None;
            code.ran = None;
        }
    }

    /// Whether products of the next step are of halves, and another arithmetic stands by whose range is f32's.
    pub fn may_widen(&self) -> bool {
        self.other.is_some() && !self.wide
    }

    /// The next steps are computed in the arithmetic that was asked for, or in that with the wider range.
    ///
    /// # Errors
    /// [`ComputeError::Wider`] where its kernels cannot be had.
    pub fn widen(&mut self, wide: bool) -> Result<(), ComputeError> {
        if self.wide == wide {
            return Ok(());
        }
        let Some(other) = &mut self.other else { return Ok(()) };
        let loaded = other.load(&self.launcher.driver, &self.options, &mut self.came_up);
        loaded.map_err(|e| without(&e, &self.launcher.driver.facts().chip))?;
        std::mem::swap(&mut self.code, other);
        (self.launcher.kernels, self.launcher.shared) = (self.code.kernels(), self.code.shared);
        self.wide = wide;
        Ok(())
    }
}

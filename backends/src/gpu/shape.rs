//! A model as the kernel text wants to be told of it.

use super::driver::{DeviceFacts, Driver};
use super::weights::ModelArrays;
use super::{GpuError, GpuOptions};
use crate::cpu::{PrecisionChoice, Store};
use crate::network::Shapes;
use weir_allocators::policy::Precision;
use weir_engine::activation::Activation;
use weir_engine::model::Model;
use weir_kernels::{Chip, Products, Room, Rows, Shape, Source};

/// Shared memory of a block on a chip, as its driver tells; none for chips that nobody has looked up. CUDA: the programming guide's table of
/// compute capabilities; the system keeps a kilobyte of every block. AMD: local data share of a compute unit, which one workgroup may have.
pub fn room(chip: &Chip) -> Option<Room> {
    let kilobytes = match chip {
        // That of the emulated device.
        Chip::Host => 160,
        Chip::Cuda(arch) => match arch.trim_start_matches("sm_").trim_end_matches(['a', 'f']) {
            "80" | "87" => 163,
            "86" | "89" | "120" | "121" => 99,
            "90" | "100" | "101" | "103" | "110" => 227,
            _ => return None,
        },
        Chip::Hip(arch) => match arch.as_str() {
            "gfx906" | "gfx908" | "gfx90a" | "gfx940" | "gfx941" | "gfx942" | "gfx1100" | "gfx1101" | "gfx1151" => 64,
            "gfx950" => 160,
            _ => return None,
        },
    };
    Some(room_of(chip, kilobytes << 10))
}

/// As [`room`], where a block may have so many bytes at most.
pub fn room_of(chip: &Chip, most: u32) -> Room {
    let reserved = if matches!(chip, Chip::Cuda(_)) { 1 << 10 } else { 0 };
    Room::of_unit(most + reserved, reserved, most).of_chip(chip)
}

/// What a device tells, unless a limit was set.
pub fn room_on(facts: &DeviceFacts, limit: Option<u32>) -> Room {
    let whole = Room::of_unit(facts.unit_shared, facts.reserved_shared, facts.shared).of_chip(&facts.chip);
    limit.map_or(whole, |l| Room::all(l.min(facts.shared)))
}

/// The text of a model's kernels for blocks with so much shared memory, as a calculator asks for it.
///
/// # Errors
/// [`GpuError::Sequential`], [`GpuError::SequentialStore`], [`GpuError::Shared`].
pub fn precompiled(model: &Model, arithmetic: Arithmetic, store: Store, room: Room) -> Result<Source, GpuError> {
    fitted(model, &Shapes::of(model), arithmetic, store, room).map(|shape| Source::dpa3(&shape))
}

/// What numbers are, and how matrices of them are multiplied (f32 only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// Numbers.
    pub precision: PrecisionChoice,
    /// Products.
    pub products: Products,
}

impl Arithmetic {
    /// That of `WEIR_PRECISION`; none for what has no kernels yet.
    pub fn of(precision: Precision) -> Option<Self> {
        let single = |products| Self { precision: PrecisionChoice::F32, products };
        match precision {
            Precision::Model => Some(PrecisionChoice::Model.into()),
            Precision::F64 => Some(PrecisionChoice::F64.into()),
            Precision::F32 => Some(PrecisionChoice::F32.into()),
            Precision::Tf32x3 => Some(single(Products::Tf32x3)),
            Precision::F16x3 => Some(single(Products::F16x3)),
            Precision::Tf32 => Some(single(Products::Tf32)),
            Precision::Bf16 => None,
        }
    }

    /// That of steps beyond its range, where it has a smaller one than f32.
    pub fn wider(self) -> Option<Self> {
        self.products.wider().map(|products| Self { products, ..self })
    }

    /// The same on a chip whose blocks have so much shared memory. `model` leaves the products of an f32 model open: they are made by the
    /// fastest units whose results are as exact as f32's, where kernels with them fit and hold the weights; `f32` is multiply-adds everywhere.
    pub fn on(chip: &Chip, room: Room, model: &Model, precision: Precision, store: Store) -> Option<Self> {
        let asked = Self::of(precision)?;
        let sequential = model.descriptor.options.sequential_update;
        if precision != Precision::Model || sequential || !asked.precision.is_single(model) {
            return Some(asked);
        }
        let shapes = Shapes::of(model);
        let serves = |products: &Products| {
            let fits = |products| fitted(model, &shapes, Self { products, ..asked }, store, room).is_ok();
            let holds = || ModelArrays::counted(model, &shapes, false, *products).is_ok();
            products.on(chip) && [*products].into_iter().chain(products.wider()).all(fits) && holds()
        };
        let products = Products::SINGLE.into_iter().find(serves).unwrap_or_default();
        Some(Self { products, ..asked })
    }
}

impl From<PrecisionChoice> for Arithmetic {
    fn from(precision: PrecisionChoice) -> Self {
        Self { precision, products: Products::Plain }
    }
}

/// The shape with its rows in shared memory.
pub fn fitted(
    model: &Model,
    shapes: &Shapes,
    Arithmetic { precision, products }: Arithmetic,
    store: Store,
    room: Room,
) -> Result<Shape, GpuError> {
    let sequential = model.descriptor.options.sequential_update;
    if sequential && precision == PrecisionChoice::F32 {
        return Err(GpuError::Sequential);
    }
    let double = sequential || !precision.is_single(model);
    let store = store.of(if double { 8 } else { 4 });
    if sequential && store != Store::Exact {
        return Err(GpuError::SequentialStore);
    }
    let products = if double { Products::Plain } else { products };
    Shape { products, ..shape_of(model, shapes, double, store) }
        .fitted(room)
        .ok_or(GpuError::Shared { bytes: room.most })
}

/// The shape of a calculator with these options.
///
/// # Errors
/// [`GpuError::Products`], and as [`fitted`].
pub fn shape_on(driver: &dyn Driver, model: &Model, options: &GpuOptions) -> Result<Shape, GpuError> {
    let (facts, &GpuOptions { precision, products, .. }) = (driver.facts(), options);
    if !products.on(&facts.chip) {
        return Err(GpuError::Products { products, chip: facts.chip.clone() });
    }
    let room = room_on(facts, options.shared_limit).holding(options.blocks);
    fitted(model, &Shapes::of(model), Arithmetic { precision, products }, options.store, room)
}

/// Number of an activation in `math.h`, and its threshold.
pub fn activation_number(a: Activation) -> (u32, f64) {
    match a {
        Activation::Linear => (0, 0.0),
        Activation::Tanh => (1, 0.0),
        Activation::Relu => (2, 0.0),
        Activation::Relu6 => (3, 0.0),
        Activation::Sigmoid => (4, 0.0),
        Activation::Softplus => (5, 0.0),
        Activation::Gelu => (6, 0.0),
        Activation::Silu => (7, 0.0),
        Activation::Silut { threshold } => (8, threshold),
    }
}

/// The shape of a model; rows in shared memory are chosen later.
fn shape_of(model: &Model, s: &Shapes, double: bool, store: Store) -> Shape {
    let o = &model.descriptor.options;
    Shape {
        double,
        widths: [s.n as u32, s.e as u32, s.a as u32],
        padded: [s.np as u32, s.ep as u32, s.ap as u32],
        edge_inputs: s.ec as u32,
        heads: s.heads as u32,
        axis: s.axis as u32,
        activation: activation_number(o.activation),
        store: match store {
            Store::Exact => 0,
            Store::F32 => 1,
            Store::F16 => 2,
            Store::Bf16 => 3,
        },
        exponential_switch: o.use_exp_switch,
        edge_cutoff: [o.e_rcut, o.e_rcut_smth],
        angle_cutoff: [o.a_rcut, o.a_rcut_smth],
        protection: o.env_protection,
        raw_distance: o.edge_init_use_dist,
        smooth: o.smooth_edge_update,
        scales: [o.edge_scale(), o.angle_scale()],
        products: Products::Plain,
        rows: Rows::default(),
    }
}

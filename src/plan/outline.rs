//! A model as the planners of both backends see it.

use super::machine::Kind;
use anyhow::Result;
use weir_backends::cpu::{self, Arithmetic, Census, CpuError, PrecisionChoice, Terms};
use weir_backends::gpu::GpuOutline;
use weir_engine::model::Model;
use weir_engine::plan::placement::{smallest_feasible, PlanError, Problem};
use weir_kernels::Products;

/// A model on one kind of backend.
#[derive(Clone, Debug)]
pub enum Outline {
    /// On the CPU.
    Cpu(cpu::Outline),
    /// On a GPU, whose fixed bytes are others.
    Gpu(GpuOutline),
}

impl Outline {
    /// Bytes of a number.
    pub fn number(&self) -> u64 {
        match self {
            Outline::Cpu(o) => o.number(),
            Outline::Gpu(o) => o.number(),
        }
    }

    /// What its operations compute.
    pub fn arithmetic(&self) -> &Arithmetic {
        match self {
            Outline::Cpu(o) => o.arithmetic(),
            Outline::Gpu(o) => o.arithmetic(),
        }
    }

    /// The question that a calculator asks; `threads` of a CPU.
    pub fn problem(&self, census: &Census, threads: usize, terms: &Terms) -> Problem {
        match self {
            Outline::Cpu(o) => o.problem(census, threads, terms),
            Outline::Gpu(o) => o.problem(census, terms),
        }
    }

    /// The smallest budget of the first tier, bytes.
    ///
    /// # Errors
    /// What cannot be planned at any.
    pub fn smallest(&self, census: &Census, threads: usize, terms: &Terms) -> Result<u64, PlanError> {
        smallest_feasible(&self.problem(census, threads, terms))
    }
}

/// A model on every kind of backend.
#[derive(Debug)]
pub struct Outlines {
    cpu: Result<Outline, CpuError>,
    /// With plain products; with those of TF32, whose weights are cut in two; with those of halves, where both kinds of weights are there.
    gpu: [Outline; 3],
    /// Its layers.
    pub layers: usize,
}

impl Outlines {
    /// Of a model in a precision.
    pub fn of(model: &Model, precision: PrecisionChoice) -> Self {
        let gpu = [Products::Plain, Products::Tf32x3, Products::F16x3]
            .map(|products| GpuOutline::of(model, precision, products));
        Outlines {
            layers: gpu[0].layers(),
            cpu: cpu::Outline::of(model, precision).map(Outline::Cpu),
            gpu: gpu.map(Outline::Gpu),
        }
    }

    /// Bytes of a number, which are those of every backend.
    pub fn number(&self) -> u64 {
        self.gpu[0].number()
    }

    /// On one of them, its products on a GPU made as told.
    ///
    /// # Errors
    /// Models that the CPU backend does not plan for.
    pub fn on(&self, kind: Kind, products: Products) -> Result<&Outline, &CpuError> {
        match (kind, products) {
            (Kind::Cpu, _) => self.cpu.as_ref(),
            (Kind::Gpu, Products::Tf32 | Products::Tf32x3) => Ok(&self.gpu[1]),
            (Kind::Gpu, Products::F16x3) => Ok(&self.gpu[2]),
            (Kind::Gpu, Products::Plain | Products::Mfma) => Ok(&self.gpu[0]),
        }
    }
}

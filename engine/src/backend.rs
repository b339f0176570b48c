//! What the engine asks of a backend: energy, forces and virial of a configuration.

use crate::graph::{GivenList, Images};
use crate::plan::placement::Plan;
use crate::plan::profile::Profile;
use crate::structure::Structure;
use thiserror::Error;

/// Inputs besides the positions that some models take (specification sections 10 and 11).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameParameters {
    /// Frame parameters, `numb_fparam` values.
    pub fparam: Option<Vec<f64>>,
    /// Atomic parameters, N x `numb_aparam`, input order.
    pub aparam: Option<Vec<f64>>,
    /// Charge and spin.
    pub charge_spin: Option<[f64; 2]>,
}

impl FrameParameters {
    /// Writes them into a frame, so that it describes the system that was computed.
    pub fn mark(&self, frame: &mut Structure) {
        frame.fparam.clone_from(&self.fparam);
        frame.aparam.clone_from(&self.aparam);
        frame.charge_spin = self.charge_spin;
    }
}

/// What to compute beyond energy, forces and virial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Also the atomic virial (three more backward passes).
    pub atomic_virial: bool,
}

/// Results of one step, input order, eV and A.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Total energy, eV.
    pub energy: f64,
    /// Energy of each atom, eV.
    pub atomic_energy: Vec<f64>,
    /// Forces, eV/A.
    pub forces: Vec<[f64; 3]>,
    /// Virial, eV, row-major, sign of specification section 12.
    pub virial: [[f64; 3]; 3],
    /// Atomic virial, eV, row-major 9 values an atom, when asked for.
    pub atomic_virial: Option<Vec<[f64; 9]>>,
}

/// Sums over all atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// eV.
    pub energy: f64,
    /// eV, row-major, as in [`Results`].
    pub virial: [[f64; 3]; 3],
}

/// Why a step could not be computed.
#[derive(Debug, Error)]
pub enum ComputeError {
    /// The neighbour search refused the configuration.
    #[error(transparent)]
    Graph(#[from] crate::graph::GraphError),
    /// An input that this model needs is missing or has the wrong length.
    #[error("{0}")]
    Parameter(String),
    /// A list was given to a backend that finds neighbours by itself.
    #[error("the backend {0} takes no neighbour lists from outside")]
    GivenList(&'static str),
    /// Addresses of a device's memory were given to a backend that has no device.
    #[error(
        "the backend {0} computes in host memory: positions and forces of a device's memory need a GPU (WEIR_BACKEND)"
    )]
    NoDevice(&'static str),
    /// Memory for the step could not be had.
    #[error("{0}")]
    Memory(String),
    /// Domains could not exchange what they owe each other.
    #[error("exchange of ghost atoms at layer {layer}: {cause}")]
    Exchange {
        /// Layer whose input was exchanged.
        layer: usize,
        /// The exchange's word.
        cause: String,
    },
    /// A feature is too large for the form in which states are stored.
    #[error("a feature entering layer {layer} is {value:e}, beyond what {store} holds; set WEIR_STORE=exact or, for its range, bf16")]
    Stored {
        /// Layer that reads it.
        layer: usize,
        /// Largest magnitude.
        value: f64,
        /// The form.
        store: String,
    },
    /// A step is beyond the range of a GPU's products of halves, and the kernels that compute such a step cannot be had.
    #[error("this step is beyond the range of precision f16x3, and the kernels of tf32x3, which such steps are computed by, cannot be had: {cause}; {remedy}")]
    Wider {
        /// Why they cannot be had.
        cause: String,
        /// What helps against that.
        remedy: String,
    },
    /// A result is not a number.
    #[error("{quantity} of atom {atom} is {value}: the configuration is outside what the model can describe, or its weights are not finite")]
    NotFinite {
        /// Which result.
        quantity: &'static str,
        /// Input index of the first such atom.
        atom: usize,
        /// The value.
        value: f64,
    },
}

/// Three counts of a device's memory, bytes. They differ by what the driver itself needs (contexts, code, page rounding) and by what other
/// processes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The planner's peak of the first tier.
    pub planned: u64,
    /// What this backend has taken from the driver and not given back.
    pub held: u64,
    /// In use by everybody, as the vendor's tools show it.
    pub used: u64,
    /// What the device has.
    pub all: u64,
}

/// A device-side engine that computes a model on one configuration after another.
///
/// The set of atoms (types, order) is fixed at creation; positions and cell change every step. Implementations keep their neighbour
/// list between calls and rebuild it when the skin demands; that never changes a bit of the results.
pub trait Calculator: Send {
    /// Energy, forces and virial at these positions (A, input order) and cell.
    ///
    /// # Errors
    /// [`ComputeError`] for configurations the neighbour search refuses, missing parameters, memory, non-finite results.
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError>;

    /// Takes over a neighbour list that an MD code made, and fixes the order of summation to the curve through these positions. It is
    /// used by [`Calculator::compute_given`] until the next one comes; [`Calculator::compute`] goes back to lists of its own.
    ///
    /// # Errors
    /// [`ComputeError::Graph`] for bad positions, a bad cell, a list that does not fit them.
    fn take_list(
        &mut self,
        _given: &GivenList,
        _positions: &[[f64; 3]],
        _cell: Option<&[[f64; 3]; 3]>,
    ) -> Result<(), ComputeError> {
        Err(ComputeError::GivenList(self.name()))
    }

    /// As [`Calculator::compute`], with the neighbours of [`Calculator::take_list`]. Whoever made the list answers for its being complete
    /// at these positions. Atomic virials refer to the positions as they are, unwrapped.
    ///
    /// # Errors
    /// As [`Calculator::compute`]; also where no list was taken.
    fn compute_given(
        &mut self,
        _positions: &[[f64; 3]],
        _images: Images,
        _parameters: &FrameParameters,
        _request: Request,
        _results: &mut Results,
    ) -> Result<(), ComputeError> {
        Err(ComputeError::GivenList(self.name()))
    }

    /// As [`Calculator::compute`] with positions (A) and forces (eV/A) in the device's memory, N x 3 doubles each in input order; energy
    /// and virial are returned. The host sees positions only when a list or a plan is made, and for the words of an error. The step is
    /// over when this returns.
    ///
    /// # Safety
    /// Both addresses hold 24 N bytes on the calculator's device until this returns, apart from each other; everything that writes the
    /// positions, or still reads the forces, on a stream of the caller is done.
    ///
    /// # Errors
    /// As [`Calculator::compute`], and forces are of no use then; [`ComputeError::NoDevice`] where there is none.
    unsafe fn compute_on_device(
        &mut self,
        _positions: u64,
        _forces: u64,
        _cell: Option<&[[f64; 3]; 3]>,
        _parameters: &FrameParameters,
    ) -> Result<Totals, ComputeError> {
        Err(ComputeError::NoDevice(self.name()))
    }

    /// Brings everything that a step at these positions needs (neighbour list, plan, memory), so that what cannot fit is an error before
    /// any work. A step does so by itself where it was not called. Lists are its own, as for [`Calculator::compute`].
    ///
    /// # Errors
    /// As [`Calculator::compute`], results apart.
    fn prepare(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError>;

    /// The plan in force; none before [`Calculator::prepare`] or the first step, and where nothing is planned.
    fn plan(&self) -> Option<&Plan>;

    /// What the last step did and when; none where it is not recorded.
    fn profile(&self) -> Option<Profile>;

    /// Largest number of bytes held so far, by tier name.
    fn peak_bytes(&self) -> Vec<(String, u64)>;

    /// Kernel launches of the last step; none where nothing is launched.
    fn launches(&self) -> Option<u64> {
        None
    }

    /// What came up in steps and is worth telling the user once, beside what was told when the calculator was made.
    fn came_up(&self) -> &[String] {
        &[]
    }

    /// Steps so far that left the range of the products which were asked for, and were computed again by those of a wider one.
    fn widened_steps(&self) -> u64 {
        0
    }

    /// What steps have settled by themselves, for those who look on: no fault, nothing to act upon.
    fn settled(&self) -> &[String] {
        &[]
    }

    /// The memory of the device now; none where there is no device, or it does not tell.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }

    /// Backend name as users write it (`cpu`).
    fn name(&self) -> &'static str;

    /// Fixes the order in which atoms are summed to the space-filling curve through these positions.
    ///
    /// The order is part of the bits of a result; MD calls this at fixed step numbers so that a resumed run sums as the first did.
    fn reorder(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) {
        // Bad positions are reported by the next compute.
        if let Ok(order) = crate::graph::summation_order(positions, cell) {
            self.set_order(&order);
        }
    }

    /// The current order: input indices along the curve (empty before the first step).
    fn order(&self) -> &[u32];

    /// Restores an order saved in a restart file.
    fn set_order(&mut self, order: &[u32]);
}

//! Everything that a client can be told.

use thiserror::Error;
use weir_allocators::policy::PolicyError;
use weir_backends::session::SessionError;
use weir_engine::backend::ComputeError;
use weir_engine::model::ModelError;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// An argument is missing, too small, or out of range.
    #[error("{0}")]
    Argument(String),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Variables, options, the configuration file.
    #[error(transparent)]
    Setting(#[from] PolicyError),
    /// What settings and model ask of the backend.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The step.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// Something that this version does not do.
    #[error("{0}")]
    Unsupported(String),
    /// Domain decomposition.
    #[error("{0} MPI ranks: this version of Weir computes on one rank only; start the MD code on one rank and set WEIR_THREADS to the number of cores")]
    Ranks(i32),
    /// A broken invariant of ours.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl Error {
    /// The number that `weir.h` gives to errors of this kind.
    pub fn code(&self) -> i32 {
        match self {
            Error::Argument(_) => 1,
            Error::Model(_) => 2,
            Error::Setting(_) | Error::Session(_) => 3,
            Error::Compute(_) => 4,
            Error::Unsupported(_) | Error::Ranks(_) => 5,
            Error::Internal(_) => 6,
        }
    }
}

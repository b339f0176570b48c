//! What a step did and when.

use super::placement::Op;
use weir_allocators::stream::Record;

/// One operation of a step, in seconds from the profile's zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// What ran.
    pub op: Op,
    /// Began, s.
    pub begin: f64,
    /// Ended, s.
    pub end: f64,
}

/// What the interpreter and the copy streams did.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Operations in order.
    pub spans: Vec<Span>,
    /// Copies, those out first, each direction in order; on a device with a tier `file`, transfers between its slots and the file follow.
    pub copies: Vec<Record>,
}

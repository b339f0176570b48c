//! Streams: a thread that copies between regions in order, so that saves run beside the forward pass and prefetches
//! beside the backward pass. Pushing and waiting allocate nothing.

mod progress;
mod push;
mod work;

pub use progress::{StreamError, Ticket};
pub use push::{Copy, Options, Place, Record, Stream};

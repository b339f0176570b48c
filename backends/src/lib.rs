//! Backends: execution of DPA3 steps.

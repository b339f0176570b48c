//! Memory kinds (`hbm`, `managed`, `pinned`, `system`, `file`), arenas, topology and placement policy.
//!
//! Nothing lives here yet: the CPU backend of the first release keeps its arenas in ordinary memory. The placement plan is the
//! next capability (docs/architecture.md, "What is not there yet").

//! A kernel text put together for one shape and number type, ready for any compiler.

/// Text and macro definitions; the same source compiles for every chip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// For messages and cache files.
    pub name: String,
    /// One translation unit, preludes of all targets included (each guards itself by macros: `WEIR_CUDA`, `WEIR_HIP`, `WEIR_HOST`, which
    /// the compiling side defines).
    pub text: String,
    /// Macros, `NAME` and value, in a fixed order.
    pub defines: Vec<(String, String)>,
}

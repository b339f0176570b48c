//! Instruction sets that kernels are compiled for.

use pulp::Arch;
use thiserror::Error;
use weir_allocators::policy::Simd;

/// A set of vector instructions. One set gives one chain of roundings: results of different sets agree to rounding, not to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 (F, BW, CD, DQ, VL): 16 numbers of f32, 8 of f64. In builds with the feature `avx512`.
    Avx512,
    /// AVX2 with FMA: 8 and 4.
    Avx2,
    /// NEON: 4 and 2.
    Neon,
    /// One number at a time, everywhere; without instructions for fused multiply-adds they are made by a function.
    Scalar,
}

/// An instruction set that cannot be had.
#[derive(Clone, Debug, Error)]
#[error(
    "no kernels of {} run here{}; this build and this processor have {}: choose one of them, or auto",
    .asked.name(), .asked.hint(), InstructionSet::names(.here)
)]
pub struct NoKernels {
    /// Wanted.
    pub asked: InstructionSet,
    /// Those that there are.
    pub here: Vec<InstructionSet>,
}

impl InstructionSet {
    /// All of them, the widest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// As settings and headers name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// Why a build may lack it, for an error.
    fn hint(self) -> &'static str {
        match self {
            Self::Avx512 if cfg!(all(target_arch = "x86_64", not(feature = "avx512"))) => {
                " (built without the feature avx512)"
            }
            _ => "",
        }
    }

    /// Names for people.
    pub fn names(sets: &[Self]) -> String {
        sets.iter().map(|set| set.name()).collect::<Vec<_>>().join(", ")
    }

    /// The one that a setting asks for; none: the widest that there is.
    pub fn asked(setting: Simd) -> Option<Self> {
        match setting {
            Simd::Auto => None,
            Simd::Avx512 => Some(Self::Avx512),
            Simd::Avx2 => Some(Self::Avx2),
            Simd::Neon => Some(Self::Neon),
            Simd::Scalar => Some(Self::Scalar),
        }
    }

    /// The one that a setting means here.
    pub fn of(setting: Simd) -> Self {
        Self::asked(setting).unwrap_or_default()
    }

    /// Those that this build has kernels for and this processor has, the widest first.
    pub fn here() -> Vec<Self> {
        Self::ALL.into_iter().filter(|set| set.arch().is_some()).collect()
    }

    /// The widest of them.
    pub fn best() -> Self {
        Self::here()[0]
    }

    /// Whether there are kernels of it here.
    ///
    /// # Errors
    /// Those that there are.
    pub fn check(self) -> Result<(), NoKernels> {
        self.dispatch().map(drop)
    }

    /// As [`InstructionSet::check`], with the token that kernels are dispatched with.
    pub(crate) fn dispatch(self) -> Result<Arch, NoKernels> {
        self.arch().ok_or_else(|| NoKernels { asked: self, here: Self::here() })
    }

    /// The token that kernels are dispatched with; none where this build or this processor has not got it.
    fn arch(self) -> Option<Arch> {
        match self {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Self::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            Self::Scalar => Some(Arch::Scalar),
            _ => None,
        }
    }
}

/// The widest that there is.
impl Default for InstructionSet {
    fn default() -> Self {
        Self::best()
    }
}

/// Tokens of all sets that are here, for tests of each.
#[cfg(test)]
pub(super) fn archs() -> impl Iterator<Item = Arch> {
    InstructionSet::here().into_iter().filter_map(InstructionSet::arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_computes_with_registers_of_its_own_width() {
        for (set, lanes) in InstructionSet::ALL.into_iter().zip([16, 8, 4, 1]) {
            let Some(arch) = set.arch() else { continue };
            assert_eq!(super::super::gemm::panel_width::<f32>(arch), 2 * lanes, "{}", set.name());
        }
    }

    #[test]
    fn the_best_set_is_there_and_the_plain_one_always() {
        let here = InstructionSet::here();
        assert_eq!(here.first(), Some(&InstructionSet::best()));
        assert_eq!(here.last(), Some(&InstructionSet::Scalar));
    }
}

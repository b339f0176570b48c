//! Values of settings. Each is written as it is read.

use crate::kind::Tier;
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $($(#[$word_doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$word_doc])* $variant),+ }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($type::$variant),)+
                    _ => Err(format!(concat!("\"{}\" is no ", $what, ": choose {}"), text, [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),+ })
            }
        }
    };
}

words!(
    /// Who computes.
    Backend, "backend",
    /// A GPU where one is visible; one that is visible and unusable is an error.
    Auto = "auto",
    /// The CPU.
    Cpu = "cpu",
    /// NVIDIA.
    Cuda = "cuda",
    /// AMD.
    Hip = "hip",
    /// GPU kernels on the CPU.
    Emulated = "emulated"
);

words!(
    /// How kept layer states are stored.
    Store, "form of storage",
    /// In the compute type.
    Exact = "exact",
    /// As exact: nothing lowers it by itself.
    Auto = "auto",
    /// Single.
    F32 = "f32",
    /// Half; saturation is an error.
    F16 = "f16",
    /// Truncated single.
    Bf16 = "bf16"
);

words!(
    /// Arithmetic.
    Precision, "precision",
    /// What the model was trained in.
    Model = "model",
    /// Double.
    F64 = "f64",
    /// Single.
    F32 = "f32",
    /// Three passes of TF32, as good as single.
    Tf32x3 = "tf32x3",
    /// Three passes of f16, as good as single for numbers that f16 holds.
    F16x3 = "f16x3",
    /// One pass of TF32.
    Tf32 = "tf32",
    /// 16 bits.
    Bf16 = "bf16"
);

words!(
    /// Whether insides of layers are kept.
    Inside, "rule for insides of layers",
    /// Where that is known to save time.
    Auto = "auto",
    /// Never.
    Rebuild = "rebuild",
    /// Wherever there is room.
    Keep = "keep"
);

words!(
    /// Instruction set of the CPU's kernels.
    Simd, "instruction set",
    /// The widest that build and processor have.
    Auto = "auto",
    /// AVX-512.
    Avx512 = "avx512",
    /// AVX2 with FMA.
    Avx2 = "avx2",
    /// NEON.
    Neon = "neon",
    /// None: one number at a time.
    Scalar = "scalar"
);

words!(
    /// When a device has to show that it computes what the CPU computes.
    Verify, "rule for checks of a device",
    /// Before kernels run there for the first time.
    Auto = "auto",
    /// At every start.
    Always = "always",
    /// Never.
    Never = "never"
);

/// Which layer inputs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointRule {
    /// The planner chooses.
    Auto,
    /// All.
    All,
    /// Every K-th, K at least 1.
    Every(usize),
}

impl FromStr for CheckpointRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(CheckpointRule::Auto),
            "all" => Ok(CheckpointRule::All),
            _ => match text.strip_prefix("every:").map(str::parse) {
                Some(Ok(k)) if k > 0 => Ok(CheckpointRule::Every(k)),
                _ => Err(format!("\"{text}\" is no checkpoint rule: choose auto, all or every:K with K of at least 1")),
            },
        }
    }
}

impl fmt::Display for CheckpointRule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            CheckpointRule::Auto => f.write_str("auto"),
            CheckpointRule::All => f.write_str("all"),
            CheckpointRule::Every(k) => write!(f, "every:{k}"),
        }
    }
}

/// Which tiers may be used, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// What the machine suggests.
    Auto,
    /// These, each once, `hbm` first.
    Tiers(Vec<Tier>),
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "auto" {
            return Ok(Placement::Auto);
        }
        let mut tiers = Vec::new();
        for word in text.split(',') {
            let tier: Tier = word.trim().parse()?;
            if tiers.contains(&tier) {
                return Err(format!("{tier} stands twice in \"{text}\": name each tier once"));
            }
            tiers.push(tier);
        }
        if tiers[0] != Tier::Hbm {
            return Err(format!("\"{text}\" does not begin with hbm, where kernels compute: write hbm,{}", {
                let others: Vec<_> = tiers.iter().filter(|&&t| t != Tier::Hbm).map(|t| t.name()).collect();
                others.join(",")
            }));
        }
        Ok(Placement::Tiers(tiers))
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Placement::Auto => f.write_str("auto"),
            Placement::Tiers(tiers) => f.write_str(&tiers.iter().map(|t| t.name()).collect::<Vec<_>>().join(",")),
        }
    }
}

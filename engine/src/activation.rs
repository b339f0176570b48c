//! Activation functions by name, with value and derivative in double precision (specification section 3).

use thiserror::Error;

/// An activation function of DeePMD-kit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Linear,
    /// `tanh x`
    Tanh,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `ln(1 + exp x)`
    Softplus,
    /// The tanh form of gelu.
    Gelu,
    /// `x sigmoid(x)`
    Silu,
    /// `silut:threshold`: silu below the threshold, a scaled tanh above it.
    Silut {
        /// Where the two branches meet.
        threshold: f64,
    },
}

/// A name that is none of DeePMD-kit's activations.
#[derive(Debug, Error, PartialEq)]
#[error("unknown activation function \"{0}\"; known: linear, tanh, relu, relu6, sigmoid, softplus, gelu, gelu_tf, silu, silut[:x], custom_silu[:x]")]
pub struct UnknownActivation(pub String);

/// Slope of silu at the threshold (`k`) and its value there (`c0`), the two constants of `silut`.
pub fn silut_constants(threshold: f64) -> (f64, f64) {
    let s = sigmoid(threshold);
    (s + threshold * s * (1.0 - s), threshold * s)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

const GELU_SCALE: f64 = 0.797_884_560_802_865_4; // sqrt(2/pi)
const GELU_CUBIC: f64 = 0.044715;

impl Activation {
    /// Reads a name as DeePMD-kit does: case-insensitive, `none` is linear, `silut` without a number has threshold 3.
    pub fn parse(name: &str) -> Result<Self, UnknownActivation> {
        let lower = name.trim().to_ascii_lowercase();
        let (head, argument) = match lower.split_once(':') {
            Some((h, a)) => (h, Some(a)),
            None => (lower.as_str(), None),
        };
        let unknown = || UnknownActivation(name.to_string());
        if argument.is_some() && !matches!(head, "silut" | "custom_silu") {
            return Err(unknown());
        }
        Ok(match head {
            "linear" | "none" | "" => Self::Linear,
            "tanh" => Self::Tanh,
            "relu" => Self::Relu,
            "relu6" => Self::Relu6,
            "sigmoid" => Self::Sigmoid,
            "softplus" => Self::Softplus,
            "gelu" | "gelu_tf" => Self::Gelu,
            "silu" => Self::Silu,
            "silut" | "custom_silu" => {
                let threshold = match argument {
                    None => 3.0,
                    Some(a) => a.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(unknown)?,
                };
                Self::Silut { threshold }
            }
            _ => return Err(unknown()),
        })
    }

    /// `(f(x), f'(x))`.
    pub fn evaluate(self, x: f64) -> (f64, f64) {
        match self {
            Self::Linear => (x, 1.0),
            Self::Tanh => {
                let t = x.tanh();
                (t, 1.0 - t * t)
            }
            // Written so that NaN stays NaN.
            Self::Relu => (if x <= 0.0 { 0.0 } else { x }, if x > 0.0 { 1.0 } else { 0.0 }),
            Self::Relu6 => (x.clamp(0.0, 6.0), if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }),
            Self::Sigmoid => {
                let s = sigmoid(x);
                (s, s * (1.0 - s))
            }
            // The form that does not overflow for large |x|.
            Self::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p(), sigmoid(x)),
            Self::Gelu => {
                let t = (GELU_SCALE * (x + GELU_CUBIC * x * x * x)).tanh();
                let inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
                (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
            }
            Self::Silu => {
                let s = sigmoid(x);
                (x * s, s * (1.0 + x * (1.0 - s)))
            }
            Self::Silut { threshold } => {
                if x < threshold {
                    let s = sigmoid(x);
                    (x * s, s * (1.0 + x * (1.0 - s)))
                } else {
                    let (k, c0) = silut_constants(threshold);
                    let t = (k * (x - threshold)).tanh();
                    (t + c0, k * (1.0 - t * t))
                }
            }
        }
    }

    /// The name as DeePMD-kit writes it.
    pub fn name(self) -> String {
        match self {
            Self::Linear => "linear".into(),
            Self::Tanh => "tanh".into(),
            Self::Relu => "relu".into(),
            Self::Relu6 => "relu6".into(),
            Self::Sigmoid => "sigmoid".into(),
            Self::Softplus => "softplus".into(),
            Self::Gelu => "gelu".into(),
            Self::Silu => "silu".into(),
            Self::Silut { threshold } => format!("silut:{threshold:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivative_is_the_slope_of_the_value() {
        let all = ["tanh", "sigmoid", "softplus", "gelu", "silu", "silut", "silut:10.0", "custom_silu:0.5"];
        for name in all {
            let f = Activation::parse(name).unwrap();
            for i in -40..40 {
                let x = i as f64 * 0.31 + 0.007;
                let h = 1e-5;
                let slope = (f.evaluate(x + h).0 - f.evaluate(x - h).0) / (2.0 * h);
                assert!((slope - f.evaluate(x).1).abs() < 1e-8, "{name} at {x}");
            }
        }
    }

    #[test]
    fn names_round_trip_and_unknown_ones_are_errors() {
        for name in ["linear", "tanh", "relu6", "silut:3.0", "silut:0.5"] {
            assert_eq!(Activation::parse(name).unwrap().name(), name);
        }
        assert_eq!(Activation::parse("Custom_SILU").unwrap(), Activation::Silut { threshold: 3.0 });
        assert!(Activation::parse("swish").is_err());
        assert!(Activation::parse("tanh:2").is_err());
        assert!(Activation::parse("silut:nan").is_err());
    }
}

//! Constants of the unit system A, ps, g/mol, eV, K.
//!
//! All follow from the exact constants of the SI (2019 revision, as in CODATA 2022): k = 1.380649e-23 J/K, e = 1.602176634e-19 C,
//! N_A = 6.02214076e23 /mol. With the mass unit g/mol no measured constant enters.

/// Boltzmann constant in eV/K: k / e.
pub const BOLTZMANN: f64 = 1.380_649e-23 / 1.602_176_634e-19;

/// 1 g/mol A^2/ps^2 in eV: 10 / (N_A e).
pub const KINETIC: f64 = 10.0 / (6.022_140_76e23 * 1.602_176_634e-19);

/// 1 eV/A^3 in bar: e 1e30 / 1e5.
pub const BAR: f64 = 1.602_176_634e-19 * 1e30 / 1e5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_their_published_values() {
        assert!((BOLTZMANN / 8.617_333_262e-5 - 1.0).abs() < 1e-9);
        assert!((KINETIC / 1.036_426_966e-4 - 1.0).abs() < 1e-9);
        assert!((BAR / 1.602_176_634e6 - 1.0).abs() < 1e-12);
    }
}

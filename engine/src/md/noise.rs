//! Random numbers as a pure function of (seed, purpose, step, index): the Philox4x32-10 generator.
//!
//! J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Nothing is kept between calls, so noise depends neither on
//! the number of threads nor on where a run was interrupted.

/// What a stream is used for; streams of different purpose never share a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial velocities.
    Velocities = 1,
    /// Langevin kicks.
    Langevin = 2,
    /// Stochastic velocity rescaling.
    Rescale = 3,
}

/// One Philox4x32-10 block.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9);
            key[1] = key[1].wrapping_add(0xBB67_AE85);
        }
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

/// The numbers of one (seed, purpose, step, index), drawn one after another.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    step: u64,
    index: u32,
    /// Purpose in the top four bits, number of blocks used below.
    block: u32,
    spare: Option<f64>,
}

impl Stream {
    /// Stream of atom `index` (input order) at `step`.
    pub fn new(seed: u64, purpose: Purpose, step: u64, index: u32) -> Self {
        Stream { key: [seed as u32, (seed >> 32) as u32], step, index, block: (purpose as u32) << 28, spare: None }
    }

    /// Two independent numbers in (0, 1): 53 random bits each, shifted by half a unit so that 0 and 1 cannot come.
    pub fn uniforms(&mut self) -> [f64; 2] {
        let word = philox([self.step as u32, (self.step >> 32) as u32, self.index, self.block], self.key);
        self.block += 1;
        let join = |low: u32, high: u32| {
            let bits = (u64::from(high) << 32 | u64::from(low)) >> 12;
            (bits as f64 + 0.5) / (1u64 << 52) as f64
        };
        [join(word[0], word[1]), join(word[2], word[3])]
    }

    /// A standard normal number (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        let [u, v] = self.uniforms();
        let radius = (-2.0 * u.ln()).sqrt();
        let angle = std::f64::consts::TAU * v;
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Three standard normal numbers.
    pub fn normals(&mut self) -> [f64; 3] {
        [self.normal(), self.normal(), self.normal()]
    }

    /// A number of the gamma distribution of shape >= 1/2 and scale 1.
    ///
    /// G. Marsaglia and W. W. Tsang, ACM Trans. Math. Softw. 26, 363 (2000): exact, by rejection. Shapes below 1 by the boost of the paper's section 6.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        debug_assert!(shape >= 0.5);
        if shape < 1.0 {
            let boost = self.uniforms()[0].powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v <= 0.0 {
                continue;
            }
            let u = self.uniforms()[0];
            if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Sum of the squares of `count` standard normal numbers: chi-squared, drawn as one gamma number.
    pub fn squares(&mut self, count: usize) -> f64 {
        match count {
            0 => 0.0,
            1 => self.normal().powi(2),
            n => 2.0 * self.gamma(0.5 * n as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(counter, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn streams_differ_in_every_argument_and_repeat() {
        let draw = |seed, purpose, step, index| Stream::new(seed, purpose, step, index).normals();
        let base = draw(1, Purpose::Langevin, 5, 7);
        assert_eq!(base, draw(1, Purpose::Langevin, 5, 7));
        for other in [
            draw(2, Purpose::Langevin, 5, 7),
            draw(1 << 40 | 1, Purpose::Langevin, 5, 7),
            draw(1, Purpose::Rescale, 5, 7),
            draw(1, Purpose::Langevin, 6, 7),
            draw(1, Purpose::Langevin, 5 | 1 << 33, 7),
            draw(1, Purpose::Langevin, 5, 8),
        ] {
            assert_ne!(base, other);
        }
    }

    fn moments(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let central = |p: i32| values.iter().map(|v| (v - mean).powi(p)).sum::<f64>() / n;
        (mean, central(2), central(4))
    }

    #[test]
    fn normal_numbers_have_normal_moments() {
        let (mean, variance, fourth) =
            moments((0..200_000).map(|i| Stream::new(3, Purpose::Langevin, i, 0).normals()[2]));
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        assert!((fourth - 3.0).abs() < 0.12, "{fourth}");
    }

    #[test]
    fn sums_of_squares_have_chi_squared_moments() {
        for count in [1usize, 2, 3, 4, 7, 100] {
            let k = count as f64;
            let draws = (0..100_000).map(|i| Stream::new(11, Purpose::Rescale, i, 1).squares(count));
            let (mean, variance, _) = moments(draws);
            assert!((mean / k - 1.0).abs() < 0.03, "{count}: mean {mean}");
            assert!((variance / (2.0 * k) - 1.0).abs() < 0.05, "{count}: variance {variance}");
        }
    }
}

//! Switch functions in double precision (specification section 4).

/// The switch `s(r; start, cutoff)` and its slope.
///
/// The exponential form is neither exactly 1 below `start` nor exactly 0 at the cutoff; that is how DeePMD-kit defines it.
pub fn switch(r: f64, start: f64, cutoff: f64, exponential: bool) -> (f64, f64) {
    if exponential {
        let rate = 20.0 / start;
        let inner = (rate * (r.clamp(0.0, cutoff) - start)).exp();
        let s = (-inner).exp();
        (s, if r <= cutoff { -s * inner * rate } else { 0.0 })
    } else if r <= start {
        (1.0, 0.0)
    } else if r >= cutoff {
        (0.0, 0.0)
    } else {
        let width = cutoff - start;
        let u = (r - start) / width;
        let value = 1.0 + u * u * u * (-10.0 + u * (15.0 - 6.0 * u));
        (value, u * u * (-30.0 + u * (60.0 - 30.0 * u)) / width)
    }
}

#[cfg(test)]
mod tests {
    use super::switch;

    #[test]
    fn slope_is_the_derivative_and_the_published_tails_hold() {
        for exponential in [true, false] {
            for i in 1..120 {
                let (r, h) = (i as f64 * 0.05 - 0.003, 1e-6);
                let numeric =
                    (switch(r + h, 5.3, 6.0, exponential).0 - switch(r - h, 5.3, 6.0, exponential).0) / (2.0 * h);
                assert!((numeric - switch(r, 5.3, 6.0, exponential).1).abs() < 1e-7, "at {r}");
            }
        }
        assert!((switch(6.0, 5.3, 6.0, true).0 - 8.1e-7).abs() < 1e-8);
        assert!((switch(4.0, 3.5, 4.0, true).0 - 2.8e-8).abs() < 1e-9);
    }
}

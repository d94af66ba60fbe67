//! Random numbers that are the same for the same seed on every machine.
//!
//! Before: a seed of the caller. After: [`super::bootstrap`] and [`super::calibration`].

use crate::special::normal_quantile;

/// Up to this mean a Poisson number is found exactly, by summing its probabilities; beyond, from a
/// normal one with its skewness put in (Cornish & Fisher 1938), which is off by less than a
/// hundredth of a standard deviation.
const EXACT_MEAN_MAX: f64 = 32.0;

/// Up to so many trials are made one by one; beyond, their number of hits is nearly normal.
const TRIALS_MAX: f64 = 64.0;

/// Constants of `SplitMix64` (Steele, Lea & Flood 2014).
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
const MIX: [u64; 2] = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];

/// A stream of random numbers.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number strictly between 0 and 1.
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(MIX[0]);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(MIX[1]);
        let bits = (mixed ^ (mixed >> 31)) >> 12;
        (bits as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Returns how many of a whole number of trials hit, each with the probability `share`.
    pub(super) fn binomial(&mut self, trials: f64, share: f64) -> f64 {
        if TRIALS_MAX < trials {
            let z = normal_quantile(1.0 - self.uniform());
            let normal = trials * share + (trials * share * (1.0 - share)).sqrt() * z;
            return (normal + 0.5).floor().clamp(0.0, trials);
        }
        let (mut hits, mut left) = (0.0, trials);
        while 0.0 < left {
            hits += f64::from(u8::from(self.uniform() < share));
            left -= 1.0;
        }
        hits
    }

    /// Returns a Poisson number of this mean.
    pub(super) fn poisson(&mut self, mean: f64) -> f64 {
        let u = self.uniform();
        if EXACT_MEAN_MAX < mean {
            let z = normal_quantile(1.0 - u);
            let normal = mean + mean.sqrt() * z + (z * z - 1.0) / 6.0;
            return (normal + 0.5).floor().max(0.0);
        }
        let (mut number, mut probability) = (0.0, (-mean).exp());
        let mut below = probability;
        // Where the sum has come as near to 1 as doubles go, what is added no longer shows.
        while below < u && f64::MIN_POSITIVE < probability {
            number += 1.0;
            probability *= mean / number;
            below += probability;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_numbers_have_the_mean_and_variance_of_their_law() {
        const DRAWS: f64 = 40_000.0;
        let mut random = Random::new(7);
        for mean in [0.01, 1.0, 7.0, 31.9, 32.1, 1_000.0, 1e9] {
            let (mut sum, mut squares, mut cubes) = (0.0, 0.0, 0.0);
            let mut left = DRAWS;
            while 0.0 < left {
                let z = (random.poisson(mean) - mean) / mean.sqrt();
                (sum, squares, cubes) = (sum + z, squares + z * z, cubes + z * z * z);
                left -= 1.0;
            }
            // Four standard errors of each.
            let skewness = 1.0 / mean.sqrt();
            assert!((sum / DRAWS).abs() < 4.0 / DRAWS.sqrt(), "{mean}");
            let spread = 4.0 * ((2.0 + skewness * skewness) / DRAWS).sqrt();
            assert!((squares / DRAWS - 1.0).abs() < spread, "{mean}: {}", squares / DRAWS);
            if 1.0 <= mean {
                let spread = 4.0 * ((15.0 + 25.0 / mean + 1.0 / (mean * mean)) / DRAWS).sqrt();
                assert!((cubes / DRAWS - skewness).abs() < spread, "{mean}: {}", cubes / DRAWS);
            }
        }
    }
}

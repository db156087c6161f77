//! Chance that follows from a seed, the same on every machine.
//!
//! Fractions come from [`libm`], whose results do not depend on the machine's own mathematics library.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha12Rng);

impl Dice {
    /// The stream of this seed. Streams with different labels have nothing to do with each other, so that a part of a
    /// simulation that rolls once more does not change what another part rolls.
    #[must_use]
    pub fn new(seed: u64, label: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (n, byte) in label.bytes().enumerate() {
            key[8 + n % 24] = key[8 + n % 24].rotate_left(3) ^ byte;
        }
        Self(ChaCha12Rng::from_seed(key))
    }

    /// The generator itself, for the product's code.
    pub fn rng(&mut self) -> &mut ChaCha12Rng {
        &mut self.0
    }

    /// A seed for another generator.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// One of `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.roll()) * n as u128) >> 64) as usize
    }

    /// One of them, where there is one.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.below(among.len()))
    }

    /// At least 0 and less than 1.
    pub fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Yes with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// Standard normal (Box and Muller; one of the pair is used).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(2.0 * std::f64::consts::PI * self.unit())
    }

    /// Log-normal: `mu` and `sigma` are those of the logarithm.
    pub fn lognormal(&mut self, mu: f64, sigma: f64) -> f64 {
        libm::exp(mu + sigma * self.normal())
    }

    /// Pareto from `least` on with exponent `alpha`.
    pub fn pareto(&mut self, least: f64, alpha: f64) -> f64 {
        least * libm::pow(1.0 - self.unit(), -1.0 / alpha)
    }

    /// Puts them into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(n: usize, mut roll: impl FnMut() -> f64) -> f64 {
        (0..n).map(|_| roll()).sum::<f64>() / n as f64
    }

    #[test]
    fn a_seed_and_a_label_name_a_stream() {
        let first = |seed, label| Dice::new(seed, label).roll();
        assert_eq!(first(1, "churn"), first(1, "churn"));
        assert_ne!(first(1, "churn"), first(2, "churn"));
        assert_ne!(first(1, "churn"), first(1, "links"));
    }

    /// A number that changes only if results of all seeds change.
    #[test]
    fn the_stream_is_the_one_that_was_published() {
        let mut dice = Dice::new(7, "pinned");
        let rolls: Vec<u64> = (0..3).map(|_| dice.below(1_000_000) as u64).collect();
        let micros = (dice.lognormal(0.5, 1.25) * 1e6) as u64;
        assert_eq!((rolls, micros), (vec![PINNED.0, PINNED.1, PINNED.2], PINNED.3));
    }
    const PINNED: (u64, u64, u64, u64) = (314_165, 797_470, 96_232, 5_179_992);

    #[test]
    fn distributions_have_their_means() {
        let mut dice = Dice::new(3, "means");
        let n = 200_000;
        assert!((mean(n, || dice.exponential(50.0)) - 50.0).abs() < 0.6);
        assert!((mean(n, || dice.normal()) - 0.0).abs() < 0.01);
        // exp(mu + sigma^2 / 2)
        assert!((mean(n, || dice.lognormal(1.0, 0.5)) - 3.080).abs() < 0.02);
        // alpha / (alpha - 1)
        assert!((mean(n, || dice.pareto(1.0, 3.0)) - 1.5).abs() < 0.02);
        assert!((mean(n, || dice.below(11) as f64) - 5.0).abs() < 0.03);
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<u32> = (0..100).collect();
        Dice::new(1, "shuffle").shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}

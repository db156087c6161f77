//! How often strangers may ask.

use std::hash::Hash;
use std::time::Duration;

use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};
use crate::tables::{Hasher, Ordered};

/// Lets each key through once in an interval, for a bounded number of keys. Where the table is full of keys that are
/// still held back, new ones are held back as well.
#[derive(Debug)]
pub struct OncePer<K> {
    interval: Duration,
    keys_max: usize,
    last: Ordered<K, Instant>,
    cleaned: Instant,
}

impl<K: Hash + Eq> OncePer<K> {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(interval: Duration, keys_max: usize, hasher: Hasher) -> Self {
        Self { interval, keys_max, last: Ordered::with_hasher(hasher), cleaned: Instant(0) }
    }

    /// Whether `key` may pass now; if so, it may not again for an interval.
    pub fn pass(&mut self, now: Instant, key: K) -> bool {
        if let Some(last) = self.last.get_mut(&key) {
            let passes = now.since(*last) >= self.interval;
            if passes {
                *last = now;
            }
            return passes;
        }
        if self.last.len() >= self.keys_max {
            // Looking through a full table for each stranger would be their lever.
            if now.since(self.cleaned) < self.interval / 16 {
                return false;
            }
            self.cleaned = now;
            self.last.retain(|_, last| now.since(*last) < self.interval);
            if self.last.len() >= self.keys_max {
                return false;
            }
        }
        self.last.insert(key, now);
        true
    }
}

/// Lets events through at a mean rate, with bursts up to a bound.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u32,
    burst: u32,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, tokens: f64::from(burst), filled: Instant(0) }
    }

    /// Whether one more event may pass now.
    pub fn pass(&mut self, now: Instant) -> bool {
        let gained = now.since(self.filled).as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + gained).min(f64::from(self.burst));
        self.filled = self.filled.max(now);
        let passes = self.tokens >= 1.0;
        if passes {
            self.tokens -= 1.0;
        }
        passes
    }
}

impl<K: Hash + Eq> OncePer<K> {
    pub(crate) fn save(&self, to: &mut Writer)
    where
        K: Saved,
    {
        self.cleaned.save(to);
        to.len_of(self.last.len());
        for (key, last) in &self.last {
            key.save(to);
            last.save(to);
        }
    }

    /// Takes over who has asked and when.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged>
    where
        K: Saved,
    {
        self.cleaned = from.load()?;
        for _ in 0..from.len_of(1, self.keys_max)? {
            let (key, last) = from.load()?;
            self.last.insert(key, last);
        }
        Ok(())
    }
}

impl Bucket {
    pub(crate) fn save(&self, to: &mut Writer) {
        self.tokens.save(to);
        self.filled.save(to);
    }

    /// Takes over what is in it.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let tokens: f64 = from.load()?;
        from.ensure(tokens >= 0.0)?;
        self.tokens = tokens.min(self.burst.into());
        self.filled = from.load()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::tables;

    const fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn once(keys_max: usize) -> OncePer<u32> {
        let hasher = tables::hasher(&mut ChaCha12Rng::seed_from_u64(3));
        OncePer::new(Duration::from_secs(60), keys_max, hasher)
    }

    #[test]
    fn a_key_passes_once_an_interval() {
        let mut once = once(10);
        assert!(once.pass(at(100), 1));
        assert!(!once.pass(at(159), 1));
        assert!(once.pass(at(159), 2));
        assert!(once.pass(at(160), 1));
        assert!(!once.pass(at(161), 1));
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_does_not_free_the_held_back() {
        let mut once = once(100);
        let passed = (0..10_000).filter(|k| once.pass(at(100), *k)).count();
        assert_eq!(passed, 100);
        assert!(once.last.len() <= 100);
        assert!(!once.pass(at(120), 0));
        assert!(once.pass(at(161), 20_000));
        assert!(once.last.len() <= 100);
    }

    #[test]
    fn who_has_asked_is_saved_in_the_order_in_which_they_did() {
        let with = |seed| {
            let hasher = tables::hasher(&mut ChaCha12Rng::seed_from_u64(seed));
            OncePer::new(Duration::from_secs(60), 100, hasher)
        };
        let saved = |once: &OncePer<u32>| {
            let mut to = Writer::default();
            once.save(&mut to);
            to.finish()
        };
        let [mut one, mut other] = [with(1), with(2)];
        for n in 0..1_000 {
            let key = (n * 37 % 251) as u32;
            assert_eq!(one.pass(at(n), key), other.pass(at(n), key));
            assert_eq!(saved(&one), saved(&other));
            if n % 100 == 50 {
                other = with(n);
                other.load(&mut Reader::new(&saved(&one))).unwrap();
            }
        }
        assert!(one.last.len() > 50);
    }

    #[test]
    fn a_bucket_lets_the_mean_rate_through() {
        let mut bucket = Bucket::new(10, 5);
        let burst = (0..20).filter(|_| bucket.pass(at(1))).count();
        assert_eq!(burst, 5);
        let second = (0..1_000).filter(|ms| bucket.pass(at(1) + Duration::from_millis(*ms))).count();
        assert!((9..=10).contains(&second), "{second}");
    }
}

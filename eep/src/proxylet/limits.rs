//! How much a service may use.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes; people write `256MiB`, `64KiB`, `1.5GiB`, `10MB` or a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS[..3].iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a size: write a number of bytes, or a number with B, kB, MB, GB, KiB, MiB or GiB")]
pub struct ByteSizeError {
    given: String,
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let error = || ByteSizeError { given: text.chars().take(40).collect() };
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number.trim_end(), *unit)))
            .unwrap_or((text, 1));
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Self).ok_or_else(error);
        }
        let number: f64 = number.parse().map_err(|_| error())?;
        let bytes = number * unit as f64;
        // 2^53: up to here every whole number of bytes is exact.
        if !(0.0..=9_007_199_254_740_992.0).contains(&bytes) {
            return Err(error());
        }
        Ok(Self(bytes as u64))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 256MiB")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The limits of one service. Each bites: what happens beyond it is said at the field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Memory of the instance (default 256MiB, at most 4GiB). Growing beyond it fails inside the proxylet, which as
    /// a rule traps; the service is then restarted.
    pub memory: ByteSize,
    /// Connections at one time, both ways (default 10,000). Further ones are refused: accepted ones are closed at
    /// once and counted, `net.connect` answers `limit`.
    pub connections: u32,
    /// The part of one processor core that the service may use, averaged over a second (default 1, more than 0, at most 1).
    /// Beyond it the service waits; its peers are held back by TCP.
    pub cpu: f64,
    /// How long one call into the proxylet may take, in milliseconds (default 1000, 20 to 60,000). A call that takes
    /// longer ends the instance.
    pub call_ms: u32,
    /// Bytes of keys and values that the service may store (default 16MiB). Beyond it `kv.set` answers `full`.
    pub kv: ByteSize,
    /// Log lines a second (default 100). Further ones are dropped, and their number is logged.
    pub log_lines_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize(256 << 20),
            connections: 10_000,
            cpu: 1.0,
            call_ms: 1_000,
            kv: ByteSize(16 << 20),
            log_lines_per_s: 100,
        }
    }
}

/// Why limits make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("limits: {field}: {given} is out of range: {range}")]
pub struct LimitsError {
    /// The field's name in a manifest.
    pub field: &'static str,
    given: String,
    range: &'static str,
}

impl Limits {
    /// The largest memory that an instance can be given: the address space of wasm32.
    pub const MEMORY_MAX: ByteSize = ByteSize(4 << 30);

    /// Whether every limit is within its range.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), LimitsError> {
        let bad = |field, given: &dyn fmt::Display, range| {
            Err(LimitsError { field, given: given.to_string(), range })
        };
        if !(64 << 10..=Self::MEMORY_MAX.0).contains(&self.memory.0) {
            return bad("memory", &self.memory, "64KiB to 4GiB");
        }
        if !(self.cpu > 0.0 && self.cpu <= 1.0) {
            return bad("cpu", &self.cpu, "more than 0, at most 1 (one core)");
        }
        if !(20..=60_000).contains(&self.call_ms) {
            return bad("call-ms", &self.call_ms, "20 to 60000 milliseconds");
        }
        if self.log_lines_per_s == 0 {
            return bad("log-lines-per-s", &self.log_lines_per_s, "at least 1");
        }
        Ok(())
    }

    /// [`Self::call_ms`] as a duration.
    #[must_use]
    pub fn call(&self) -> Duration {
        Duration::from_millis(u64::from(self.call_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("256 MiB", 256 << 20),
            ("1.5GiB", 3 << 29),
            ("10MB", 10_000_000),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1TiB", "1 2", "nan", "inf", "99999999999GiB", "1e300GB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_so_that_they_read_the_same() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(256 << 20).to_string(), "256MiB");
    }

    #[test]
    fn a_manifest_may_give_some_limits_and_no_unknown_ones() {
        let limits: Limits =
            serde_json::from_str(r#"{"memory": "64MiB", "cpu": 0.5, "call-ms": 50}"#).unwrap();
        assert_eq!(limits, Limits { memory: ByteSize(64 << 20), cpu: 0.5, call_ms: 50, ..Limits::default() });
        assert!(serde_json::from_str::<Limits>(r#"{"mem": 1}"#).is_err());
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let of = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().unwrap_err().field
        };
        assert_eq!(of(|l| l.memory = ByteSize(1)), "memory");
        assert_eq!(of(|l| l.memory = ByteSize(5 << 30)), "memory");
        assert_eq!(of(|l| l.cpu = 0.0), "cpu");
        assert_eq!(of(|l| l.cpu = f64::NAN), "cpu");
        assert_eq!(of(|l| l.call_ms = 1), "call-ms");
        assert_eq!(of(|l| l.log_lines_per_s = 0), "log-lines-per-s");
        assert_eq!(Limits::default().check(), Ok(()));
    }
}

//! Numbers as people read them.

use std::time::{Duration, SystemTime};

/// A length of time by its two largest units: `3d 4h`, `12m 5s`.
pub(super) fn span(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m {}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A number of bytes with one decimal: `12.4 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1_024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A point in time as RFC 3339 in UTC, to the millisecond.
pub(super) fn time(at_s: f64) -> String {
    let since = Duration::try_from_secs_f64(at_s).unwrap_or_default();
    match SystemTime::UNIX_EPOCH.checked_add(since) {
        Some(at) => humantime::format_rfc3339_millis(at).to_string(),
        None => at_s.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        assert_eq!(
            (span(59.9), span(61.0), span(7_260.0), span(90_000.0)),
            ("59s".into(), "1m 1s".into(), "2h 1m".into(), "1d 1h".into())
        );
        assert_eq!(
            (bytes(1_023), bytes(1_536), bytes(u64::MAX)),
            ("1023 B".into(), "1.5 KiB".into(), "16384.0 PiB".into())
        );
        assert_eq!(time(1_700_000_000.25), "2023-11-14T22:13:20.250Z");
    }
}

//! Lines to the service's log (`eep logs NAME`). A line over 8 KiB is cut.

use crate::bindings::eep::proxylet::log;

pub use log::Level;

/// Writes one line.
pub fn write(level: Level, line: &str) {
    log::write(level, line);
}

/// Writes a formatted line: `log!(Info, "listening on {addr}")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($arg:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($arg)+))
    };
}

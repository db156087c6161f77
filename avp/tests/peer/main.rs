//! Virtual peers among scripted ones, in memory and under virtual time.

mod leaves;
mod net;
mod overlay;
mod raw;

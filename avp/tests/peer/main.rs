//! Virtual peers among scripted ones, in memory and under virtual time.

mod forwarding;
mod hostile;
mod leaves;
mod limits;
mod log;
mod net;
mod overlay;
mod policy;
mod raw;
mod routing;
mod swap;

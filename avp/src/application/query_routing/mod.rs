//! Query routing: which peers may have what a query asks for.

pub mod matrix;
pub mod published;

pub use matrix::{Column, Matrix};
pub use published::Published;

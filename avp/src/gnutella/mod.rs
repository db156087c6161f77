//! The wire: what bytes mean, and nothing of what is done about them.

//! An Execution Environment for Proxylets.

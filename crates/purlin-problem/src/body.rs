//! Response bodies.

//! The chat core through its boundary.

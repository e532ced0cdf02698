//! The conformance suite of [`crate::Storage`].

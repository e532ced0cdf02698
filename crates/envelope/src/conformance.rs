//! The conformance suite of [`crate::KeyService`].

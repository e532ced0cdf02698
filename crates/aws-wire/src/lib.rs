//! AWS's wire formats: Signature Version 4, the JSON 1.1 and query protocols, and the map from fault
//! names to HTTP statuses. Bytes in, values out: it knows no socket, no clock, no key and no state.

#![forbid(unsafe_code)]

mod percent;

pub mod fault;
pub mod json;
pub mod query;
pub mod sigv4;

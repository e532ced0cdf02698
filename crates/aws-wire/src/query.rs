//! The query protocol: a form names the action and its parameters, the answer is XML.
//!
//! As STS speaks it; EC2's differences (lists without `member`, its error envelope) are parameters.

mod envelope;
mod params;
mod xml;

pub use envelope::{CONTENT_TYPE, STS_NAMESPACE, error_envelope, success_envelope};
pub use params::{Limits, ListStyle, Params, QueryFault};
pub use xml::Xml;

//! The HTTP endpoint: AWS's protocols in, calls of the embedded KMS and of STS out.
//!
//! One listener answers KMS (JSON 1.1), STS (the query protocol), `GET /healthz` and `GET /metrics`.
//! A request is authenticated first ([`AuthMode`]), whatever it asks for; then its target is looked
//! up, then its body is read as that operation's request.
//!
//! # What it is not
//! It decides nothing: who may do what is the KMS's and the policies' to say. It keeps no state but
//! counters and derived signing keys. There is no TLS and no HTTP/2.
//!
//! # Layers
//! - [`Server`]: sockets, limits, time limits, the orderly end;
//! - [`Endpoint`]: one request to one answer, without a socket;
//! - `auth`: whose request it is; `kms`, `sts`: the services;
//! - [`dispatch()`]: an operation's name and a body to an answer's body (fuzzed);
//! - `metrics`: what is counted.

#![forbid(unsafe_code)]

mod answer;
mod auth;
mod body;
mod connection;
mod dispatch;
mod endpoint;
mod kms;
mod metrics;
mod patience;
mod principals;
mod server;
mod settings;
mod sts;

pub use auth::AuthMode;
pub use dispatch::dispatch;
pub use endpoint::{Endpoint, EndpointParts};
pub use principals::IamPrincipals;
pub use server::{Ended, ServeError, Server};
pub use settings::ServerSettings;

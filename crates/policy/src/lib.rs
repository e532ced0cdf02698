//! IAM and key policies: documents are read into a [`Policy`], and [`decide`] answers who may do what.
//!
//! It answers as AWS documents it for key policies, identity policies, session policies, permissions
//! boundaries and trust policies; where AWS is silent the module that decides says what is taken. It
//! is pure: no I/O, no clock, no state.
//!
//! # What it is not
//! It knows no grants, no organisations' policies, no identity providers, no keys: who calls it
//! combines its answer with those. It does not know which condition keys exist; a request's context
//! answers for them.
//!
//! # Layers
//! - `json`, `error`, `limits`: bounded reading, and errors that say where;
//! - `template`, `arn`, `number`, `date`, `network`: how single values match;
//! - `operator`, `key`, `condition`, `element`, `statement`, `policy`: the document;
//! - `principal`, `identity`, `context`: the request;
//! - `decide`: the answer.

#![forbid(unsafe_code)]

mod account;
mod arn;
mod condition;
mod context;
mod date;
mod decide;
mod element;
mod error;
mod identity;
mod json;
mod key;
mod limits;
mod network;
mod number;
mod operator;
mod policy;
mod principal;
mod statement;
mod template;

pub use account::{AccountId, ParseAccountIdError};
pub use context::{ConditionKeys, MapContext, Values};
pub use decide::{Decider, Decision, Outcome, PolicySource, Query, Reason, ResourcePolicy, decide};
pub use element::NamedPrincipal;
pub use error::{PolicyError, PolicyErrorKind};
pub use identity::{Identity, NamedPolicy};
pub use limits::Limits;
pub use operator::{Operator, Qualifier};
pub use policy::{ConditionUse, Policy, PolicyKind, PrincipalUse};
pub use principal::{
    ParsePrincipalError, Principal, is_entity_name, is_service_name, is_session_name,
};
pub use statement::Effect;

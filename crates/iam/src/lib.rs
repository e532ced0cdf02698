//! Who there is: accounts, users, roles, services and sessions, with their keys and policies, from a
//! configuration and without a server behind it.
//!
//! [`IamConfig`] reads the configuration, [`Directory`] answers who an access key belongs to and
//! whether a principal exists, [`Sessions`] is what STS does: `AssumeRole`, and tokens that carry
//! their session with them, so that nothing has to be kept.
//!
//! # What it is not
//! It is no IAM service: nothing here changes while it runs, there are no groups, no managed policies
//! and no identity providers. It checks no signatures and opens no files or sockets; it knows no keys
//! of KMS.

#![forbid(unsafe_code)]

mod config;
mod directory;
mod error;
mod ids;
mod secret;
mod sessions;
mod token;

pub use config::{
    AccessKeyConfig, AccountConfig, CONFIG_BYTES_MAX, IamConfig, PolicyConfig, RoleConfig,
    ServiceConfig, UserConfig, read_toml,
};
pub use directory::{CallerIdentity, Credential, Directory, Known, Role, SourceOfCall};
pub use error::{IamError, IamErrorKind};
pub use secret::SecretText;
pub use sessions::{AssumeRole, OpenedSession, SessionCredentials, Sessions, StsError};
pub use token::TokenError;

//! The KMS's view of who exists: the configuration's.

use std::sync::Arc;

use sealvol_iam::Directory;
use sealvol_kms::PrincipalDirectory;
use sealvol_policy::{Identity, Principal};

/// The principals of a [`Directory`], for the KMS.
#[derive(Debug, Clone)]
pub struct IamPrincipals(Arc<Directory>);

impl IamPrincipals {
    /// Those of `directory`.
    #[must_use]
    pub const fn new(directory: Arc<Directory>) -> Self {
        Self(directory)
    }
}

impl PrincipalDirectory for IamPrincipals {
    fn identity(&self, principal: &str) -> Identity {
        self.0.identity(principal).unwrap_or_else(|| {
            Identity::new(Principal::parse(principal).unwrap_or(Principal::Anonymous))
        })
    }

    fn exists(&self, principal: &str) -> bool {
        self.0.exists(principal)
    }
}

//! The suite's fixture over any server that speaks KMS: an endpoint and the credentials of three
//! principals. It knows nothing of this crate's other tests, so that the tests of other servers can
//! include this file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealvol_envelope::KeyService;
use sealvol_envelope::conformance::{Fixture, NotSupported, Outcome, TestKey, TestPrincipal};
use sealvol_kms_aws::aws_sdk_kms::config::{Credentials, Region};
use sealvol_kms_aws::aws_sdk_kms::{Client, Config};
use sealvol_kms_aws::{AwsKms, AwsKmsSettings, StaticCredentials};

/// A principal and its access key.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) arn: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// Two fresh keys with an alias each, on a server elsewhere.
pub(crate) struct Remote {
    admin: Client,
    privileged: Arc<AwsKms>,
    others: Vec<TestPrincipal>,
    keys: [TestKey; 2],
    foreign: Option<Vec<u8>>,
}

impl Remote {
    /// `privileged` may do everything; `others` may do nothing of their own. `label` keeps the
    /// aliases of several fixtures apart. `foreign` is a ciphertext of a key that the server lacks.
    pub(crate) async fn new(
        endpoint: &str,
        privileged: &Principal,
        others: &[Principal],
        label: &str,
        foreign: Option<Vec<u8>>,
    ) -> Self {
        let credentials = Credentials::new(
            &privileged.access_key_id,
            &privileged.secret_access_key,
            None,
            None,
            "test",
        );
        let config = Config::builder()
            .behavior_version_latest()
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(credentials);
        let admin = Client::from_conf(config.build());
        let keys = [key(&admin, label, "first").await, key(&admin, label, "second").await];
        let mut test_principals = Vec::new();
        for other in others {
            let service = connect(endpoint, other).await;
            test_principals.push(TestPrincipal { principal: other.arn.clone(), service });
        }
        let privileged = connect(endpoint, privileged).await;
        Self { admin, privileged, others: test_principals, keys, foreign }
    }
}

async fn connect(endpoint: &str, principal: &Principal) -> Arc<AwsKms> {
    let settings = AwsKmsSettings {
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".into()),
        // Denials are what the suite asks for.
        propagation_window: Duration::ZERO,
        ..AwsKmsSettings::default()
    };
    let (id, secret) = (&principal.access_key_id, &principal.secret_access_key);
    AwsKms::connect_as(settings, StaticCredentials::new(id, secret, None)).await.unwrap()
}

async fn key(admin: &Client, label: &str, name: &str) -> TestKey {
    let made = admin.create_key().description("conformance").send().await.unwrap();
    let made = made.key_metadata.unwrap();
    let (id, arn) = (made.key_id, made.arn.unwrap());
    let alias = format!("alias/{label}-{name}");
    admin.create_alias().alias_name(&alias).target_key_id(&id).send().await.unwrap();
    let alias_arn = format!("{}:{alias}", arn.rsplit_once(':').unwrap().0);
    TestKey { id, arn, alias: Some((alias, alias_arn)) }
}

#[async_trait]
impl Fixture for Remote {
    fn privileged(&self) -> Arc<dyn KeyService> {
        Arc::clone(&self.privileged) as _
    }

    fn keys(&self) -> [TestKey; 2] {
        self.keys.clone()
    }

    fn other(&self, index: usize) -> Outcome<TestPrincipal> {
        self.others.get(index).cloned().ok_or_else(|| NotSupported::because("no such principal"))
    }

    async fn set_enabled(&self, key: &TestKey, enabled: bool) -> Outcome {
        match enabled {
            true => drop(self.admin.enable_key().key_id(&key.id).send().await.unwrap()),
            false => drop(self.admin.disable_key().key_id(&key.id).send().await.unwrap()),
        }
        Ok(())
    }

    async fn revoke_grant(&self, key: &TestKey, grant_id: &str) -> Outcome {
        let revoke = self.admin.revoke_grant().key_id(&key.id).grant_id(grant_id);
        revoke.send().await.unwrap();
        Ok(())
    }

    fn foreign_ciphertext(&self) -> Outcome<Vec<u8>> {
        self.foreign.clone().ok_or_else(|| NotSupported::because("no foreign ciphertext is given"))
    }
}

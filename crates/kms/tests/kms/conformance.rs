//! Both kinds of KMS keep every promise of the trait.

use std::sync::Arc;

use async_trait::async_trait;
use sealvol_envelope::conformance::{
    CASES, Fixture, NotSupported, Outcome, Report, TestKey, TestPrincipal, run_all,
};
use sealvol_envelope::{EncryptionContext, KeyService};
use sealvol_kms::Kms;

use crate::support::{caller, generate, in_memory, open, open_with, passphrase, root, settings};

struct Embedded {
    kms: Arc<Kms>,
    keys: [TestKey; 2],
    foreign: Vec<u8>,
}

impl Embedded {
    async fn new(kms: Arc<Kms>) -> Self {
        let keys = ["alias/first", "alias/second"].map(|name| {
            let key = kms.create_key(&kms.root_caller(), "conformance").unwrap();
            kms.create_alias(&kms.root_caller(), name, &key.key_id).unwrap();
            let alias_arn = format!("arn:aws:kms:us-east-1:000000000000:{name}");
            let alias = Some((name.to_owned(), alias_arn));
            TestKey { id: key.key_id, arn: key.arn, alias }
        });
        let stranger = in_memory(settings());
        let key = stranger.create_key(&stranger.root_caller(), "").unwrap();
        let foreign = root(&stranger)
            .generate_data_key_without_plaintext(generate(&key.key_id, EncryptionContext::new()))
            .await
            .unwrap()
            .ciphertext;
        Self { kms, keys, foreign }
    }
}

#[async_trait]
impl Fixture for Embedded {
    fn privileged(&self) -> Arc<dyn KeyService> {
        root(&self.kms)
    }

    fn keys(&self) -> [TestKey; 2] {
        self.keys.clone()
    }

    fn other(&self, index: usize) -> Outcome<TestPrincipal> {
        let principal = ["fargate.us-east-1.amazonaws.com", "arn:aws:iam::000000000000:role/other"]
            .get(index)
            .ok_or_else(|| NotSupported::because("the suite asks for two"))?;
        let service = self.kms.handle(caller(principal));
        Ok(TestPrincipal { principal: (*principal).to_owned(), service })
    }

    async fn set_enabled(&self, key: &TestKey, enabled: bool) -> Outcome {
        let root = self.kms.root_caller();
        match enabled {
            true => self.kms.enable_key(&root, &key.id).unwrap(),
            false => self.kms.disable_key(&root, &key.id).unwrap(),
        }
        Ok(())
    }

    async fn revoke_grant(&self, key: &TestKey, grant_id: &str) -> Outcome {
        self.kms.revoke_grant(&self.kms.root_caller(), &key.id, grant_id).unwrap();
        Ok(())
    }

    fn foreign_ciphertext(&self) -> Outcome<Vec<u8>> {
        Ok(self.foreign.clone())
    }
}

fn all_passed(report: &Report) {
    assert_eq!(report.not_supported, [], "{report}");
    assert_eq!(report.passed.len(), CASES.len());
}

#[tokio::test]
async fn in_memory_kms_conforms() {
    all_passed(&run_all(&Embedded::new(in_memory(settings())).await).await);
}

#[tokio::test]
async fn file_kms_conforms() {
    let dir = tempfile::tempdir().unwrap();
    all_passed(&run_all(&Embedded::new(open(dir.path()).unwrap()).await).await);
}

#[tokio::test]
async fn file_kms_that_compacts_at_every_change_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let settings = sealvol_kms::KmsSettings { journal_len_min: 0, ..settings() };
    let kms = open_with(dir.path(), &passphrase("p"), settings).unwrap();
    all_passed(&run_all(&Embedded::new(kms).await).await);
}

//! An attached volume and its KMS key: what happens to I/O and to the next attachment when the key
//! becomes unusable. With the embedded KMS, a grant for each attachment, and a volume file.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::sync::Arc;

use sealvol::kms::model::{KeyRequest, ScheduleKeyDeletionRequest};
use sealvol::kms::{Kms, KmsSettings, Session};
use sealvol::{
    BlockDevice as _, ByteLen, Caller, CreateGrantRequest, EncryptionContext, GrantConstraint,
    GrantOperation, GrantTokens, OpenOptions, RetireGrantRequest, SystemClock, SystemEntropy,
    Volume, VolumeSpec, WriteFlags,
};

const VOLUME: &str = "vol-00fa4e00fa4e00fa4";
const HOST: &str = "fargate.us-east-1.amazonaws.com";

/// Attaches as a host does: by a grant for this volume, which ends at detach.
async fn attach(kms: &Arc<Kms>, key: &str, path: &Path) -> Result<(Volume, String), String> {
    let owner = kms.handle(kms.root_caller());
    let context = EncryptionContext::for_volume(VOLUME).unwrap();
    let grant = owner
        .create_grant(CreateGrantRequest {
            key_id: key.to_owned(),
            grantee_principal: HOST.to_owned(),
            retiring_principal: Some(HOST.to_owned()),
            operations: vec![GrantOperation::Decrypt],
            constraint: Some(GrantConstraint::EncryptionContextSubset(context)),
            name: None,
            grant_tokens: GrantTokens::default(),
        })
        .await
        .map_err(|error| error.to_string())?;
    let host = kms.handle(Caller { principal: HOST.to_owned(), via_service: None });
    let tokens = GrantTokens(vec![grant.grant_token.clone()]);
    let options = OpenOptions::new().grant_tokens(tokens);
    match Volume::open(path, options, &*host).await {
        Ok(volume) => Ok((volume, grant.grant_token)),
        Err(error) => Err(format!("{error} {:?}", std::error::Error::source(&error))),
    }
}

async fn detach(kms: &Arc<Kms>, (volume, token): (Volume, String)) {
    volume.close().unwrap();
    let host = kms.handle(Caller { principal: HOST.to_owned(), via_service: None });
    host.retire_grant(RetireGrantRequest::Token(GrantTokens(vec![token]))).await.unwrap();
}

fn writes_and_reads(volume: &Volume, byte: u8) {
    let at = u64::from(byte) * 4096;
    volume.write(at, &[byte; 4096], WriteFlags::default()).unwrap();
    volume.flush().unwrap();
    assert_eq!(read(volume, byte), [byte; 4096]);
}

fn read(volume: &Volume, byte: u8) -> [u8; 4096] {
    let mut buffer = [0; 4096];
    volume.read(u64::from(byte) * 4096, &mut buffer).unwrap();
    buffer
}

/// Case 59 \[D\]. As with EBS: the key may be disabled, scheduled for deletion, or its grant revoked
/// while the volume is attached, and I/O goes on; the next attachment fails and says why; and when the
/// key is usable again, everything is there. AttachVolume's own error, `CustomerKeyHasBeenRevoked`, is
/// the API's to make of it.
#[tokio::test]
async fn case_59_io_goes_on_and_reattaching_fails_while_the_key_is_unusable() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("kms");
    std::fs::create_dir(&store).unwrap();
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    let source = sealvol::kms::RootKeySource::KeyFile;
    for in_directory in [false, true] {
        let settings = KmsSettings::default();
        let kms = match in_directory {
            false => Kms::in_memory(settings, clock.clone(), entropy.clone()).unwrap(),
            true => {
                Kms::open_dir(&store, &source, settings, clock.clone(), entropy.clone()).unwrap()
            }
        };
        let root = kms.root_caller();
        let key = kms.create_key(&root, "volumes").unwrap().arn;
        let session: Session = kms.session_of(&root);
        let path = dir.path().join(format!("volume-{in_directory}"));
        let spec = VolumeSpec::new(ByteLen::mib(16), key.clone()).name(VOLUME);
        Volume::create(&path, spec, &*kms.handle(root.clone())).await.unwrap();

        let attached = attach(&kms, &key, &path).await.unwrap();
        writes_and_reads(&attached.0, 1);
        kms.disable_key(&root, &key).unwrap();
        writes_and_reads(&attached.0, 2);
        let grants = kms.list_grants(&root, &key).unwrap();
        for grant in grants {
            kms.revoke_grant(&root, &key, &grant.grant_id).unwrap();
        }
        let request =
            ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) };
        session.schedule_key_deletion(&request).unwrap();
        writes_and_reads(&attached.0, 3);
        attached.0.close().unwrap();

        let refused = attach(&kms, &key, &path).await.map(drop).unwrap_err();
        assert!(refused.contains("KMSInvalidStateException"), "{refused}");
        session.cancel_key_deletion(&KeyRequest::new(&key)).unwrap();
        let refused = attach(&kms, &key, &path).await.map(drop).unwrap_err();
        assert!(refused.contains("DisabledException"), "{refused}");
        // Without a grant for the host, too, the answer is the KMS's.
        let host = kms.handle(Caller { principal: HOST.to_owned(), via_service: None });
        let refused = Volume::open(&path, OpenOptions::new(), &*host).await.map(drop).unwrap_err();
        let said = format!("{refused} {:?}", std::error::Error::source(&refused));
        assert!(said.contains("AccessDenied"), "{said}");

        kms.enable_key(&root, &key).unwrap();
        let attached = attach(&kms, &key, &path).await.unwrap();
        for byte in 1..=3 {
            assert_eq!(read(&attached.0, byte), [byte; 4096]);
        }
        detach(&kms, attached).await;
        assert_eq!(kms.list_grants(&root, &key).unwrap(), []);
    }
}

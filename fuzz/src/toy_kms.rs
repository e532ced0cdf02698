//! One embedded KMS in memory, the same in every run, for targets that need real ciphertexts and
//! tokens to damage.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use sealvol_envelope::{
    Caller, CreateGrantRequest, DataKey, DecryptRequest, EncryptionContext, GenerateDataKeyRequest,
    GrantOperation, GrantTokens, KeyService, KmsError,
};
use sealvol_kms::{Kms, KmsSettings};
use sealvol_testkit::{SeededEntropy, SimClock};

/// The KMS with what it made.
pub(crate) struct ToyKms {
    root: Arc<dyn KeyService>,
    grantee: Arc<dyn KeyService>,
    /// What the data key was wrapped with.
    pub(crate) context: EncryptionContext,
    /// A wrapped data key.
    pub(crate) blob: Vec<u8>,
    plaintext: DataKey,
    /// A token of the grant to the grantee.
    pub(crate) token: String,
}

/// The KMS.
pub(crate) fn toy_kms() -> &'static ToyKms {
    static TOY: OnceLock<ToyKms> = OnceLock::new();
    TOY.get_or_init(|| make().expect("the toy KMS works"))
}

fn make() -> Result<ToyKms, KmsError> {
    let (clock, entropy) = (Arc::new(SimClock::new()), Arc::new(SeededEntropy::new(7)));
    let kms = Kms::in_memory(KmsSettings::default(), clock, entropy).expect("settings are right");
    let me = kms.root_caller();
    let key_id = kms.create_key(&me, "fuzz")?.arn;
    let root = kms.handle(me);
    let grantee = "arn:aws:iam::000000000000:user/fuzz".to_owned();
    let context = EncryptionContext::for_volume("vol-0123456789abcdef0").expect("is short");
    let generated = now(root.generate_data_key(GenerateDataKeyRequest {
        key_id: key_id.clone(),
        context: context.clone(),
        number_of_bytes: 64,
        grant_tokens: GrantTokens::default(),
    }))?;
    let grant = now(root.create_grant(CreateGrantRequest {
        key_id,
        grantee_principal: grantee.clone(),
        retiring_principal: None,
        operations: vec![GrantOperation::Decrypt],
        constraint: None,
        name: None,
        grant_tokens: GrantTokens::default(),
    }))?;
    Ok(ToyKms {
        root,
        grantee: kms.handle(Caller { principal: grantee, via_service: None }),
        context,
        blob: generated.wrapped.ciphertext,
        plaintext: generated.plaintext,
        token: grant.grant_token,
    })
}

impl ToyKms {
    /// Whether `blob` opens under `context`.
    pub(crate) fn opens(&self, blob: &[u8], context: EncryptionContext) -> bool {
        self.decrypt(&self.root, blob, context, GrantTokens::default())
    }

    /// Whether `token` lets the grantee open the genuine blob.
    pub(crate) fn admits(&self, token: &str) -> bool {
        let tokens = GrantTokens(vec![token.to_owned()]);
        self.decrypt(&self.grantee, &self.blob, self.context.clone(), tokens)
    }

    fn decrypt(
        &self,
        caller: &Arc<dyn KeyService>,
        blob: &[u8],
        context: EncryptionContext,
        grant_tokens: GrantTokens,
    ) -> bool {
        let ciphertext = blob.to_vec();
        let request = DecryptRequest { ciphertext, context, key_id: None, grant_tokens };
        let Ok(key) = now(caller.decrypt(request)) else { return false };
        assert_eq!(key.expose_secret(), self.plaintext.expose_secret(), "another key came out");
        true
    }
}

/// The output of a future that does not wait: the embedded KMS's are such.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the embedded KMS made a caller wait"),
    }
}

//! What a call of the embedded KMS costs in the process: median and 99th percentile of single calls,
//! with a key policy that has conditions, a grant among many, and the audit on (batched to files).
//! The bar for generating and unwrapping a data key is 20 us in the median.

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

use std::sync::Arc;
use std::time::Duration;

use sealvol_benches::{Config, Result};
use sealvol_core::{Clock, SystemClock, SystemEntropy};
use sealvol_envelope::{Caller, EncryptionContext, KmsError};
use sealvol_kms::audit::{JsonlAudit, JsonlSettings};
use sealvol_kms::model::{
    Blob, CreateGrantRequest, CreateKeyRequest, DecryptRequest, GenerateDataKeyRequest,
    GrantConstraints,
};
use sealvol_kms::{Kms, KmsParts, KmsSettings, RootKeySource, Session};

const BAR_US: f64 = 20.0;
/// Grants on the key, each of another volume, as a key in use has them.
const GRANTS: usize = 1000;
const FARGATE: &str = "fargate.us-east-1.amazonaws.com";

/// Fargate's documented statements beside the default one.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
  {"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"},
  {"Sid":"Generate","Effect":"Allow","Principal":{"Service":"fargate.us-east-1.amazonaws.com"},"Action":["kms:GenerateDataKeyWithoutPlaintext"],
   "Condition":{"StringEquals":{"kms:EncryptionContext:aws:ecs:clusterAccount":["000000000000"],"kms:EncryptionContext:aws:ecs:clusterName":["bench"]}},"Resource":"*"},
  {"Sid":"Grant","Effect":"Allow","Principal":{"Service":"fargate.us-east-1.amazonaws.com"},"Action":["kms:CreateGrant"],
   "Condition":{"StringEquals":{"kms:EncryptionContext:aws:ecs:clusterAccount":["000000000000"],"kms:EncryptionContext:aws:ecs:clusterName":["bench"]},
   "ForAllValues:StringEquals":{"kms:GrantOperations":["Decrypt"]}},"Resource":"*"}]}"#;

fn context(volume: usize) -> EncryptionContext {
    EncryptionContext::from_map(
        [
            ("aws:ecs:clusterAccount".to_owned(), "000000000000".to_owned()),
            ("aws:ecs:clusterName".to_owned(), "bench".to_owned()),
            ("aws:ebs:id".to_owned(), format!("vol-{volume:017x}")),
        ]
        .into(),
    )
}

fn generation(key_id: &str, volume: usize) -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        encryption_context: context(volume),
        number_of_bytes: Some(64),
        ..GenerateDataKeyRequest::default()
    }
}

/// Microseconds of single calls, sorted.
fn timed(
    calls: usize,
    mut call: impl FnMut(usize) -> std::result::Result<(), KmsError>,
) -> Result<Vec<f64>> {
    let clock = SystemClock::new();
    let mut took = Vec::with_capacity(calls);
    for n in 0..calls {
        let start = clock.monotonic();
        call(n)?;
        took.push((clock.monotonic() - start).as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// How many bars were missed: none or one.
fn report(store: &str, name: &str, took: &[f64]) -> usize {
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let (median, p99) = (at(50), at(99));
    let verdict = if median <= BAR_US { "met" } else { "MISSED" };
    println!(
        "{store:>9}  {name:<36} median {median:6.2} us, p99 {p99:7.2} us, bar {BAR_US} us: {verdict}"
    );
    usize::from(median > BAR_US)
}

fn measure(store: &str, kms: &Arc<Kms>, calls: usize) -> Result<usize> {
    let root = kms.session_of(&kms.root_caller());
    let fargate: Session =
        kms.session_of(&Caller { principal: FARGATE.to_owned(), via_service: None });
    let key = root
        .create_key(&CreateKeyRequest {
            policy: Some(POLICY.to_owned()),
            ..CreateKeyRequest::default()
        })?
        .key_metadata
        .arn;
    for volume in 0..GRANTS {
        fargate.create_grant(&CreateGrantRequest {
            key_id: key.clone(),
            grantee_principal: Some(FARGATE.to_owned()),
            operations: vec!["Decrypt".to_owned()],
            constraints: Some(GrantConstraints {
                encryption_context_subset: Some(context(volume)),
                ..GrantConstraints::default()
            }),
            ..CreateGrantRequest::default()
        })?;
    }
    let requests: Vec<_> = (0..64).map(|n| generation(&key, n)).collect();
    let unwraps = requests
        .iter()
        .map(|request| {
            let made = fargate.generate_data_key_without_plaintext(request)?;
            Ok(DecryptRequest {
                ciphertext_blob: Some(Blob(made.ciphertext_blob.0)),
                encryption_context: request.encryption_context.clone(),
                ..DecryptRequest::default()
            })
        })
        .collect::<std::result::Result<Vec<_>, KmsError>>()?;
    let nth = |n: usize| n % requests.len();
    let took = timed(calls, |n| {
        let request = requests.get(nth(n)).ok_or_else(missing)?;
        fargate.generate_data_key_without_plaintext(request).map(drop)
    })?;
    let mut missed = report(store, "generate_data_key_without_plaintext", &took);
    let took =
        timed(calls, |n| fargate.decrypt(unwraps.get(nth(n)).ok_or_else(missing)?).map(drop))?;
    missed += report(store, "decrypt, by grant", &took);
    let took = timed(calls, |n| root.decrypt(unwraps.get(nth(n)).ok_or_else(missing)?).map(drop))?;
    missed += report(store, "decrypt, by policy", &took);
    Ok(missed)
}

fn missing() -> KmsError {
    KmsError::silent(sealvol_envelope::KmsErrorKind::Internal, "no request")
}

fn main() -> Result<()> {
    let config = Config::from_env();
    let dir = config.bench_dir()?;
    let calls = if config.quick { 2_000 } else { 100_000 };
    let parts = |name: &str| -> Result<KmsParts> {
        let clock = Arc::new(SystemClock::new());
        let settings =
            JsonlSettings { delay: Duration::from_millis(200), ..JsonlSettings::default() };
        let audit = JsonlAudit::open(&dir.path().join(name), settings, clock)?;
        Ok(KmsParts { directory: None, audit: Some(Arc::new(audit)) })
    };
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    let kms = Kms::in_memory_with(
        KmsSettings::default(),
        clock.clone(),
        entropy.clone(),
        parts("audit-memory")?,
    )?;
    let mut missed = measure("memory", &kms, calls)?;
    let kms = Kms::open_dir_with(
        &dir.path().join("kms"),
        &RootKeySource::KeyFile,
        KmsSettings::default(),
        clock,
        entropy,
        parts("audit-directory")?,
    )?;
    missed += measure("directory", &kms, calls)?;
    config.judge(missed)
}

//! What a call costs in-process. Not a promise that a busy test machine can check, so it is run by
//! hand: `cargo test --release -p sealvol-kms --test kms cost -- --ignored --nocapture`.

use std::sync::Arc;

use sealvol_core::{Clock, SystemClock};
use sealvol_envelope::{GrantConstraint, GrantTokens};
use sealvol_kms::Kms;

use crate::support::{
    FARGATE, caller, decrypt, generate, grant, in_memory, open, root, settings, volume,
};

/// Median microseconds of `run`.
async fn median<F: Future<Output = ()>>(calls: usize, mut run: impl FnMut(usize) -> F) -> f64 {
    let clock = SystemClock::new();
    let mut took = Vec::with_capacity(calls);
    for n in 0..calls {
        let start = clock.monotonic();
        run(n).await;
        took.push(clock.monotonic() - start);
    }
    took.sort();
    took[calls / 2].as_secs_f64() * 1e6
}

async fn measure(name: &str, kms: &Arc<Kms>, grants: usize) {
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let service = root(kms);
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let mut token = String::new();
    for n in 0..grants {
        let mut request = grant(&key.arn, FARGATE);
        let context = volume(&format!("vol-{n}"));
        request.constraint = Some(GrantConstraint::EncryptionContextSubset(context));
        token = service.create_grant(request).await.unwrap().grant_token;
    }
    let per_second = grants as f64 / (clock.monotonic() - start).as_secs_f64();
    let context = volume(&format!("vol-{}", grants - 1));
    let request = generate(&key.arn, context.clone());
    let blob =
        service.generate_data_key_without_plaintext(request.clone()).await.unwrap().ciphertext;
    let generated = median(20_000, async |_| {
        service.generate_data_key_without_plaintext(request.clone()).await.map(drop).unwrap();
    })
    .await;
    let request = decrypt(&blob, context);
    let decrypted = median(20_000, async |_| {
        service.decrypt(request.clone()).await.map(drop).unwrap();
    })
    .await;
    let fargate = kms.handle(caller(FARGATE));
    let by_grant = median(20_000, async |_| {
        fargate.decrypt(request.clone()).await.map(drop).unwrap();
    })
    .await;
    let mut with_token = request.clone();
    with_token.grant_tokens = GrantTokens(vec![token]);
    let by_token = median(20_000, async |_| {
        fargate.decrypt(with_token.clone()).await.map(drop).unwrap();
    })
    .await;
    println!(
        "{name}, {grants} grants: generate {generated:.1} us, decrypt {decrypted:.1} us, \
         by grant {by_grant:.1} us, by token {by_token:.1} us; {per_second:.0} grants/s"
    );
}

#[tokio::test]
#[ignore = "measures; run by hand"]
async fn cost_of_calls() {
    let kms = in_memory(settings());
    measure("memory", &kms, 100).await;
    measure("memory", &kms, 50_000).await;
    let dir = tempfile::tempdir_in(".").unwrap();
    let kms = open(dir.path()).unwrap();
    measure("directory", &kms, 100).await;
    measure("directory", &kms, 10_000).await;
    let clock = SystemClock::new();
    drop(kms);
    let start = clock.monotonic();
    drop(open(dir.path()).unwrap());
    println!("open with 10,100 grants: {:?}", clock.monotonic() - start);
}

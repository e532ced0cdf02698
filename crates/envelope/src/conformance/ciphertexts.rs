//! Promises about wrapped data keys: what unwraps, what does not, and how it is refused.

use super::{
    Fixture, Outcome, context, generate, refused, same_key, unwrap, volume_context, wrapped,
};
use crate::{
    EncryptionContext, GrantTokens, KmsError, KmsErrorKind, ReEncryptRequest, WrappedDataKey,
};

#[track_caller]
fn invalid_ciphertext<T>(result: Result<T, KmsError>) {
    let error = refused(result, KmsErrorKind::Corrupt, "InvalidCiphertextException");
    assert_eq!(error.message(), None, "AWS gives no message, so that nothing can be told apart");
}

/// A context given in another order is the same context.
pub async fn c03_context_order_does_not_matter(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let one = context(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let other = context(&[("c", "3"), ("a", "1"), ("b", "2")]);
    let made = service.generate_data_key(generate(&key.id, one)).await.expect("generate");
    let opened = service.decrypt(unwrap(&made.wrapped.ciphertext, other)).await.expect("decrypt");
    same_key(&opened, &made.plaintext);
    Ok(())
}

/// Names and values are compared with their case.
pub async fn c04_context_case_matters(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let made = service
        .generate_data_key_without_plaintext(generate(&key.id, context(&[("Name", "Value")])))
        .await
        .expect("generate");
    for changed in [[("name", "Value")], [("Name", "value")]] {
        invalid_ciphertext(service.decrypt(unwrap(&made.ciphertext, context(&changed))).await);
    }
    Ok(())
}

/// A context that lacks a pair, has one more, or moves bytes between name and value is refused.
pub async fn c05_context_must_be_exact(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let made = service
        .generate_data_key_without_plaintext(generate(&key.id, context(&[("a", "bc"), ("d", "e")])))
        .await
        .expect("generate");
    for changed in [
        context(&[]),
        context(&[("a", "bc")]),
        context(&[("a", "bc"), ("d", "e"), ("f", "g")]),
        context(&[("ab", "c"), ("d", "e")]),
        context(&[("a", "e"), ("d", "bc")]),
    ] {
        invalid_ciphertext(service.decrypt(unwrap(&made.ciphertext, changed)).await);
    }
    Ok(())
}

/// A ciphertext with one changed, missing or added byte anywhere is refused.
pub async fn c06_damage_is_invalid_ciphertext(fixture: &dyn Fixture) -> Outcome {
    let service = fixture.privileged();
    let WrappedDataKey { ciphertext, context, .. } = wrapped(fixture).await;
    for at in 0..ciphertext.len() {
        let mut damaged = ciphertext.clone();
        if let Some(byte) = damaged.get_mut(at) {
            *byte ^= 1 << (at % 8);
        }
        invalid_ciphertext(service.decrypt(unwrap(&damaged, context.clone())).await);
    }
    for short in [1, ciphertext.len() / 2, ciphertext.len() - 1] {
        let damaged = ciphertext.get(..short).unwrap_or_default();
        invalid_ciphertext(service.decrypt(unwrap(damaged, context.clone())).await);
    }
    let longer = [ciphertext.as_slice(), &[0]].concat();
    invalid_ciphertext(service.decrypt(unwrap(&longer, context)).await);
    Ok(())
}

/// Naming another key that the caller may use is `IncorrectKeyException`.
pub async fn c07_another_key_is_incorrect_key(fixture: &dyn Fixture) -> Outcome {
    let [key, other] = fixture.keys();
    let service = fixture.privileged();
    let made = wrapped(fixture).await;
    let mut request = unwrap(&made.ciphertext, made.context.clone());
    request.key_id = Some(other.id);
    refused(service.decrypt(request.clone()).await, KmsErrorKind::Corrupt, "IncorrectKeyException");
    request.key_id = Some(key.arn);
    assert_eq!(service.decrypt(request).await.expect("the right key is named").len(), 64);
    Ok(())
}

/// A ciphertext whose key does not exist here is denied, not called missing.
pub async fn c09_unknown_owner_is_denied(fixture: &dyn Fixture) -> Outcome {
    let foreign = fixture.foreign_ciphertext()?;
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let mut request = unwrap(&foreign, EncryptionContext::new());
    refused(service.decrypt(request.clone()).await, KmsErrorKind::Denied, "AccessDeniedException");
    request.key_id = Some(key.id);
    refused(service.decrypt(request).await, KmsErrorKind::Corrupt, "IncorrectKeyException");
    Ok(())
}

/// A data key has 1 to 1024 bytes. (Case 10, both sizes or none, cannot be expressed.)
pub async fn c11_size_range_is_checked(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    for size in [0, 1025, u16::MAX] {
        let mut request = generate(&key.id, EncryptionContext::new());
        request.number_of_bytes = size;
        refused(
            service.generate_data_key(request.clone()).await,
            KmsErrorKind::Invalid,
            "ValidationException",
        );
        refused(
            service.generate_data_key_without_plaintext(request).await,
            KmsErrorKind::Invalid,
            "ValidationException",
        );
    }
    for size in [1, 32, 1024] {
        let mut request = generate(&key.id, EncryptionContext::new());
        request.number_of_bytes = size;
        let made = service.generate_data_key(request).await.expect("a size in range");
        assert_eq!(made.plaintext.len(), usize::from(size));
        assert!(made.wrapped.ciphertext.len() <= 6144, "the ciphertext limit of KMS");
    }
    Ok(())
}

/// 64-byte data keys, as AES-256-XTS volumes have, unwrap to 64 bytes.
pub async fn c13_sixty_four_byte_keys(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let made = wrapped(fixture).await;
    assert_eq!(made.key_arn, key.arn, "the wrapped key names its key by ARN");
    assert_eq!(made.context, volume_context());
    assert!(made.ciphertext.len() <= 6144, "the ciphertext limit of KMS");
    let opened = fixture
        .privileged()
        .decrypt(unwrap(&made.ciphertext, volume_context()))
        .await
        .expect("decrypt");
    assert_eq!(opened.len(), 64);
    Ok(())
}

/// Equal requests give different keys and different ciphertexts.
pub async fn c14_every_call_gives_another_ciphertext(fixture: &dyn Fixture) -> Outcome {
    let (a, b) = (wrapped(fixture).await, wrapped(fixture).await);
    assert_ne!(a.ciphertext, b.ciphertext);
    let service = fixture.privileged();
    let a = service.decrypt(unwrap(&a.ciphertext, volume_context())).await.expect("decrypt");
    let b = service.decrypt(unwrap(&b.ciphertext, volume_context())).await.expect("decrypt");
    assert!(a.expose_secret() != b.expose_secret(), "two calls gave one data key");
    Ok(())
}

/// `generate_data_key` returns the same key in both forms.
pub async fn plaintext_and_wrapped_form_agree(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let made = service.generate_data_key(generate(&key.arn, volume_context())).await.expect("make");
    assert_eq!((made.plaintext.len(), &made.wrapped.key_arn), (64, &key.arn));
    let opened =
        service.decrypt(unwrap(&made.wrapped.ciphertext, volume_context())).await.expect("decrypt");
    same_key(&opened, &made.plaintext);
    Ok(())
}

/// The empty context is a context: it unwraps with itself alone.
pub async fn empty_context_round_trips(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let made = service
        .generate_data_key_without_plaintext(generate(&key.id, EncryptionContext::new()))
        .await
        .expect("generate");
    let opened =
        service.decrypt(unwrap(&made.ciphertext, EncryptionContext::new())).await.expect("decrypt");
    assert_eq!(opened.len(), 64);
    invalid_ciphertext(service.decrypt(unwrap(&made.ciphertext, context(&[("", "")]))).await);
    Ok(())
}

fn re_encrypt(
    source: &WrappedDataKey,
    key_id: &str,
    destination_context: EncryptionContext,
) -> ReEncryptRequest {
    ReEncryptRequest {
        ciphertext: source.ciphertext.clone(),
        source_context: source.context.clone(),
        source_key_id: None,
        destination_key_id: key_id.to_owned(),
        destination_context,
        grant_tokens: GrantTokens::default(),
    }
}

/// `ReEncrypt` under the same key changes the context; the old one does not open the new blob.
pub async fn c32_re_encrypt_changes_the_context(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let source =
        service.generate_data_key(generate(&key.id, volume_context())).await.expect("make");
    let moved = context(&[("aws:ebs:id", "snap-0123456789abcdef0")]);
    let new = service
        .re_encrypt(re_encrypt(&source.wrapped, &key.id, moved.clone()))
        .await
        .expect("re-encrypt");
    assert_eq!((&new.context, &new.key_arn), (&moved, &key.arn));
    assert_ne!(new.ciphertext, source.wrapped.ciphertext);
    invalid_ciphertext(service.decrypt(unwrap(&new.ciphertext, volume_context())).await);
    let opened = service.decrypt(unwrap(&new.ciphertext, moved)).await.expect("decrypt");
    same_key(&opened, &source.plaintext);
    Ok(())
}

/// `ReEncrypt` to another key leaves the data key as it was.
pub async fn re_encrypt_changes_the_key(fixture: &dyn Fixture) -> Outcome {
    let [key, other] = fixture.keys();
    let service = fixture.privileged();
    let source =
        service.generate_data_key(generate(&key.id, volume_context())).await.expect("make");
    let new = service
        .re_encrypt(re_encrypt(&source.wrapped, &other.arn, volume_context()))
        .await
        .expect("re-encrypt");
    assert_eq!(new.key_arn, other.arn);
    let mut request = unwrap(&new.ciphertext, volume_context());
    request.key_id = Some(key.id);
    refused(service.decrypt(request.clone()).await, KmsErrorKind::Corrupt, "IncorrectKeyException");
    request.key_id = Some(other.id);
    same_key(&service.decrypt(request).await.expect("decrypt"), &source.plaintext);
    Ok(())
}

/// `ReEncrypt` refuses a wrong source context, a damaged source and a wrongly named source key.
pub async fn re_encrypt_checks_its_source(fixture: &dyn Fixture) -> Outcome {
    let [key, other] = fixture.keys();
    let service = fixture.privileged();
    let source = wrapped(fixture).await;
    let mut request = re_encrypt(&source, &key.id, volume_context());
    request.source_context = EncryptionContext::new();
    invalid_ciphertext(service.re_encrypt(request).await);
    let mut request = re_encrypt(&source, &key.id, volume_context());
    if let Some(last) = request.ciphertext.last_mut() {
        *last ^= 1;
    }
    invalid_ciphertext(service.re_encrypt(request).await);
    let mut request = re_encrypt(&source, &key.id, volume_context());
    request.source_key_id = Some(other.id);
    refused(service.re_encrypt(request).await, KmsErrorKind::Corrupt, "IncorrectKeyException");
    Ok(())
}

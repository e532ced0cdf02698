//! Promises about keys: how they are named and what their state allows.

use super::{
    Fixture, NotSupported, Outcome, generate, grant, refused, same_key, unwrap, volume_context,
    wrapped,
};
use crate::{GrantOperation, KeyState, KmsErrorKind, ReEncryptRequest};

/// Key id, key ARN, alias and alias ARN all name the key; answers carry the ARN.
pub async fn c15_every_form_of_key_id(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let mut forms = vec![key.id.clone(), key.arn.clone()];
    let Some((alias, alias_arn)) = key.alias.clone() else {
        return Err(NotSupported::because("the backend has no alias for the key"));
    };
    forms.extend([alias, alias_arn]);
    for form in forms {
        assert_eq!(service.describe_key(&form).await.expect(&form).arn, key.arn, "{form}");
        let made = service
            .generate_data_key_without_plaintext(generate(&form, volume_context()))
            .await
            .expect(&form);
        assert_eq!(made.key_arn, key.arn, "{form}");
        let mut request = unwrap(&made.ciphertext, volume_context());
        request.key_id = Some(form.clone());
        assert_eq!(service.decrypt(request).await.expect(&form).len(), 64);
    }
    Ok(())
}

/// An unknown id, a malformed id and an unknown alias are `NotFoundException`.
pub async fn c17_unknown_keys_are_not_found(fixture: &dyn Fixture) -> Outcome {
    let service = fixture.privileged();
    for unknown in
        ["00000000-0000-4000-8000-000000000000", "not-a-key", "alias/sealvol-conformance-no-such"]
    {
        let described = service.describe_key(unknown).await;
        refused(described, KmsErrorKind::NotFound, "NotFoundException");
        let made = service.generate_data_key(generate(unknown, volume_context())).await;
        refused(made, KmsErrorKind::NotFound, "NotFoundException");
    }
    Ok(())
}

/// `describe_key` tells the id, the ARN and the state.
pub async fn describe_tells_id_arn_and_state(fixture: &dyn Fixture) -> Outcome {
    for key in fixture.keys() {
        let told = fixture.privileged().describe_key(&key.arn).await.expect("describe");
        assert_eq!((told.key_id, told.arn, told.state), (key.id, key.arn, KeyState::Enabled));
    }
    Ok(())
}

/// Every cryptographic operation on a disabled key is `DisabledException`, and describing works.
pub async fn c18_disabled_key_refuses_cryptography(fixture: &dyn Fixture) -> Outcome {
    let [key, other] = fixture.keys();
    let service = fixture.privileged();
    let made = wrapped(fixture).await;
    fixture.set_enabled(&key, false).await?;
    let answers = [
        service.generate_data_key(generate(&key.id, volume_context())).await.map(drop),
        service
            .generate_data_key_without_plaintext(generate(&key.id, volume_context()))
            .await
            .map(drop),
        service.decrypt(unwrap(&made.ciphertext, volume_context())).await.map(drop),
        service
            .re_encrypt(ReEncryptRequest {
                ciphertext: made.ciphertext.clone(),
                source_context: volume_context(),
                source_key_id: None,
                destination_key_id: other.id.clone(),
                destination_context: volume_context(),
                grant_tokens: Default::default(),
            })
            .await
            .map(drop),
    ];
    let state = service.describe_key(&key.id).await.map(|told| told.state);
    fixture.set_enabled(&key, true).await?;
    for answer in answers {
        refused(answer, KmsErrorKind::KeyUnusable, "DisabledException");
    }
    assert_eq!(state.expect("describe works in every state"), KeyState::Disabled);
    Ok(())
}

/// A disabled key takes no new grant.
pub async fn c44_disabled_key_refuses_create_grant(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    fixture.set_enabled(&key, false).await?;
    let answer =
        fixture.privileged().create_grant(grant(&key, &other, &[GrantOperation::Decrypt])).await;
    fixture.set_enabled(&key, true).await?;
    refused(answer, KmsErrorKind::KeyUnusable, "DisabledException");
    Ok(())
}

/// Disabling a key leaves a data key in use alone, fails the next unwrap in a way that says why,
/// and loses nothing: enabled again, the same data key comes back.
pub async fn c59_disabled_key_leaves_open_data_keys_alone(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let service = fixture.privileged();
    let made = wrapped(fixture).await;
    let before = service.decrypt(unwrap(&made.ciphertext, volume_context())).await.expect("attach");
    let bytes_before = before.expose_secret().first().copied();
    fixture.set_enabled(&key, false).await?;
    let while_disabled = service.decrypt(unwrap(&made.ciphertext, volume_context())).await;
    assert_eq!(before.expose_secret().first().copied(), bytes_before, "the open key is untouched");
    fixture.set_enabled(&key, true).await?;
    refused(while_disabled, KmsErrorKind::KeyUnusable, "DisabledException");
    let after = service.decrypt(unwrap(&made.ciphertext, volume_context())).await.expect("attach");
    same_key(&before, &after);
    Ok(())
}

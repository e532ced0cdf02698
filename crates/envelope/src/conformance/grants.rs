//! Promises about grants: who may do what through one, how it is made, and how it ends.

use super::{
    Fixture, NotSupported, Outcome, TestKey, TestPrincipal, clean_up, constrained, context, create,
    denied, generate, grant, refused, unwrap, volume_context, with_token, wrapped,
};
use crate::{
    CreateGrantRequest, EncryptionContext, GrantConstraint, GrantOperation, GrantTokens,
    KmsErrorKind, ReEncryptRequest, RetireGrantRequest,
};

use GrantOperation::{
    CreateGrant, Decrypt, DescribeKey, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext,
    ReEncryptFrom, ReEncryptTo, RetireGrant,
};

fn tokens(token: &str) -> GrantTokens {
    GrantTokens(vec![token.to_owned()])
}

/// A principal without policy and grant may do nothing.
pub async fn without_a_grant_everything_is_denied(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    denied(other.service.describe_key(&key.arn).await);
    denied(other.service.generate_data_key(generate(&key.arn, volume_context())).await);
    denied(
        other
            .service
            .generate_data_key_without_plaintext(generate(&key.arn, volume_context()))
            .await,
    );
    denied(other.service.decrypt(unwrap(&made.ciphertext, volume_context())).await);
    denied(other.service.create_grant(grant(&key, &other, &[Decrypt])).await);
    Ok(())
}

/// A grant allows the operations it lists and no others.
pub async fn a_grant_allows_only_its_operations(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let created = create(fixture, grant(&key, &other, &[Decrypt])).await;
    let request = with_token(unwrap(&made.ciphertext, volume_context()), &created);
    assert_eq!(other.service.decrypt(request).await.expect("granted").len(), 64);
    let mut request = generate(&key.arn, volume_context());
    request.grant_tokens = tokens(&created.grant_token);
    denied(other.service.generate_data_key(request.clone()).await);
    denied(other.service.generate_data_key_without_plaintext(request.clone()).await);
    denied(other.service.describe_key(&key.arn).await);
    clean_up(fixture, &created).await;

    let created = create(fixture, grant(&key, &other, &[GenerateDataKeyWithoutPlaintext])).await;
    request.grant_tokens = tokens(&created.grant_token);
    denied(other.service.generate_data_key(request.clone()).await);
    other.service.generate_data_key_without_plaintext(request).await.expect("granted");
    clean_up(fixture, &created).await;
    Ok(())
}

/// A token lends nothing to another principal, and nothing on another key.
pub async fn a_grant_is_for_its_grantee_and_key(fixture: &dyn Fixture) -> Outcome {
    let [key, second_key] = fixture.keys();
    let (grantee, stranger) = (fixture.other(0)?, fixture.other(1)?);
    let made = wrapped(fixture).await;
    let created = create(fixture, grant(&key, &grantee, &[Decrypt, GenerateDataKey])).await;
    let request = with_token(unwrap(&made.ciphertext, volume_context()), &created);
    denied(stranger.service.decrypt(request).await);
    let mut request = generate(&second_key.arn, volume_context());
    request.grant_tokens = tokens(&created.grant_token);
    denied(grantee.service.generate_data_key(request).await);
    clean_up(fixture, &created).await;
    Ok(())
}

/// `ReEncrypt` needs `ReEncryptFrom` on the source key and `ReEncryptTo` on the destination key.
pub async fn c34_re_encrypt_needs_both_halves(fixture: &dyn Fixture) -> Outcome {
    let [key, second_key] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let from = create(fixture, grant(&key, &other, &[ReEncryptFrom])).await;
    let mut request = ReEncryptRequest {
        ciphertext: made.ciphertext.clone(),
        source_context: volume_context(),
        source_key_id: None,
        destination_key_id: second_key.arn.clone(),
        destination_context: EncryptionContext::new(),
        grant_tokens: tokens(&from.grant_token),
    };
    denied(other.service.re_encrypt(request.clone()).await);
    let to = create(fixture, grant(&second_key, &other, &[ReEncryptTo])).await;
    request.grant_tokens = tokens(&to.grant_token);
    request.grant_tokens.0.push(from.grant_token.clone());
    let new = other.service.re_encrypt(request.clone()).await.expect("both halves are granted");
    assert_eq!(new.key_arn, second_key.arn);
    clean_up(fixture, &from).await;
    request.grant_tokens = tokens(&to.grant_token);
    denied(other.service.re_encrypt(request).await);
    clean_up(fixture, &to).await;
    Ok(())
}

fn named(key: &TestKey, to: &TestPrincipal, name: &str) -> CreateGrantRequest {
    CreateGrantRequest { name: Some(name.to_owned()), ..grant(key, to, &[Decrypt, Encrypt]) }
}

/// Creating an identical named grant again gives the same grant, and both tokens work.
pub async fn c35_named_grant_is_idempotent(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let first = create(fixture, named(&key, &other, "c35")).await;
    let mut again = named(&key, &other, "c35");
    again.operations.reverse();
    let second = create(fixture, again).await;
    assert_eq!(first.grant_id, second.grant_id);
    assert_ne!(first.grant_token, second.grant_token, "each call gives a token of its own");
    for created in [&first, &second] {
        let request = with_token(unwrap(&made.ciphertext, volume_context()), created);
        assert_eq!(other.service.decrypt(request).await.expect("both tokens work").len(), 64);
    }
    // The tokens are interchangeable: the second ends the grant that the first came with.
    clean_up(fixture, &second).await;
    denied(
        other.service.decrypt(with_token(unwrap(&made.ciphertext, volume_context()), &first)).await,
    );
    Ok(())
}

/// Creating an identical unnamed grant again gives another grant.
pub async fn c36_unnamed_grants_are_duplicates(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let first = create(fixture, grant(&key, &other, &[Decrypt])).await;
    let second = create(fixture, grant(&key, &other, &[Decrypt])).await;
    assert_ne!(first.grant_id, second.grant_id);
    clean_up(fixture, &first).await;
    let request = with_token(unwrap(&made.ciphertext, volume_context()), &second);
    other.service.decrypt(request).await.expect("the other grant is still there");
    clean_up(fixture, &second).await;
    Ok(())
}

/// One name on two keys is two grants.
pub async fn c37_names_are_scoped_to_the_key(fixture: &dyn Fixture) -> Outcome {
    let [key, second_key] = fixture.keys();
    let other = fixture.other(0)?;
    let first = create(fixture, named(&key, &other, "c37")).await;
    let second = create(fixture, named(&second_key, &other, "c37")).await;
    assert_ne!(first.grant_id, second.grant_id);
    clean_up(fixture, &first).await;
    clean_up(fixture, &second).await;
    Ok(())
}

/// Idempotency is for identical parameters only.
pub async fn named_grant_with_other_parameters_is_another(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let first = create(fixture, named(&key, &other, "same-name")).await;
    let constraint = GrantConstraint::EncryptionContextSubset(volume_context());
    let second = create(fixture, constrained(named(&key, &other, "same-name"), constraint)).await;
    assert_ne!(first.grant_id, second.grant_id);
    clean_up(fixture, &first).await;
    clean_up(fixture, &second).await;
    Ok(())
}

/// No operations, and `CreateGrant` alone, are refused. (`Sign` cannot be expressed.)
pub async fn c38_operations_are_checked(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    for operations in [&[][..], &[CreateGrant], &[CreateGrant, CreateGrant]] {
        let answer = fixture.privileged().create_grant(grant(&key, &other, operations)).await;
        refused(answer, KmsErrorKind::Invalid, "ValidationException");
    }
    Ok(())
}

/// At most 8 pairs, values of at most 384 characters, names of KMS's alphabet. (Both constraint
/// kinds at once cannot be expressed: the request holds one.)
pub async fn c39_constraint_limits(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let service = fixture.privileged();
    let pairs = |count: usize, value_len: usize| {
        let pairs = (0..count).map(|i| (format!("name-{i}"), "\u{e9}".repeat(value_len)));
        EncryptionContext::from_pairs(pairs).expect("a valid context")
    };
    for bad in [pairs(9, 1), pairs(1, 385)] {
        for constraint in [
            GrantConstraint::EncryptionContextEquals(bad.clone()),
            GrantConstraint::EncryptionContextSubset(bad),
        ] {
            let request = constrained(grant(&key, &other, &[Decrypt]), constraint);
            let answer = service.create_grant(request).await;
            refused(answer, KmsErrorKind::Invalid, "ValidationException");
        }
    }
    let widest = GrantConstraint::EncryptionContextSubset(pairs(8, 384));
    let created = create(fixture, constrained(grant(&key, &other, &[Decrypt]), widest)).await;
    clean_up(fixture, &created).await;
    for bad in [String::new(), "x".repeat(257), "a name".to_owned()] {
        let answer = service.create_grant(named(&key, &other, &bad)).await;
        refused(answer, KmsErrorKind::Invalid, "ValidationException");
    }
    Ok(())
}

/// `EncryptionContextEquals` wants the exact set; `EncryptionContextSubset` allows more pairs.
pub async fn c40_equals_and_subset(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let service = fixture.privileged();
    let pairs = context(&[("a", "1"), ("b", "2")]);
    let more = context(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let fewer = context(&[("a", "1")]);
    let changed = context(&[("a", "1"), ("b", "two")]);
    let cases = [
        (
            GrantConstraint::EncryptionContextEquals(pairs.clone()),
            vec![(&pairs, true), (&more, false), (&fewer, false), (&changed, false)],
        ),
        (
            GrantConstraint::EncryptionContextSubset(pairs.clone()),
            vec![(&pairs, true), (&more, true), (&fewer, false), (&changed, false)],
        ),
    ];
    for (constraint, contexts) in cases {
        let created =
            create(fixture, constrained(grant(&key, &other, &[Decrypt]), constraint)).await;
        for (context, allowed) in contexts {
            let made = service
                .generate_data_key_without_plaintext(generate(&key.id, context.clone()))
                .await
                .expect("generate");
            let request = with_token(unwrap(&made.ciphertext, context.clone()), &created);
            let answer = other.service.decrypt(request).await;
            if allowed {
                answer.expect("the constraint allows this context");
            } else {
                denied(answer);
            }
        }
        clean_up(fixture, &created).await;
    }
    Ok(())
}

/// `DescribeKey` has no context, so a grant's constraint does not apply to it.
pub async fn c41_describe_ignores_the_constraint(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let constraint = GrantConstraint::EncryptionContextEquals(volume_context());
    let request = constrained(grant(&key, &other, &[DescribeKey]), constraint);
    let created = create(fixture, request).await;
    // The trait's describe takes no token, so a backend may need time to spread the grant; the
    // fixture of such a backend waives this case.
    assert_eq!(other.service.describe_key(&key.arn).await.expect("granted").arn, key.arn);
    clean_up(fixture, &created).await;
    Ok(())
}

/// A grant made through a grant may only narrow it.
pub async fn c43_child_grants_only_narrow(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let (parent_holder, child) = (fixture.other(0)?, fixture.other(1)?);
    let pairs = context(&[("a", "1")]);
    let more = context(&[("a", "1"), ("b", "2")]);
    let subset = |c: &EncryptionContext| Some(GrantConstraint::EncryptionContextSubset(c.clone()));
    let equals = |c: &EncryptionContext| Some(GrantConstraint::EncryptionContextEquals(c.clone()));
    let loose = context(&[("b", "2")]);

    let cases = [
        (subset(&pairs), &[Decrypt][..], subset(&pairs), true),
        (subset(&pairs), &[Decrypt], subset(&more), true),
        (subset(&pairs), &[Decrypt], equals(&pairs), true),
        (subset(&pairs), &[Decrypt], equals(&more), true),
        (subset(&pairs), &[Decrypt, CreateGrant], equals(&more), true),
        (subset(&pairs), &[Decrypt], None, false),
        (subset(&pairs), &[Decrypt], subset(&loose), false),
        (subset(&pairs), &[Decrypt], equals(&loose), false),
        (subset(&pairs), &[Decrypt, Encrypt], subset(&pairs), false),
        (equals(&pairs), &[Decrypt], equals(&pairs), true),
        (equals(&pairs), &[Decrypt], subset(&pairs), false),
        (equals(&pairs), &[Decrypt], equals(&more), false),
        (equals(&pairs), &[Decrypt], None, false),
        (None, &[Decrypt], None, true),
        (None, &[Decrypt], subset(&pairs), true),
        (None, &[GenerateDataKey], None, false),
    ];
    for (number, (parent, operations, constraint, allowed)) in cases.into_iter().enumerate() {
        let mut request = grant(&key, &parent_holder, &[Decrypt, CreateGrant]);
        request.constraint = parent;
        let parent = create(fixture, request).await;
        let mut request = grant(&key, &child, operations);
        request.constraint = constraint;
        request.grant_tokens = tokens(&parent.grant_token);
        let answer = parent_holder.service.create_grant(request).await;
        if allowed {
            let created = answer.unwrap_or_else(|e| panic!("case {number} narrows: {e}"));
            clean_up(fixture, &created).await;
        } else {
            denied(answer);
        }
        clean_up(fixture, &parent).await;
    }
    Ok(())
}

/// Retiring and revoking work while the key is disabled.
pub async fn c45_retire_and_revoke_on_a_disabled_key(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let by_token = create(fixture, grant(&key, &other, &[Decrypt])).await;
    let by_id = create(fixture, grant(&key, &other, &[Decrypt])).await;
    let revoked = create(fixture, grant(&key, &other, &[Decrypt])).await;
    fixture.set_enabled(&key, false).await?;
    let service = fixture.privileged();
    let answers = [
        service.retire_grant(RetireGrantRequest::Token(tokens(&by_token.grant_token))).await,
        service
            .retire_grant(RetireGrantRequest::Id {
                key_arn: key.arn.clone(),
                grant_id: by_id.grant_id.clone(),
            })
            .await,
    ];
    let revoke = fixture.revoke_grant(&key, &revoked.grant_id).await;
    fixture.set_enabled(&key, true).await?;
    for answer in answers {
        answer.expect("retiring works in every key state");
    }
    if revoke.is_err() {
        clean_up(fixture, &revoked).await;
    }
    for created in [&by_token, &by_id, &revoked] {
        denied(
            other
                .service
                .decrypt(with_token(unwrap(&made.ciphertext, volume_context()), created))
                .await,
        );
    }
    revoke
}

/// A grantee may retire its grant only if the grant says so.
pub async fn c46_grantee_retires_only_with_retire_grant(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let without = create(fixture, grant(&key, &other, &[Decrypt])).await;
    denied(
        other.service.retire_grant(RetireGrantRequest::Token(tokens(&without.grant_token))).await,
    );
    clean_up(fixture, &without).await;
    let constraint = GrantConstraint::EncryptionContextEquals(volume_context());
    let request = constrained(grant(&key, &other, &[Decrypt, RetireGrant]), constraint);
    let with = create(fixture, request).await;
    other
        .service
        .retire_grant(RetireGrantRequest::Token(tokens(&with.grant_token)))
        .await
        .expect("the grant allows its own end, whatever its constraint");
    Ok(())
}

/// The retiring principal ends a grant by token and by id; nobody else's principal does.
pub async fn retiring_principal_retires_by_token_and_by_id(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let (grantee, retirer) = (fixture.other(0)?, fixture.other(1)?);
    let made = wrapped(fixture).await;
    for by_id in [false, true] {
        let mut request = grant(&key, &grantee, &[Decrypt]);
        request.retiring_principal = Some(retirer.principal.clone());
        let created = create(fixture, request).await;
        let request = if by_id {
            RetireGrantRequest::Id { key_arn: key.arn.clone(), grant_id: created.grant_id.clone() }
        } else {
            RetireGrantRequest::Token(tokens(&created.grant_token))
        };
        denied(grantee.service.retire_grant(request.clone()).await);
        retirer.service.retire_grant(request.clone()).await.expect("the retiring principal");
        denied(
            grantee
                .service
                .decrypt(with_token(unwrap(&made.ciphertext, volume_context()), &created))
                .await,
        );
        let again = retirer.service.retire_grant(request).await;
        refused(again, KmsErrorKind::NotFound, "NotFoundException");
    }
    Ok(())
}

/// After retiring or revoking, the grantee is denied, with the token and without.
pub async fn c47_ended_grants_no_longer_allow(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let made = wrapped(fixture).await;
    let request = unwrap(&made.ciphertext, volume_context());
    let created = create(fixture, grant(&key, &other, &[Decrypt])).await;
    other.service.decrypt(with_token(request.clone(), &created)).await.expect("granted");
    let revoked = fixture.revoke_grant(&key, &created.grant_id).await;
    if let Err(NotSupported(reason)) = revoked {
        clean_up(fixture, &created).await;
        return Err(NotSupported(reason));
    }
    denied(other.service.decrypt(with_token(request.clone(), &created)).await);
    denied(other.service.decrypt(request).await);
    Ok(())
}

/// Tokens that this service did not make are refused, also from a caller that needs none.
pub async fn tokens_are_checked(fixture: &dyn Fixture) -> Outcome {
    let [key, _] = fixture.keys();
    let other = fixture.other(0)?;
    let service = fixture.privileged();
    let created = create(fixture, grant(&key, &other, &[Decrypt])).await;
    let mut changed = created.grant_token.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    for bad in ["!", "AAAA", changed.as_str(), ""] {
        let mut request = generate(&key.id, volume_context());
        request.grant_tokens = tokens(bad);
        let code =
            if bad.is_empty() { "ValidationException" } else { "InvalidGrantTokenException" };
        refused(service.generate_data_key(request).await, KmsErrorKind::Invalid, code);
        if !bad.is_empty() {
            let answer = service.retire_grant(RetireGrantRequest::Token(tokens(bad))).await;
            refused(answer, KmsErrorKind::Invalid, code);
        }
    }
    let mut request = generate(&key.id, volume_context());
    request.grant_tokens = GrantTokens(vec![created.grant_token.clone(); 11]);
    let answer = service.generate_data_key(request).await;
    refused(answer, KmsErrorKind::Invalid, "ValidationException");
    clean_up(fixture, &created).await;
    Ok(())
}

//! From an operation and a body to a body: requests and answers of KMS in their JSON form.

use sealvol_aws_wire::fault::{Fault, Protocol};
use sealvol_aws_wire::json::parse_body;
use sealvol_envelope::KmsError;
use sealvol_kms::model::Nothing;
use sealvol_kms::{Operation, Session};
use sealvol_sys::WipedBuffer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The longest answers with a secret are shorter, so that their buffer need not grow.
const ANSWER_LEN: usize = 4096;

/// Runs `operation` with the request `body` and returns the answer's body, which is wiped when it is
/// dropped. Operations without an answer have an empty one.
///
/// # Errors
/// `SerializationException` when `body` is no such request, and what KMS refuses with.
///
/// # Blocking
/// As the operation: changes wait for the disk.
pub fn dispatch(
    session: &Session,
    operation: Operation,
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    use Operation as O;
    match operation {
        O::CancelKeyDeletion => answered(body, |r| session.cancel_key_deletion(r)),
        O::CreateAlias => done(body, |r| session.create_alias(r)),
        O::CreateGrant => answered(body, |r| session.create_grant(r)),
        O::CreateKey => answered(body, |r| session.create_key(r)),
        O::Decrypt => answered(body, |r| session.decrypt(r)),
        O::DeleteAlias => done(body, |r| session.delete_alias(r)),
        O::DescribeKey => answered(body, |r| session.describe_key(r)),
        O::DisableKey => done(body, |r| session.disable_key(r)),
        O::DisableKeyRotation => done(body, |r| session.disable_key_rotation(r)),
        O::EnableKey => done(body, |r| session.enable_key(r)),
        O::EnableKeyRotation => done(body, |r| session.enable_key_rotation(r)),
        O::Encrypt => answered(body, |r| session.encrypt(r)),
        O::GenerateDataKey => answered(body, |r| session.generate_data_key(r)),
        O::GenerateDataKeyWithoutPlaintext => {
            answered(body, |r| session.generate_data_key_without_plaintext(r))
        }
        O::GenerateRandom => answered(body, |r| session.generate_random(r)),
        O::GetKeyPolicy => answered(body, |r| session.get_key_policy(r)),
        O::GetKeyRotationStatus => answered(body, |r| session.get_key_rotation_status(r)),
        O::ListAliases => answered(body, |r| session.list_aliases(r)),
        O::ListGrants => answered(body, |r| session.list_grants(r)),
        O::ListKeyPolicies => answered(body, |r| session.list_key_policies(r)),
        O::ListKeyRotations => answered(body, |r| session.list_key_rotations(r)),
        O::ListKeys => answered(body, |r| session.list_keys(r)),
        O::ListResourceTags => answered(body, |r| session.list_resource_tags(r)),
        O::ListRetirableGrants => answered(body, |r| session.list_retirable_grants(r)),
        O::PutKeyPolicy => done(body, |r| session.put_key_policy(r)),
        O::ReEncrypt => answered(body, |r| session.re_encrypt(r)),
        O::RetireGrant => done(body, |r| session.retire_grant(r)),
        O::RevokeGrant => done(body, |r| session.revoke_grant(r)),
        O::RotateKeyOnDemand => answered(body, |r| session.rotate_key_on_demand(r)),
        O::ScheduleKeyDeletion => answered(body, |r| session.schedule_key_deletion(r)),
        O::TagResource => done(body, |r| session.tag_resource(r)),
        O::UntagResource => done(body, |r| session.untag_resource(r)),
        O::UpdateAlias => done(body, |r| session.update_alias(r)),
        O::UpdateKeyDescription => done(body, |r| session.update_key_description(r)),
        // The enumeration can grow; a test runs every one of it.
        _ => Err(Fault::new(Protocol::Json, "UnknownOperationException")),
    }
}

fn answered<R: DeserializeOwned, A: Serialize>(
    body: &[u8],
    run: impl FnOnce(&R) -> Result<A, KmsError>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let request = parse_body(body)?;
    let answer = run(&request).map_err(|error| told(&error))?;
    let mut text = WipedBuffer::with_capacity(ANSWER_LEN.min(1024 + 2 * body.len()));
    serde_json::to_writer(&mut text, &answer).map_err(|error| {
        tracing::error!(%error, "an answer does not serialise");
        Fault::new(Protocol::Json, "KMSInternalException")
    })?;
    Ok(text.into_inner())
}

fn done<R: DeserializeOwned>(
    body: &[u8],
    run: impl FnOnce(&R) -> Result<Nothing, KmsError>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let request = parse_body(body)?;
    run(&request).map_err(|error| told(&error))?;
    Ok(Zeroizing::default())
}

/// What the client is told of an error. Its cause is for the log.
fn told(error: &KmsError) -> Fault {
    if let Some(cause) = std::error::Error::source(error) {
        tracing::warn!(%error, cause = %cause, "an operation of KMS failed");
    }
    let fault = Fault::new(Protocol::Json, error.code());
    match error.message() {
        Some(message) => fault.with_message(message.to_owned()),
        None => fault,
    }
}

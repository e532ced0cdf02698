//! KMS behind the endpoint: the target's operation, run where it may block.

use std::sync::Arc;

use http::HeaderMap;
use sealvol_aws_wire::fault::{Fault, Protocol};
use sealvol_aws_wire::json::{self, UnknownOperation};
use sealvol_kms::{Kms, Operation, Requester};
use zeroize::Zeroizing;

use crate::dispatch::dispatch;

/// KMS's name in `X-Amz-Target`.
const SERVICE: &str = "TrentService";

/// The one target that a request names.
fn target(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("x-amz-target").iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// The operation that a request asks for.
pub(crate) fn operation(headers: &HeaderMap) -> Result<Operation, Fault> {
    let name = json::operation(target(headers), SERVICE)?;
    if let Some(operation) = Operation::from_name(name) {
        return Ok(operation);
    }
    if Operation::UNSUPPORTED.contains(&name) {
        let fault = Fault::new(Protocol::Json, "UnsupportedOperationException");
        return Err(fault.with_message(format!(
            "{name} is an operation of AWS KMS that this KMS does not have."
        )));
    }
    Err(UnknownOperation.into())
}

/// Runs an operation. Changes wait for the disk and run on a thread that may.
pub(crate) async fn run(
    kms: &Arc<Kms>,
    requester: Requester,
    operation: Operation,
    body: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let session = kms.session(requester);
    if !operation.is_change() {
        return dispatch(&session, operation, &body);
    }
    let task = tokio::task::spawn_blocking(move || dispatch(&session, operation, &body));
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, operation = operation.as_str(), "an operation panicked");
        Err(Fault::new(Protocol::Json, "KMSInternalException"))
    })
}

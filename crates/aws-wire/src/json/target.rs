//! `X-Amz-Target: TrentService.Decrypt`.

use thiserror::Error;

use crate::fault::{Fault, Protocol};

/// The target names no operation of the service; `UnknownOperationException`, without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unknown operation")]
pub struct UnknownOperation;

impl From<UnknownOperation> for Fault {
    fn from(_: UnknownOperation) -> Self {
        Self::new(Protocol::Json, "UnknownOperationException")
    }
}

/// The operation that `target` names of `service` (`TrentService`). Which operations there are is for
/// the caller to know.
///
/// # Errors
/// When the target is of another service or names nothing that could be an operation.
pub fn operation<'a>(target: Option<&'a str>, service: &str) -> Result<&'a str, UnknownOperation> {
    let name = target.and_then(|target| target.strip_prefix(service)?.strip_prefix('.'));
    name.filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .ok_or(UnknownOperation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_operation_of_its_service_only() {
        assert_eq!(operation(Some("TrentService.Decrypt"), "TrentService"), Ok("Decrypt"));
        for target in [
            "",
            "Decrypt",
            "TrentService",
            "TrentService.",
            "TrentServiceX.Y",
            "trentservice.Decrypt",
            "TrentService.A.B",
            "TrentService. Decrypt",
        ] {
            assert_eq!(operation(Some(target), "TrentService"), Err(UnknownOperation), "{target}");
        }
        let fault = Fault::from(operation(None, "TrentService").unwrap_err());
        assert_eq!((fault.code(), fault.message()), ("UnknownOperationException", None));
        assert_eq!(fault.status().as_u16(), 400);
    }
}

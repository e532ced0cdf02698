//! What surrounds the answers of STS and IAM.

use super::xml::Xml;
use crate::fault::Fault;

/// The content type of answers.
pub const CONTENT_TYPE: &str = "text/xml";

/// STS's namespace.
pub const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The answer to `action`: what `result` writes, in its envelope.
#[must_use]
pub fn success_envelope(
    action: &str,
    namespace: &str,
    request_id: &str,
    result: impl FnOnce(&mut Xml),
) -> String {
    let mut xml = Xml::new();
    xml.element_in(&format!("{action}Response"), namespace, |xml| {
        xml.element(&format!("{action}Result"), result);
        xml.element("ResponseMetadata", |xml| xml.leaf("RequestId", request_id));
    });
    xml.finish()
}

/// The answer that tells `fault`.
#[must_use]
pub fn error_envelope(fault: &Fault, namespace: &str, request_id: &str) -> String {
    let mut xml = Xml::new();
    xml.element_in("ErrorResponse", namespace, |xml| {
        xml.element("Error", |xml| {
            xml.leaf("Type", if fault.is_sender() { "Sender" } else { "Receiver" });
            xml.leaf("Code", fault.code());
            xml.leaf_opt("Message", fault.message());
        });
        xml.leaf("RequestId", request_id);
    });
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Protocol;
    use crate::sigv4::AuthFault;

    #[test]
    fn a_result_has_the_envelope_of_its_action() {
        let text = success_envelope("GetCallerIdentity", STS_NAMESPACE, "id-1", |xml| {
            xml.leaf("Account", "000000000000");
        });
        assert_eq!(
            text,
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <GetCallerIdentityResult><Account>000000000000</Account></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        );
    }

    #[test]
    fn a_fault_says_whose_it_is() {
        let fault = AuthFault::UnknownKey.fault(Protocol::Query);
        assert_eq!(
            error_envelope(&fault, STS_NAMESPACE, "id-1"),
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
             <Type>Sender</Type><Code>InvalidClientTokenId</Code>\
             <Message>The security token included in the request is invalid.</Message></Error>\
             <RequestId>id-1</RequestId></ErrorResponse>"
        );
        let fault = Fault::new(Protocol::Query, "InternalFailure");
        assert!(error_envelope(&fault, STS_NAMESPACE, "").contains("<Type>Receiver</Type>"));
    }
}

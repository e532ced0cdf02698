//! Answers: a status, a type and a body, made into HTTP in one place.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use sealvol_aws_wire::fault::{Fault, Protocol};
use sealvol_aws_wire::{json, query};
use zeroize::Zeroizing;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// An answer before it is HTTP.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    /// The connection ends with this answer.
    closes: bool,
}

impl Answer {
    /// Public text.
    pub(crate) fn text(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into(), closes: false }
    }

    /// A body that may hold a plaintext. It is wiped once it was sent.
    pub(crate) fn secret(content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Self {
        Self::text(content_type, Bytes::from_owner(body))
    }

    /// A fault as `protocol` tells it.
    pub(crate) fn fault(protocol: Protocol, fault: &Fault, request_id: &str) -> Self {
        let answer = match protocol {
            Protocol::Json => Self::text(json::CONTENT_TYPE, json::error_body(fault)),
            Protocol::Query | Protocol::Ec2 => {
                let body = query::error_envelope(fault, query::STS_NAMESPACE, request_id);
                Self::text(query::CONTENT_TYPE, body)
            }
        };
        Self { status: fault.status(), ..answer }
    }

    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    pub(crate) fn into_http(self, request_id: &str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        // A UUID fits a header.
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

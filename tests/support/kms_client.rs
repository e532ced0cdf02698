//! A KMS client that shows everything and retries nothing: one signed HTTP/1.1 request at a time on a
//! connection that is kept. An SDK hides what a test of crashes must see: whether an answer came.

use std::io;

use http::{HeaderMap, HeaderName, HeaderValue};
use sealvol_aws_wire::sigv4::{Credentials, RequestHead, Signer, SigningKeyCache, payload_sha256};
use sealvol_core::{Clock as _, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::daemon::AccessKey;

/// An answer of the KMS.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its id, as the audit has it.
    pub request_id: String,
    /// Its body; null if there is none.
    pub body: Value,
}

impl Answer {
    /// Whether what was asked was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// The exception's name; empty when it is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body.get("__type").and_then(Value::as_str).unwrap_or_default()
    }

    /// A member that is a text.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let found = self.body.get(name).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// One caller with one connection.
#[derive(Debug)]
pub struct KmsClient {
    key: AccessKey,
    signing_keys: SigningKeyCache,
    connection: Option<(String, BufReader<TcpStream>)>,
}

impl KmsClient {
    /// A client that signs with `key`.
    #[must_use]
    pub fn new(key: AccessKey) -> Self {
        Self { key, signing_keys: SigningKeyCache::new(4), connection: None }
    }

    /// Sends one request to `address` and waits for its answer.
    ///
    /// # Errors
    /// No answer, or not all of it: the request may have been carried out or not.
    pub async fn call(
        &mut self,
        address: &str,
        operation: &str,
        request: &Value,
    ) -> io::Result<Answer> {
        let body = request.to_string();
        let head = self.head(address, operation, body.as_bytes());
        // It comes back when the answer has been read: what was given up is not used again.
        let mut connection = match self.connection.take() {
            Some((to, connection)) if to == address => connection,
            _ => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let message = [head.as_bytes(), body.as_bytes()].concat();
        connection.get_mut().write_all(&message).await?;
        let (answer, stays) = read_answer(&mut connection).await?;
        if stays {
            self.connection = Some((address.to_owned(), connection));
        }
        Ok(answer)
    }

    fn head(&self, address: &str, operation: &str, body: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
        headers.insert("host", value(address));
        headers.insert("content-type", value("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", value(&format!("TrentService.{operation}")));
        let signer = Signer {
            credentials: Credentials {
                access_key_id: &self.key.id,
                secret_access_key: &self.key.secret,
                session_token: None,
            },
            region: "us-east-1",
            service: "kms",
            keys: &self.signing_keys,
        };
        let head = RequestHead {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            authority: None,
        };
        let now = SystemClock::new().now();
        let signed = signer.sign(&head, &payload_sha256(body), now).expect("it can be signed");
        headers.extend(signed);
        let mut text = String::from("POST / HTTP/1.1\r\n");
        let line = |name: &HeaderName, value: &HeaderValue| {
            format!("{name}: {}\r\n", value.to_str().expect("ASCII"))
        };
        for (name, value) in &headers {
            text.push_str(&line(name, value));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        text
    }
}

/// An answer, and whether the connection stays.
async fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut line = String::new();
    let mut next = async |line: &mut String| {
        line.clear();
        match connection.read_line(line).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(()),
        }
    };
    next(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    let (mut len, mut request_id, mut stays) = (0, String::new(), true);
    loop {
        next(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.parse().map_err(|_| bad("no length"))?,
            "x-amzn-requestid" => request_id = value.to_owned(),
            "connection" => stays = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = vec![0; len];
    connection.read_exact(&mut body).await?;
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).map_err(|_| bad("no JSON"))?,
    };
    Ok((Answer { status, request_id, body }, stays))
}

//! What stands between a client and a KMS and fails on purpose: an HTTP/1.1 proxy on threads that
//! passes requests on byte for byte (signatures stay good), or does to each what a script says.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketType, sockopt};

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives: the connection is reset while it is being sent.
    ResetBefore,
    /// It is carried out, and the connection is reset instead of an answer.
    ResetAfter,
    /// It is carried out, and nothing comes back until the client gives up.
    Silence,
    /// It is carried out, and half of the answer's body comes back.
    Truncated,
    /// It never arrives, and somebody else answers.
    Answer {
        /// Status.
        status: u16,
        /// More headers, as lines.
        headers: String,
        /// Body.
        body: String,
    },
}

impl Fault {
    /// An answer as AWS gives it.
    #[must_use]
    pub fn exception(status: u16, name: &str, message: &str) -> Self {
        let body = format!("{{\"__type\":\"{name}\",\"message\":\"{message}\"}}");
        Self::body(status, "application/x-amz-json-1.1", &body)
    }

    /// An answer with any body.
    #[must_use]
    pub fn body(status: u16, content_type: &str, body: &str) -> Self {
        let headers = format!("content-type: {content_type}\r\n");
        Self::Answer { status, headers, body: body.to_owned() }
    }
}

#[derive(Debug)]
struct Script {
    upstream: String,
    once: VecDeque<Fault>,
    always: Option<Fault>,
    requests: u64,
    forwarded: u64,
}

/// A proxy. Its port stays its own until it is dropped.
#[derive(Debug)]
pub struct KmsProxy {
    socket: OwnedFd,
    address: String,
    script: Arc<Mutex<Script>>,
}

impl KmsProxy {
    /// One that refuses connections: its port is taken, and nobody listens.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn refusing(upstream: &str) -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&socket, &any).expect("a free port");
        let bound = rustix::net::getsockname(&socket).expect("a bound socket");
        let bound = std::net::SocketAddr::try_from(bound).expect("an address of IPv4");
        let script = Script {
            upstream: upstream.to_owned(),
            once: VecDeque::new(),
            always: None,
            requests: 0,
            forwarded: 0,
        };
        Self { socket, address: bound.to_string(), script: Arc::new(Mutex::new(script)) }
    }

    /// One that passes everything on.
    ///
    /// # Panics
    /// As [`refusing`](Self::refusing).
    #[must_use]
    pub fn start(upstream: &str) -> Self {
        let proxy = Self::refusing(upstream);
        proxy.listen();
        proxy
    }

    /// Ends refusing.
    ///
    /// # Panics
    /// When the socket or a thread cannot be had.
    pub fn listen(&self) {
        rustix::net::listen(&self.socket, 64).expect("the socket can listen");
        let listener = TcpListener::from(self.socket.try_clone().expect("another descriptor"));
        let script = Arc::clone(&self.script);
        let work = move || {
            while let Ok((client, _)) = listener.accept() {
                let script = Arc::clone(&script);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serve(client, &script)));
            }
        };
        std::thread::Builder::new().name("kms-proxy".into()).spawn(work).expect("a thread");
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the KMS is elsewhere.
    pub fn set_upstream(&self, upstream: &str) {
        upstream.clone_into(&mut self.script.lock().upstream);
    }

    /// From now on: `fault` for the next `times` requests, then nothing.
    pub fn fail_times(&self, fault: &Fault, times: usize) {
        let mut script = self.script.lock();
        script.always = None;
        script.once = std::iter::repeat_n(fault.clone(), times).collect();
    }

    /// From now on: `fault` for every request.
    pub fn fail_always(&self, fault: &Fault) {
        self.script.lock().always = Some(fault.clone());
    }

    /// From now on: everything is passed on.
    pub fn heal(&self) {
        self.fail_times(&Fault::Silence, 0);
    }

    /// Requests that came, and those of them that the KMS got.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let script = self.script.lock();
        (script.requests, script.forwarded)
    }
}

impl Drop for KmsProxy {
    fn drop(&mut self) {
        // Wakes the accepting thread, which ends; one that never listened has none.
        let _not_listening = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// Serves a connection until it ends or a fault ends it.
fn serve(mut client: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    loop {
        let mut first = [0];
        if client.read(&mut first)? == 0 {
            return Ok(());
        }
        let (fault, upstream) = {
            let mut script = script.lock();
            script.requests += 1;
            let fault = script.once.pop_front().or_else(|| script.always.clone());
            (fault, script.upstream.clone())
        };
        if fault == Some(Fault::ResetBefore) {
            return reset(client);
        }
        let request = read_message(&mut client, first.to_vec())?;
        if let Some(Fault::Answer { status, headers, body }) = fault {
            let len = body.len();
            let head = format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {len}\r\n\r\n");
            client.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
            continue;
        }
        let mut kms = match TcpStream::connect(&upstream) {
            Ok(kms) => kms,
            Err(_) => return reset(client),
        };
        script.lock().forwarded += 1;
        kms.write_all(&request)?;
        let answer = match read_message(&mut kms, Vec::new()) {
            Ok(answer) => answer,
            Err(_) => return reset(client),
        };
        match fault {
            Some(Fault::ResetAfter) => return reset(client),
            Some(Fault::Silence) => {
                // Until the client hangs up.
                while client.read(&mut first)? != 0 {}
                return Ok(());
            }
            Some(Fault::Truncated) => {
                let body = end_of_head(&answer).unwrap_or(0);
                let half = body + (answer.len() - body) / 2;
                client.write_all(answer.get(..half).unwrap_or_default())?;
                return client.shutdown(Shutdown::Both);
            }
            _ => client.write_all(&answer)?,
        }
    }
}

/// Closes with a reset rather than in order.
fn reset(client: TcpStream) -> io::Result<()> {
    sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
    drop(client);
    Ok(())
}

fn end_of_head(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// A message whose length is told, which is every one of a KMS and its clients.
fn read_message(from: &mut TcpStream, mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(body) = end_of_head(&message) {
            let head = String::from_utf8_lossy(message.get(..body).unwrap_or_default());
            let head = head.to_ascii_lowercase();
            let len = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let len = len.and_then(|len| len.trim().parse::<usize>().ok()).unwrap_or(0);
            if message.len() >= body + len {
                return Ok(message);
            }
        }
        match from.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => message.extend_from_slice(buffer.get(..len).unwrap_or_default()),
        }
    }
}

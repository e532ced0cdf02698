//! One connection from accept to close: the handshake under its deadline, then transmission.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::link::Link;
use super::settings::{PIECE_LEN, RECEIVE_SLACK};
use super::socket::Wait;
use super::transmission::Transmission;
use crate::proto::{ExportDirectory, ExportInfo, Handshake, Inbox, Progress, Session};

/// Serves a connection; its end, whatever the reason, concerns no other connection.
pub(super) fn serve(shared: &Shared, link: &Arc<Link>) {
    let (session, inbox) = match negotiate(shared, link) {
        Ok(Some(ready)) => ready,
        Ok(None) => {
            shared.count_failed_handshake();
            return;
        }
        Err(error) => {
            shared.count_failed_handshake();
            tracing::debug!(connection = link.id, %error, "NBD handshake failed");
            return;
        }
    };
    let name = session.export.name.clone();
    let Some(export) = shared.exports.entry(&name) else {
        tracing::info!(connection = link.id, export = %name, "NBD export was removed meanwhile");
        return;
    };
    tracing::info!(
        connection = link.id,
        export = %name,
        structured = session.structured,
        "NBD connection open"
    );
    let result = Transmission::new(shared, link, export, session, inbox).run();
    match result {
        Ok(()) => tracing::info!(connection = link.id, export = %name, "NBD connection closed"),
        Err(error) => {
            tracing::warn!(connection = link.id, export = %name, %error, "NBD connection lost");
        }
    }
}

/// Runs the handshake; `None` when the client ends it, or must not go on.
fn negotiate(shared: &Shared, link: &Arc<Link>) -> io::Result<Option<(Session, Inbox)>> {
    let settings = &shared.settings;
    let deadline = shared.clock.monotonic() + settings.handshake_timeout;
    let socket = &link.socket;
    socket.set_send_timeout(Some(settings.handshake_timeout.max(SHORTEST_TIMEOUT)))?;
    socket.send_all(&Handshake::greeting())?;

    let mut handshake = Handshake::new(settings.handshake);
    let mut inbox = Inbox::new(PIECE_LEN.max(handshake.max_message_len()), RECEIVE_SLACK);
    let mut out = Vec::new();
    loop {
        let (consumed, progress) = handshake.advance(inbox.bytes(), &View(shared), &mut out);
        inbox.consume(consumed);
        socket.send_all(&out)?;
        out.clear();
        match progress {
            Progress::Continue => {}
            Progress::NeedMore => {
                // The time left for the whole handshake, so that one byte at a time buys nothing.
                let left = deadline.saturating_sub(shared.clock.monotonic());
                if left < SHORTEST_TIMEOUT {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                socket.set_receive_timeout(Some(left))?;
                match socket.receive(inbox.spare(), Wait::Yes)? {
                    None => return Err(io::ErrorKind::TimedOut.into()),
                    Some(0) => return Ok(None),
                    Some(len) => inbox.filled(len),
                }
            }
            Progress::Ready(session) => {
                socket.set_receive_timeout(None)?;
                socket.set_send_timeout(Some(settings.send_timeout.max(SHORTEST_TIMEOUT)))?;
                return Ok(Some((*session, inbox)));
            }
            Progress::Closed(close) => {
                tracing::debug!(connection = link.id, reason = %close, "NBD handshake over");
                return Ok(None);
            }
        }
    }
}

/// A zero time-out would mean none to the kernel.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// The exports as this client may see them: all, until clients have identities.
struct View<'a>(&'a Shared);

impl ExportDirectory for View<'_> {
    fn list(&self) -> Vec<(String, String)> {
        self.0.exports.list()
    }

    fn find(&self, name: &str) -> Option<ExportInfo> {
        self.0.exports.find(name)
    }

    fn is_shutting_down(&self) -> bool {
        self.0.is_stopping()
    }
}

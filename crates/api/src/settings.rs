//! Limits of the server: plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Connections at a time. More wait until one ends.
    pub connections_max: usize,
    /// Time from a request's first byte to the end of its headers, milliseconds.
    pub header_timeout_ms: u64,
    /// Time that a connection may be without a request, milliseconds.
    pub idle_timeout_ms: u64,
    /// Time from the end of a request's headers to its answer, milliseconds; also how long a client
    /// may not read that answer.
    pub request_timeout_ms: u64,
    /// Length of a request's line and headers, bytes; at least 8192.
    pub header_bytes_max: usize,
    /// Length of a request's body, bytes.
    pub body_bytes_max: usize,
    /// Time that running requests have once the server is to end, milliseconds.
    pub shutdown_timeout_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 512,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            request_timeout_ms: 30_000,
            header_bytes_max: 64 << 10,
            body_bytes_max: 1 << 20,
            shutdown_timeout_ms: 10_000,
        }
    }
}

impl ServerSettings {
    /// Why these settings cannot be served with, if they cannot.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.connections_max == 0 {
            return Err("connections_max must be at least 1");
        }
        if !(8192..=1 << 20).contains(&self.header_bytes_max) {
            return Err("header_bytes_max must be from 8192 to 1048576");
        }
        if !(1024..=1 << 30).contains(&self.body_bytes_max) {
            return Err("body_bytes_max must be from 1024 to 1073741824");
        }
        let times = [self.header_timeout_ms, self.idle_timeout_ms, self.request_timeout_ms];
        if !times.iter().all(|ms| (1..=DAY_MS).contains(ms)) || self.shutdown_timeout_ms > DAY_MS {
            return Err("times must be from 1 ms to a day");
        }
        Ok(())
    }

    pub(crate) const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) const fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) const fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_limits_are_named() {
        let good = ServerSettings::default();
        assert_eq!(good.check(), Ok(()));
        for bad in [
            ServerSettings { connections_max: 0, ..good },
            ServerSettings { header_bytes_max: 8191, ..good },
            ServerSettings { body_bytes_max: 0, ..good },
            ServerSettings { idle_timeout_ms: 0, ..good },
            ServerSettings { request_timeout_ms: u64::MAX, ..good },
            ServerSettings { shutdown_timeout_ms: u64::MAX, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}

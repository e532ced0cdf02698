//! The record of every call that the command makes to the embedded KMS, in DATA/audit.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use sealvol::Clock;
use sealvol::kms::audit::{AuditEvent, AuditSink, JsonlAudit, JsonlSettings};

use crate::exit::{self, Fail};

/// The sink of a KMS that is being opened: it has no directory until the KMS is open, so that
/// a KMS that is not there or does not open leaves nothing behind. Opening makes no call.
pub(crate) struct Audit {
    dir: PathBuf,
    sink: OnceLock<JsonlAudit>,
}

impl Audit {
    pub(crate) fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, sink: OnceLock::new() })
    }

    /// To be called before the first call to the KMS: no call goes unrecorded.
    pub(crate) fn open(&self, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
        let sink = JsonlAudit::open(&self.dir, JsonlSettings::default(), clock).map_err(|e| {
            let code = match e.kind() {
                std::io::ErrorKind::PermissionDenied => exit::DENIED,
                std::io::ErrorKind::StorageFull => exit::NO_SPACE,
                _ => exit::GENERAL,
            };
            let text = format!(
                "the record of calls to the KMS in {} cannot be written: {e}; make that directory \
                 writable, or name another state directory with --data",
                self.dir.display()
            );
            Fail::error(code, text)
        })?;
        // It is opened once; a second sink would close itself.
        let _first = self.sink.set(sink).is_ok();
        Ok(())
    }
}

impl AuditSink for Audit {
    fn record(&self, event: AuditEvent) {
        if let Some(sink) = self.sink.get() {
            sink.record(event);
        }
    }
}

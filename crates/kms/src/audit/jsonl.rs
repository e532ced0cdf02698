//! Records in files: one JSON object a line, in `DIR/*.jsonl`. Names sort by time; a file that has
//! grown past its limit is followed by the next.
//!
//! Several processes may write to one directory: each write appends whole lines, and the kernel
//! orders them. A line that a crash cut short is ended by the next process that opens the file, so
//! that it spoils no other.
//!
//! # Durability
//! Records are handed to the kernel within [`JsonlSettings::delay`] (one write for all that came
//! together), and on drop. They are not synced: they survive the process, not the power.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sealvol_core::Clock;

use super::{AuditEvent, AuditSink};
use crate::time::sortable;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonlSettings {
    /// Length at which a file is followed by the next, bytes.
    pub file_len_max: u64,
    /// How long records wait for others to be written with.
    pub delay: Duration,
    /// Bytes of records that may wait, about. When they are as many, calls wait for the disk.
    pub queue_bytes_max: usize,
}

impl Default for JsonlSettings {
    fn default() -> Self {
        Self {
            file_len_max: 64 * 1024 * 1024,
            delay: Duration::from_millis(200),
            queue_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Writes records to files, from a thread of its own.
#[derive(Debug)]
pub struct JsonlAudit {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when the queue has become worth writing, or is to be closed.
    filled: Condvar,
    /// Told when it was written.
    emptied: Condvar,
    settings: JsonlSettings,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<AuditEvent>,
    /// About how long they are as text.
    bytes: usize,
    /// Batches that were taken and are not written yet.
    writing: bool,
    flush: bool,
    closed: bool,
}

impl JsonlAudit {
    /// Writes to `dir`, which is made if it is not there (mode 0700, files 0600).
    ///
    /// # Errors
    /// When the directory or its last file cannot be made or opened.
    pub fn open(dir: &Path, settings: JsonlSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let files = Files::open(dir, settings.file_len_max, clock)?;
        let shared = Arc::new(Shared::new(settings));
        let of_thread = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || of_thread.write_all(files))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Waits until everything that was recorded is in its file.
    pub fn flush(&self) {
        let mut queue = self.shared.queue.lock();
        while !queue.events.is_empty() || queue.writing {
            queue.flush = true;
            self.shared.filled.notify_one();
            self.shared.emptied.wait(&mut queue);
        }
    }

    /// Records that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl AuditSink for JsonlAudit {
    fn record(&self, event: AuditEvent) {
        let len = event.approximate_len();
        let mut queue = self.shared.queue.lock();
        while queue.bytes > 0 && queue.bytes + len > self.shared.settings.queue_bytes_max {
            queue.flush = true;
            self.shared.filled.notify_one();
            self.shared.emptied.wait(&mut queue);
        }
        queue.bytes += len;
        queue.events.push(event);
        // The first of a batch starts its delay; the others come along.
        if queue.events.len() == 1 {
            self.shared.filled.notify_one();
        }
    }
}

impl Drop for JsonlAudit {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the audit writer panicked");
        }
    }
}

impl Shared {
    fn new(settings: JsonlSettings) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            settings,
            lost: AtomicU64::new(0),
        }
    }

    fn write_all(&self, mut files: Files) {
        let mut lines = Vec::new();
        loop {
            let batch = {
                let mut queue = self.queue.lock();
                while queue.events.is_empty() && !queue.closed {
                    self.filled.wait(&mut queue);
                }
                if queue.events.is_empty() {
                    return;
                }
                if !queue.closed && !queue.flush {
                    self.filled.wait_while_for(
                        &mut queue,
                        |queue| !queue.closed && !queue.flush,
                        self.settings.delay,
                    );
                }
                queue.flush = false;
                queue.writing = true;
                queue.bytes = 0;
                std::mem::take(&mut queue.events)
            };
            lines.clear();
            for event in &batch {
                let len = lines.len();
                // Infallible for this type; a record that is not whole is none.
                if serde_json::to_writer(&mut lines, event).is_err() {
                    lines.truncate(len);
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                lines.push(b'\n');
            }
            if let Err(error) = files.append(&lines) {
                let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                self.lost.fetch_add(count, Ordering::Relaxed);
                tracing::error!(
                    path = %files.dir.display(), %error, records = count,
                    "audit records were lost: they could not be written"
                );
            }
            self.queue.lock().writing = false;
            self.emptied.notify_all();
        }
    }
}

/// The files of a directory: the last one is written.
struct Files {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    len_max: u64,
    file: File,
}

impl Files {
    fn open(dir: &Path, len_max: u64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let last = std::fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
            .max();
        let path = match last {
            Some(path) if std::fs::metadata(&path)?.len() < len_max => path,
            _ => new_path(dir, &*clock),
        };
        let file = open_at_end(&path)?;
        Ok(Self { dir: dir.to_owned(), clock, len_max, file })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.len() >= self.len_max {
            self.file = open_at_end(&new_path(&self.dir, &*self.clock))?;
        }
        self.file.write_all(lines)
    }
}

fn new_path(dir: &Path, clock: &dyn Clock) -> PathBuf {
    dir.join(format!("{}.jsonl", sortable(clock.now())))
}

/// Opens a file for appending, and ends the line that a crash may have left open.
fn open_at_end(path: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use sealvol_core::{SystemClock, SystemEntropy};
    use serde_json::Value;

    use super::*;
    use crate::audit::service_event;
    use crate::ids::KeyId;
    use crate::kms::Kms;
    use crate::settings::KmsSettings;
    use crate::trail::Used;

    fn event(number: u128) -> AuditEvent {
        let kms = Kms::in_memory(
            KmsSettings::default(),
            Arc::new(SystemClock::new()),
            Arc::new(SystemEntropy),
        )
        .unwrap();
        let id = KeyId::from_bytes(number.to_be_bytes());
        let used = Used { id, arn: format!("arn:{number}"), account: "000000000000".into() };
        service_event(&kms, "RotateKey", used)
    }

    /// Time that goes on with each look, so that names of files differ.
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> sealvol_core::UnixMillis {
            sealvol_core::UnixMillis(1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(Ticking(AtomicU64::new(0)))
    }

    /// What the files hold in the order of their names; a line that is no record is `Err`.
    fn records(dir: &Path) -> Vec<Result<String, String>> {
        files(dir)
            .iter()
            .flat_map(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                let lines = text.lines().map(|line| match serde_json::from_str::<Value>(line) {
                    Ok(record) => Ok(record["resources"][0]["ARN"].as_str().unwrap().to_owned()),
                    Err(_) => Err(line.to_owned()),
                });
                lines.collect::<Vec<_>>()
            })
            .collect()
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn arns(numbers: std::ops::Range<u128>) -> Vec<Result<String, String>> {
        numbers.map(|number| Ok(format!("arn:{number}"))).collect()
    }

    #[test]
    fn files_are_followed_by_the_next_and_sort_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let settings = JsonlSettings { file_len_max: 2000, ..JsonlSettings::default() };
        let audit = JsonlAudit::open(dir.path(), settings, clock()).unwrap();
        for number in 0..10 {
            audit.record(event(number));
            // Each in a write of its own.
            audit.flush();
        }
        assert_eq!(records(dir.path()), arns(0..10));
        assert!(files(dir.path()).len() > 2, "{:?}", files(dir.path()));
        // Reopened, it goes on in the last file while that has room.
        drop(audit);
        let before = files(dir.path()).len();
        let larger = JsonlSettings { file_len_max: 1 << 20, ..settings };
        let audit = JsonlAudit::open(dir.path(), larger, clock()).unwrap();
        (10..20).for_each(|number| audit.record(event(number)));
        // Dropping writes what waits.
        drop(audit);
        assert_eq!(records(dir.path()), arns(0..20));
        assert_eq!(files(dir.path()).len(), before);
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let open = || JsonlAudit::open(dir.path(), JsonlSettings::default(), clock()).unwrap();
        let audit = open();
        audit.record(event(0));
        drop(audit);
        let path = files(dir.path()).remove(0);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"eventVersion\":").unwrap();
        let audit = open();
        audit.record(event(1));
        drop(audit);
        let torn = Err("{\"eventVersion\":".to_owned());
        assert_eq!(records(dir.path()), [Ok("arn:0".into()), torn, Ok("arn:1".into())]);
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        // Room for two records, and a delay that would never end: only a full queue writes.
        let settings = JsonlSettings {
            queue_bytes_max: 4096,
            delay: Duration::from_secs(3600),
            ..JsonlSettings::default()
        };
        let audit = JsonlAudit::open(dir.path(), settings, clock()).unwrap();
        (0..50).for_each(|number| audit.record(event(number)));
        assert!(audit.shared.queue.lock().bytes <= settings.queue_bytes_max);
        drop(audit);
        assert_eq!(records(dir.path()), arns(0..50));
    }

    /// A disk that takes nothing: the calls go on, and the loss is counted.
    #[test]
    fn a_failed_write_is_counted_as_lost() {
        let shared = Shared::new(JsonlSettings::default());
        let full = Files {
            dir: PathBuf::from("/dev"),
            clock: clock(),
            len_max: u64::MAX,
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
        };
        {
            let mut queue = shared.queue.lock();
            queue.events.extend([event(0), event(1)]);
            queue.closed = true;
        }
        shared.write_all(full);
        assert_eq!(shared.lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("deep/audit");
        drop(JsonlAudit::open(&dir, JsonlSettings::default(), clock()).unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&files(&dir)[0])), (0o700, 0o600));
    }
}

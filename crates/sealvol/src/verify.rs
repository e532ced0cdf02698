//! Checking a volume: everything that it refers to is read, and whatever is wrong is listed.

use std::path::Path;

use sealvol_core::BLOCK_LEN_U64;
use sealvol_engine::Problem;
use sealvol_envelope::KeyService;

use crate::error::{Error, Result};
use crate::info::VolumeInfo;
use crate::job::Job;
use crate::options::OpenOptions;
use crate::volume::Volume;

const OP: &str = "verify";

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Whether everything can be read and the log is whole.
    pub sound: bool,
    /// The volume.
    pub volume: VolumeInfo,
    /// Blocks that were read.
    pub blocks_checked: u64,
    /// Pages of the map and the segment table that were read.
    pub pages_checked: u64,
    /// Segment headers that were read.
    pub segments_checked: u64,
    /// How many things are wrong.
    pub problem_count: u64,
    /// The first thousand of them: what is affected, where it is in the file, what was found.
    pub problems: Vec<Problem>,
    /// Damage of the log: where, and what is missing.
    pub log: Option<String>,
    /// A superblock copy that is damaged or older than its twin, which is used instead; the next
    /// writable open repairs it. A crash may leave it so: it does not make a volume unsound.
    pub superblock: Option<String>,
    /// Whether the last close was in order.
    pub clean: bool,
    /// Groups that a writable open will replay.
    pub replayed_groups: u64,
    /// Groups of unflushed writes that a crash left incomplete: they are dropped, rightly.
    pub dropped_groups: u64,
}

/// Opens a volume read-only and checks all of it. The file is not changed.
///
/// # Errors
/// Whatever [`Volume::open`] refuses, damage that keeps the volume from opening included; `Retry`
/// when it was cancelled. Damage that is found later is no error: it is in the report.
pub async fn verify(
    path: impl AsRef<Path>,
    options: OpenOptions,
    keys: &dyn KeyService,
    job: Job<'_>,
) -> Result<VerifyReport> {
    let volume = Volume::open(path, options.read_only(true), keys).await?;
    volume.verify(job)
}

impl Volume {
    /// Reads and authenticates everything that the volume refers to. It should be open read-only,
    /// or have no writers.
    ///
    /// # Errors
    /// `Retry` when it was cancelled; otherwise only when the check itself cannot run.
    pub fn verify(&self, job: Job<'_>) -> Result<VerifyReport> {
        let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_LEN_U64);
        let total = self.details().size.0;
        let scan = self
            .engine()
            .verify(&mut |done, _| {
                job.report(bytes(done), Some(total));
                !job.is_cancelled()
            })
            .map_err(|source| Error::around(format!("{OP}: the check cannot run"), source))?;
        job.check(OP)?;
        job.report(total, Some(total));
        let opened = self.report();
        Ok(VerifyReport {
            sound: scan.is_sound() && opened.corruption.is_none(),
            volume: self.details().clone(),
            blocks_checked: scan.blocks_checked,
            pages_checked: scan.pages_checked,
            segments_checked: scan.segments_checked,
            problem_count: scan.problem_count,
            problems: scan.problems,
            log: opened.corruption.clone(),
            superblock: opened.superblock_repaired.clone(),
            clean: opened.clean,
            replayed_groups: opened.replayed_groups,
            dropped_groups: opened.dropped_groups,
        })
    }
}

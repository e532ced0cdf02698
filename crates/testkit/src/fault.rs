//! Faults on demand under the [`Storage`] trait: the n-th operation of a kind fails, once or from
//! then on. A fault test raises n until the workload completes without meeting its fault.

use std::fmt;
use std::io::IoSlice;

use parking_lot::Mutex;
use sealvol_core::{Error, ErrorKind, Result};
use sealvol_storage::Storage;

/// Which operations a [`FaultPlan`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Reads, those that must not wait included.
    Read,
    /// Writes.
    Write,
    /// Syncs.
    Sync,
    /// Allocations.
    Allocate,
    /// Punches.
    Punch,
    /// All of these.
    Any,
}

impl FaultKind {
    /// Every kind, for loops.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Sync, Self::Allocate, Self::Punch, Self::Any];
}

/// What happens instead of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultEffect {
    /// It fails with `EIO` and does nothing.
    Eio,
    /// It fails with `ENOSPC` and does nothing. A sync fails with [`ErrorKind::Io`], as a file does.
    Enospc,
    /// A write writes its first half, in whole sectors, and fails with `EIO`. Others just fail.
    ShortWrite,
}

/// One planned fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultPlan {
    /// Which operations count.
    pub kind: FaultKind,
    /// How many of them succeed first.
    pub after: u64,
    /// What happens then.
    pub effect: FaultEffect,
    /// Whether all later operations of the kind fail, too.
    pub sticky: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Each plan and how many operations of its kind it has seen.
    plans: Vec<(FaultPlan, u64)>,
    counts: [u64; FaultKind::ALL.len()],
    hits: u64,
}

/// Short writes end at a multiple of this.
const SECTOR_LEN: usize = 512;

type SyncFailure = Box<dyn Fn() + Send + Sync>;

/// A storage whose operations fail as planned.
pub struct FaultStorage<S> {
    inner: S,
    state: Mutex<State>,
    on_sync_failure: Option<SyncFailure>,
}

impl<S: fmt::Debug> fmt::Debug for FaultStorage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStorage")
            .field("inner", &self.inner)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> FaultStorage<S> {
    /// Wraps `inner`, without faults.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default(), on_sync_failure: None }
    }

    /// Adds a fault, which counts operations from now on.
    #[must_use]
    pub fn with_plan(self, plan: FaultPlan) -> Self {
        self.add_plan(plan);
        self
    }

    /// Runs `f` when a planned fault hits a sync, to take the unsynced writes away below (see
    /// [`SimStorage::lose_pending`](crate::SimStorage::lose_pending)).
    #[must_use]
    pub fn on_sync_failure(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_sync_failure = Some(Box::new(f));
        self
    }

    /// Adds a fault, which counts operations from now on.
    pub fn add_plan(&self, plan: FaultPlan) {
        self.state.lock().plans.push((plan, 0));
    }

    /// Removes all faults: the disk works again.
    pub fn clear_plans(&self) {
        self.state.lock().plans.clear();
    }

    /// How many operations of `kind` were tried.
    #[must_use]
    pub fn count(&self, kind: FaultKind) -> u64 {
        let state = self.state.lock();
        FaultKind::ALL.iter().zip(state.counts).filter(|(k, _)| **k == kind).map(|(_, n)| n).sum()
    }

    /// How many operations failed as planned: zero ends a loop over [`FaultPlan::after`].
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.state.lock().hits
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Counts an operation, and says how it fails, if it does.
    fn meet(&self, kind: FaultKind) -> Option<FaultEffect> {
        let mut state = self.state.lock();
        let State { plans, counts, hits } = &mut *state;
        for (counted, count) in FaultKind::ALL.iter().zip(counts) {
            if *counted == kind || *counted == FaultKind::Any {
                *count += 1;
            }
        }
        let mut effect = None;
        for (plan, seen) in plans {
            if plan.kind == kind || plan.kind == FaultKind::Any {
                let hit = *seen == plan.after || (plan.sticky && *seen > plan.after);
                *seen += 1;
                if hit && effect.is_none() {
                    effect = Some(plan.effect);
                }
            }
        }
        *hits += u64::from(effect.is_some());
        effect
    }

    fn check(&self, kind: FaultKind, op: &'static str) -> Result<()> {
        self.meet(kind).map_or(Ok(()), |effect| Err(fault(effect, op)))
    }
}

fn fault(effect: FaultEffect, op: &'static str) -> Error {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let code = match effect {
        FaultEffect::Enospc => ENOSPC,
        FaultEffect::Eio | FaultEffect::ShortWrite => EIO,
    };
    Error::io(op, format!("planned fault: {effect:?}"), std::io::Error::from_raw_os_error(code))
}

impl<S: Storage> Storage for FaultStorage<S> {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.check(FaultKind::Read, "read faulty disk")?;
        self.inner.read_at(offset, buf)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        self.check(FaultKind::Read, "read faulty disk")?;
        self.inner.read_at_nowait(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        match self.meet(FaultKind::Write) {
            None => self.inner.write_at(offset, data),
            Some(effect) => {
                if effect == FaultEffect::ShortWrite {
                    let bytes: Vec<u8> =
                        data.iter().flat_map(|slice| slice.iter().copied()).collect();
                    let half = bytes.len() / 2 / SECTOR_LEN * SECTOR_LEN;
                    let prefix = bytes.get(..half).unwrap_or_default();
                    self.inner.write_at(offset, &[IoSlice::new(prefix)])?;
                }
                Err(fault(effect, "write faulty disk"))
            }
        }
    }

    fn sync(&self) -> Result<()> {
        match self.meet(FaultKind::Sync) {
            None => self.inner.sync(),
            Some(effect) => {
                if let Some(f) = &self.on_sync_failure {
                    f();
                }
                let cause = fault(effect, "sync faulty disk");
                Err(Error::new(ErrorKind::Io, cause.op(), cause.context()).with_source(cause))
            }
        }
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        self.check(FaultKind::Allocate, "allocate faulty disk")?;
        self.inner.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.check(FaultKind::Punch, "punch faulty disk")?;
        self.inner.punch(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn prefetch(&self, offset: u64, len: u64) {
        self.inner.prefetch(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::{CrashMode, SimStorage, SyncLoss};

    fn plan(kind: FaultKind, after: u64, effect: FaultEffect, sticky: bool) -> FaultPlan {
        FaultPlan { kind, after, effect, sticky }
    }

    fn write(storage: &dyn Storage, offset: u64, data: &[u8]) -> Result<()> {
        storage.write_at(offset, &[IoSlice::new(data)])
    }

    #[test]
    fn conforms_without_faults() {
        sealvol_storage::conformance::run(|| Box::new(FaultStorage::new(SimStorage::new())));
    }

    #[test]
    fn the_nth_operation_fails_once_or_for_good() {
        for sticky in [false, true] {
            let storage = FaultStorage::new(SimStorage::new()).with_plan(plan(
                FaultKind::Write,
                2,
                FaultEffect::Enospc,
                sticky,
            ));
            let outcomes: Vec<Option<ErrorKind>> = (0..5_u8)
                .map(|n| {
                    storage.read_at(0, &mut []).unwrap();
                    write(&storage, 0, &[n]).err().map(|e| e.kind())
                })
                .collect();
            let full = Some(ErrorKind::NoSpace);
            let later = if sticky { full } else { None };
            assert_eq!(outcomes, [None, None, full, later, later]);
            assert_eq!(storage.hits(), if sticky { 3 } else { 1 });
            assert_eq!(storage.count(FaultKind::Write), 5);
            assert_eq!(storage.count(FaultKind::Any), 10);
            storage.clear_plans();
            write(&storage, 0, &[9]).unwrap();
        }
    }

    #[test]
    fn every_kind_can_fail() {
        let run = |storage: &dyn Storage| -> Result<()> {
            storage.allocate(0, 8192, true)?;
            write(storage, 0, &[1; 4096])?;
            storage.sync()?;
            storage.read_at(0, &mut [0; 512])?;
            storage.read_at_nowait(0, &mut [0; 512])?;
            storage.punch(4096, 4096)
        };
        for kind in FaultKind::ALL {
            let mut failures = 0;
            for after in 0.. {
                let storage = FaultStorage::new(SimStorage::new()).with_plan(plan(
                    kind,
                    after,
                    FaultEffect::Eio,
                    false,
                ));
                let outcome = run(&storage);
                assert_eq!(outcome.is_err(), storage.hits() > 0);
                if storage.hits() == 0 {
                    break;
                }
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Io);
                failures += 1;
            }
            let expected = match kind {
                FaultKind::Any => 6,
                FaultKind::Read => 2,
                _ => 1,
            };
            assert_eq!(failures, expected, "{kind:?}");
        }
    }

    #[test]
    fn a_short_write_leaves_a_prefix() {
        let storage = FaultStorage::new(SimStorage::from_bytes(&[1; 4096])).with_plan(plan(
            FaultKind::Write,
            0,
            FaultEffect::ShortWrite,
            false,
        ));
        let slices = [IoSlice::new(&[2; 1000]), IoSlice::new(&[2; 2000])];
        assert_eq!(storage.write_at(0, &slices).unwrap_err().kind(), ErrorKind::Io);
        let mut seen = [0; 4096];
        storage.read_at(0, &mut seen).unwrap();
        assert!(seen[..1024] == [2; 1024] && seen[1024..] == [1; 3072]);
    }

    #[test]
    fn a_failed_sync_can_take_the_writes_with_it() {
        let disk = Arc::new(SimStorage::from_bytes(&[1; 512]));
        let below = Arc::clone(&disk);
        let storage = FaultStorage::new(Arc::clone(&disk))
            .with_plan(plan(FaultKind::Sync, 0, FaultEffect::Enospc, false))
            .on_sync_failure(move || below.lose_pending(SyncLoss::All));
        write(&storage, 0, &[2; 512]).unwrap();
        // Out of space at a sync is no request to free some: what is durable is unknown.
        assert_eq!(storage.sync().unwrap_err().kind(), ErrorKind::Io);
        storage.sync().unwrap();
        let after = disk.crash_image(&mut StdRng::seed_from_u64(0), CrashMode::PowerLoss);
        let mut seen = [0; 512];
        after.read_at(0, &mut seen).unwrap();
        assert_eq!(seen, [1; 512]);
    }
}

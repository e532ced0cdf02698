//! Background work: the bounded tail, stamps, checkpoints, collection, and space kept ready. It runs
//! on one thread a volume, or step by step under a test's clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use sealvol_core::{Error, ErrorKind, Result};

use crate::checkpoint::Goal;
use crate::core::Core;

/// Longest time between two looks at what is due.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// When the time-driven tasks are due.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    sync_at: Option<Duration>,
    stamp_at: Option<Duration>,
}

impl Core {
    /// Does what is due and returns how long nothing else will be.
    pub(crate) fn maintain(&self, schedule: &mut Schedule) -> Result<Duration> {
        self.check_alive("maintain")?;
        let now = self.clock.monotonic();
        let mut wait = MAX_WAIT;

        let unsynced = self.log.unsynced.load(Ordering::Relaxed);
        let written = self.log.written.load(Ordering::Acquire);
        if self.log.durable.load(Ordering::Acquire) >= written {
            schedule.sync_at = None;
        } else {
            let interval = Duration::from_millis(self.settings.sync_interval_ms);
            let due = *schedule.sync_at.get_or_insert(now + interval);
            if now >= due || unsynced >= self.settings.unsynced.0 {
                self.sync_all()?;
                schedule.sync_at = None;
            } else {
                wait = wait.min(due - now);
            }
        }

        wait = wait.min(self.stamp_if_due(schedule, now)?);
        self.checkpoint_if_due()?;
        self.collect_if_due()?;
        while self.prewrite()? {
            if self.wake.0.lock().stop {
                break;
            }
        }
        Ok(wait)
    }

    /// A STAMP group, in a segment of another kind, makes flushes provable.
    fn stamp_if_due(&self, schedule: &mut Schedule, now: Duration) -> Result<Duration> {
        let change = self.log.last_change.load(Ordering::Acquire);
        let durable = self.log.durable.load(Ordering::Acquire);
        let proved = self.log.proved.load(Ordering::Acquire);
        if proved >= change.min(durable) {
            schedule.stamp_at = None;
            return Ok(MAX_WAIT);
        }
        let delay = Duration::from_millis(self.settings.stamp_delay_ms);
        match schedule.stamp_at {
            // Also under load: the groups that follow prove a flush too, but in the same segment.
            Some(due) => {
                if now < due {
                    return Ok(due - now);
                }
                let maintenance = self.maintenance.lock();
                let stamped = self.write_stamp();
                drop(maintenance);
                match stamped {
                    Ok(seq) => self.sync_to(seq)?,
                    // The flush stands; it is only not provable until there is space again.
                    Err(error) if error.kind() == ErrorKind::NoSpace => {}
                    Err(error) => return Err(error),
                }
                schedule.stamp_at = None;
                Ok(MAX_WAIT)
            }
            None => {
                schedule.stamp_at = Some(now + delay);
                Ok(delay)
            }
        }
    }

    fn checkpoint_if_due(&self) -> Result<()> {
        let mut maintenance = self.maintenance.lock();
        let log = self.log.bytes.load(Ordering::Relaxed) - maintenance.checkpoint_log_bytes;
        let limit = self.superblock_limit.load(Ordering::Relaxed) * self.geometry.segment_len();
        let most_log =
            self.settings.checkpoint_log.0.min((limit / 8).max(4 * self.geometry.segment_len()));
        let memory = usize::try_from(self.settings.delta_memory.0).unwrap_or(usize::MAX);
        let changed = !self.index.is_current_empty();
        let due = maintenance.pending.is_some()
            || maintenance.reap_waiting
            || self.index.current_memory() >= memory
            || (changed && log >= most_log);
        if !due {
            return Ok(());
        }
        match self.checkpoint(&mut maintenance, &[], Goal::Continue) {
            Ok(_) => Ok(()),
            // Kept frozen, to be tried again; users are told when they write.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn collect_if_due(&self) -> Result<()> {
        let margin = self.gc_low_margin();
        if self.available.load(Ordering::Acquire) >= self.reserve() + margin
            || self.load_free_segments(self.reserve() + 2 * margin)?
        {
            return Ok(());
        }
        // Up to twice the margin, so that collection comes in batches.
        for _ in 0..64 {
            let mut maintenance = self.maintenance.lock();
            if self.available.load(Ordering::Acquire) >= self.reserve() + 2 * margin {
                break;
            }
            match self.reclaim(&mut maintenance) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == ErrorKind::NoSpace => break,
                Err(error) => return Err(error),
            }
            if self.wake.0.lock().stop {
                break;
            }
        }
        Ok(())
    }

    /// Waits until a task is due, a writer asks, or the volume closes. `true`: stop.
    fn wait_for_work(&self, wait: Duration) -> bool {
        let (state, condvar) = &self.wake;
        let mut state = state.lock();
        if !state.requested && !state.stop {
            condvar.wait_for(&mut state, wait);
        }
        state.requested = false;
        state.stop
    }
}

/// Starts the maintenance thread of a volume.
pub(crate) fn spawn(core: &Arc<Core>) -> Result<JoinHandle<()>> {
    let core = Arc::clone(core);
    std::thread::Builder::new()
        .name("sealvol-maintain".into())
        .spawn(move || {
            let mut schedule = Schedule::default();
            let mut wait = Duration::ZERO;
            while !core.wait_for_work(wait) {
                match core.maintain(&mut schedule) {
                    Ok(next) => wait = next.max(Duration::from_millis(1)),
                    // Users are told when they write; space may come back.
                    Err(error) if error.kind() == ErrorKind::NoSpace => wait = MAX_WAIT,
                    Err(error) => {
                        // Fail-stop: users get the error at their next change.
                        core.poison(&error);
                        wait = MAX_WAIT;
                    }
                }
            }
        })
        .map_err(|e| Error::io("open volume", "the maintenance thread did not start", e))
}

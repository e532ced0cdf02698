//! [`Kms`]: the embedded KMS, shared by all handles of a process.
//!
//! Operations that change nothing run on the state in memory. Operations that change something
//! plan a [`Change`], make it durable, then apply it; the planning sees the latest state of all
//! processes and nobody else changes it meanwhile.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use sealvol_core::{Clock, Entropy, UnixMillis};
use sealvol_envelope::{Caller, KeyService, KmsError};

use crate::audit::{AuditSink, service_event};
use crate::authorize;
use crate::counters::{CounterSnapshot, Counters};
use crate::fault;
use crate::rates::Rates;
use crate::requester::{OpenDirectory, PrincipalDirectory, Requester};
use crate::secret::Secret;
use crate::session::Session;
use crate::settings::KmsSettings;
use crate::state::{Change, KeyStatus, Rotation, RotationKind, State};
use crate::store::{DirStore, Held, OpenError, Prober, RootKeySource, Stamp, StoreFault};
use crate::trail::Used;

/// What an embedder may put in the place of the defaults.
#[derive(Clone, Default)]
pub struct KmsParts {
    /// The principals that exist, with their policies; [`OpenDirectory`] unless given.
    pub directory: Option<Arc<dyn PrincipalDirectory>>,
    /// Where each call is recorded; nowhere unless given.
    pub audit: Option<Arc<dyn AuditSink>>,
}

impl fmt::Debug for KmsParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsParts")
            .field("directory", &self.directory.is_some())
            .field("audit", &self.audit.is_some())
            .finish()
    }
}

/// The embedded KMS.
///
/// # Durability
/// A change is on disk when its call returns (for a KMS that was opened in a directory). If a write
/// or sync fails, this and every later change through this `Kms` fails with `KMSInternalException`
/// and the KMS must be opened again; reading calls go on.
///
/// # Blocking
/// Changes block the calling thread for a sync of the disk. Reading calls read the file's length
/// and, only when another process changed the store, the change.
pub struct Kms {
    pub(crate) settings: KmsSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) directory: Arc<dyn PrincipalDirectory>,
    pub(crate) audit: Option<Arc<dyn AuditSink>>,
    pub(crate) counters: Counters,
    pub(crate) rates: Rates,
    live: RwLock<Live>,
    /// Held by whoever changes `live`.
    backing: Mutex<Backing>,
    prober: Option<Prober>,
    /// Set while this process, under the store's lock, appends: a stamp that differs from ours is
    /// then our own unacknowledged change, and memory is current.
    appending: AtomicBool,
}

struct Live {
    state: State,
    /// Of the file that `state` is the content of.
    stamp: Option<Stamp>,
}

enum Backing {
    Memory,
    Directory(Box<DirStore>),
}

/// What an operation that may change the state decided.
pub(crate) struct Planned<T> {
    /// `None` if nothing needs to change.
    pub(crate) change: Option<Change>,
    pub(crate) answer: T,
}

impl Kms {
    /// A KMS that forgets everything when it is dropped.
    ///
    /// # Errors
    /// When the entropy source fails, or a setting is impossible.
    pub fn in_memory(
        settings: KmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::in_memory_with(settings, clock, entropy, KmsParts::default())
    }

    /// [`in_memory`](Self::in_memory) with the embedder's own directory and audit.
    ///
    /// # Errors
    /// As there.
    pub fn in_memory_with(
        settings: KmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        parts: KmsParts,
    ) -> Result<Arc<Self>, OpenError> {
        check_settings(&settings)?;
        let mut token_secret = zeroize::Zeroizing::new([0; 32]);
        entropy.fill(token_secret.as_mut_slice()).map_err(OpenError::Entropy)?;
        let live = Live { state: State::new(Secret::take(&mut token_secret)), stamp: None };
        Ok(Self::assemble(settings, clock, entropy, parts, live, Backing::Memory))
    }

    /// Opens the KMS in `dir`, and makes one on first use. Several processes may have the same
    /// directory open; each sees the others' changes with its next call.
    ///
    /// # Errors
    /// [`OpenError`]: which of root key, passphrase, permissions or store is wrong, and what to do.
    pub fn open_dir(
        dir: &Path,
        root_key: &RootKeySource,
        settings: KmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_dir_with(dir, root_key, settings, clock, entropy, KmsParts::default())
    }

    /// [`open_dir`](Self::open_dir) with the embedder's own directory and audit.
    ///
    /// # Errors
    /// As there.
    pub fn open_dir_with(
        dir: &Path,
        root_key: &RootKeySource,
        settings: KmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        parts: KmsParts,
    ) -> Result<Arc<Self>, OpenError> {
        check_settings(&settings)?;
        let (store, state) = DirStore::open(dir, root_key, &settings, &*entropy)?;
        let live = Live { state, stamp: Some(store.stamp()) };
        let backing = Backing::Directory(Box::new(store));
        Ok(Self::assemble(settings, clock, entropy, parts, live, backing))
    }

    fn assemble(
        settings: KmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        parts: KmsParts,
        live: Live,
        backing: Backing,
    ) -> Arc<Self> {
        let prober = match &backing {
            Backing::Memory => None,
            Backing::Directory(store) => Some(store.prober()),
        };
        let directory = parts.directory.unwrap_or_else(|| Arc::new(OpenDirectory::new(&settings)));
        Arc::new(Self {
            rates: Rates::new(&settings.rates),
            settings,
            clock,
            entropy,
            directory,
            audit: parts.audit,
            counters: Counters::default(),
            live: RwLock::new(live),
            backing: Mutex::new(backing),
            prober,
            appending: AtomicBool::new(false),
        })
    }

    /// The KMS as `caller` sees it, for a volume's life.
    #[must_use]
    pub fn handle(self: &Arc<Self>, caller: Caller) -> Arc<dyn KeyService> {
        Arc::new(self.session_of(&caller))
    }

    /// All operations, for a caller that the directory knows.
    #[must_use]
    pub fn session_of(self: &Arc<Self>, caller: &Caller) -> Session {
        self.session(Requester::of_caller(caller, &*self.directory))
    }

    /// All operations, for a caller that was authenticated elsewhere.
    #[must_use]
    pub fn session(self: &Arc<Self>, requester: Requester) -> Session {
        Session { kms: Arc::clone(self), requester }
    }

    /// The account root, to whom IAM allows everything.
    #[must_use]
    pub fn root_caller(&self) -> Caller {
        Caller { principal: self.settings.root_principal(), via_service: None }
    }

    /// The policy of a key whose maker gives none: it delegates to the account's identity policies.
    #[must_use]
    pub fn default_key_policy(&self) -> String {
        authorize::default_policy(&self.settings.account)
    }

    /// What it was opened with.
    #[must_use]
    pub const fn settings(&self) -> &KmsSettings {
        &self.settings
    }

    /// Calls and errors so far.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        self.counters.snapshot()
    }

    /// Does what is due: deletes keys whose window is over, rotates those whose period is. Calls do
    /// so by themselves; a daemon calls it so that it also happens when nobody calls.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be made durable; it is tried again with the next call.
    pub fn settle(&self) -> Result<(), KmsError> {
        loop {
            let now = self.clock.now();
            if self.live.read().state.next_due().is_none_or(|(due, _)| due > now) {
                return Ok(());
            }
            let done = self.change(|state| self.plan_due(state, now))?;
            let (Some((name, key)), Some(sink)) = (done, &self.audit) else { continue };
            sink.record(service_event(self, name, key));
        }
    }

    /// [`settle`](Self::settle) before a call. A failure is not the call's: a key whose deletion is
    /// due is unusable either way, and one whose rotation is due has a material.
    pub(crate) fn settle_due(&self) {
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "a key's rotation or deletion is due and failed");
        }
    }

    fn plan_due(
        &self,
        state: &State,
        now: UnixMillis,
    ) -> Result<Planned<Option<(&'static str, Used)>>, KmsError> {
        let nothing = Planned { change: None, answer: None };
        let Some((_, id)) = state.next_due().filter(|(due, _)| *due <= now) else {
            return Ok(nothing);
        };
        let Some(record) = state.key(id).map(|key| &key.record) else { return Ok(nothing) };
        let used = Used {
            id,
            arn: self.settings.key_arn(&record.account, id),
            account: self.settings.shown_account(&record.account).to_owned(),
        };
        let (change, name) = match (record.status, record.rotation) {
            (KeyStatus::PendingDeletion { .. }, _) => (Change::KeyRemoved { key: id }, "DeleteKey"),
            (_, Some(rotation)) => {
                let material = self.rotated(RotationKind::Automatic, record)?;
                let rotation = Some(Rotation { since: now, ..rotation });
                (Change::MaterialAdded { key: id, material, rotation }, "RotateKey")
            }
            (_, None) => return Ok(nothing),
        };
        Ok(Planned { change: Some(change), answer: Some((name, used)) })
    }

    /// Seals the whole store anew under another root key: a fresh key file, or a passphrase. The
    /// old root key opens old copies of the directory and nothing else. Other processes follow a
    /// change of the key file; after a change of the passphrase they have to open it again.
    ///
    /// # Durability
    /// Crash-safe: at each moment the directory holds a store and the key that opens it.
    ///
    /// # Errors
    /// [`OpenError`]. A KMS in memory has no root key: nothing is done.
    pub fn rotate_root_key(&self, new: &RootKeySource) -> Result<(), OpenError> {
        let mut backing = self.backing.lock();
        let Backing::Directory(store) = &mut *backing else { return Ok(()) };
        let failed = |fault| OpenError::Fault(Box::new(fault));
        let held = store.lock().map_err(|e| failed(store_failed(e)))?;
        self.refresh(store, &held).map_err(failed)?;
        let rotated = {
            let live = self.live.read();
            store.rotate_root(&held, &*self.entropy, &live.state, new, self.settings.argon2)
        };
        self.live.write().stamp = Some(store.stamp());
        rotated
    }

    /// Runs `read` on the current state.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&State) -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        self.follow()?;
        read(&self.live.read().state)
    }

    /// Takes over what other processes changed since the last look.
    fn follow(&self) -> Result<(), KmsError> {
        let Some(prober) = &self.prober else { return Ok(()) };
        let stamp = prober.stamp().map_err(|e| store_failed(e.into()))?;
        // Memory is current if it is what the file holds, or if the difference is a change of our
        // own that is not acknowledged yet.
        if self.live.read().stamp == Some(stamp) || self.appending.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut backing = self.backing.lock();
        let Backing::Directory(store) = &mut *backing else { return Ok(()) };
        let held = store.lock().map_err(store_failed)?;
        self.refresh(store, &held)
    }

    fn refresh(&self, store: &mut DirStore, held: &Held) -> Result<(), KmsError> {
        let mut live = self.live.write();
        let Live { state, stamp } = &mut *live;
        let refreshed = store.refresh(held, state);
        *stamp = Some(store.stamp());
        refreshed.map_err(store_failed)
    }

    /// Plans a change on the current state, makes it durable and applies it.
    pub(crate) fn change<T>(
        &self,
        plan: impl FnOnce(&State) -> Result<Planned<T>, KmsError>,
    ) -> Result<T, KmsError> {
        let mut backing = self.backing.lock();
        match &mut *backing {
            Backing::Memory => {
                let mut live = self.live.write();
                let Planned { change, answer } = plan(&live.state)?;
                if let Some(change) = change {
                    live.state.apply(change).map_err(misfit)?;
                }
                Ok(answer)
            }
            Backing::Directory(store) => {
                store.takes_changes().map_err(store_failed)?;
                let held = store.lock().map_err(store_failed)?;
                self.refresh(store, &held)?;
                let live = self.live.read();
                let Planned { change, answer } = plan(&live.state)?;
                let Some(change) = change else { return Ok(answer) };
                // Checked before it is durable, so that no record is written that cannot be read.
                live.state.check(&change).map_err(misfit)?;
                drop(live);
                // What was deleted is not to stay in the journal.
                let erases = matches!(change, Change::KeyRemoved { .. });

                let appending = Appending::begin(&self.appending);
                store.append(&held, &*self.entropy, &change).map_err(store_failed)?;
                {
                    let mut live = self.live.write();
                    live.state.apply(change).map_err(misfit)?;
                    live.stamp = Some(store.stamp());
                }
                store.compact_if_large(&held, &*self.entropy, &self.live.read().state, erases);
                self.live.write().stamp = Some(store.stamp());
                // Before the lock is released: from then on a differing stamp is somebody else's.
                drop(appending);
                drop(held);
                Ok(answer)
            }
        }
    }
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kms")
            .field("account", &self.settings.account)
            .field("region", &self.settings.region)
            .finish_non_exhaustive()
    }
}

/// Keeps the flag set until it is dropped, on every way out.
struct Appending<'a>(&'a AtomicBool);

impl<'a> Appending<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn store_failed(fault: StoreFault) -> KmsError {
    fault::internal(fault.to_string()).with_source(fault)
}

/// A planned change did not fit the state that it was planned on: a bug.
fn misfit(misfit: impl std::error::Error + Send + Sync + 'static) -> KmsError {
    fault::internal("the change contradicts the state").with_source(misfit)
}

pub(crate) fn no_randomness(error: sealvol_core::Error) -> KmsError {
    fault::internal("no randomness").with_source(error)
}

fn check_settings(settings: &KmsSettings) -> Result<(), OpenError> {
    let digits = settings.account.bytes().all(|b| b.is_ascii_digit());
    if settings.account.len() != 12 || !digits {
        let text = format!("'{}' is not an account id of twelve digits", settings.account);
        return Err(OpenError::Setting(text));
    }
    let region = &settings.region;
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(OpenError::Setting(format!("'{region}' is not a region name")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sealvol_core::{SystemClock, SystemEntropy};

    use super::*;
    use crate::store::TestFault;

    fn open(dir: &Path, journal_len_min: u64) -> Arc<Kms> {
        let settings = KmsSettings { journal_len_min, ..KmsSettings::default() };
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
        Kms::open_dir(dir, &RootKeySource::KeyFile, settings, clock, entropy).unwrap()
    }

    fn fail_next(kms: &Kms, fault: Option<TestFault>) {
        let Backing::Directory(store) = &mut *kms.backing.lock() else { panic!("in memory") };
        store.fail_next = fault;
    }

    /// One failed write or sync ends all changes, not the reading, and loses nothing that was
    /// acknowledged; the failed change is not there either.
    #[test]
    fn a_failed_write_is_fail_stop() {
        for fault in [TestFault::Write, TestFault::Sync] {
            let dir = tempfile::tempdir().unwrap();
            let kms = open(dir.path(), u64::MAX);
            let me = kms.root_caller();
            kms.create_key(&me, "before").unwrap();
            fail_next(&kms, Some(fault));
            assert_eq!(kms.create_key(&me, "failed").unwrap_err().code(), "KMSInternalException");
            fail_next(&kms, None);
            let refused = kms.create_key(&me, "after").unwrap_err();
            assert!(refused.message().unwrap().contains("open it again"), "{refused}");
            assert_eq!(kms.list_keys(&me).unwrap().len(), 1);
            let again = open(dir.path(), u64::MAX);
            assert_eq!(again.list_keys(&me).unwrap().len(), 1);
            again.create_key(&me, "after").unwrap();
            // The failed handle follows what others do.
            assert_eq!(kms.list_keys(&me).unwrap().len(), 2);
        }
    }

    #[test]
    fn a_failed_compaction_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let kms = open(dir.path(), 0);
        let me = kms.root_caller();
        fail_next(&kms, Some(TestFault::Compaction));
        for _ in 0..5 {
            kms.create_key(&me, "").unwrap();
        }
        fail_next(&kms, None);
        for _ in 0..5 {
            kms.create_key(&me, "").unwrap();
        }
        assert_eq!(open(dir.path(), 0).list_keys(&me).unwrap().len(), 10);
    }
}

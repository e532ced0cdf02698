//! The set of exports: names to devices, changeable while clients are connected.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use sealvol_core::{BlockDevice, Error, ErrorKind, Result};

use crate::proto::wire::{MAX_STRING_LEN, MIN_BLOCK_LEN};
use crate::proto::{ExportDirectory, ExportInfo};

/// A device to serve under a name.
#[derive(Clone)]
pub struct Export {
    name: String,
    description: String,
    device: Arc<dyn BlockDevice>,
}

impl Export {
    /// `device` under `name`; the empty name is the default export, which clients get that do not
    /// name one.
    pub fn new(name: impl Into<String>, device: Arc<dyn BlockDevice>) -> Self {
        Self { name: name.into(), description: String::new(), device }
    }

    /// Adds a text that clients show to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The exports of a server. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Exports {
    entries: Arc<RwLock<BTreeMap<String, Arc<Entry>>>>,
}

impl Exports {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an export; clients can open it from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the name is taken; [`ErrorKind::Invalid`] for a name or
    /// description that NBD cannot carry, or a device size that is not a multiple of 512.
    pub fn add(&self, export: Export) -> Result<()> {
        let op = "add NBD export";
        let Export { name, description, device } = export;
        for text in [&name, &description] {
            if text.len() > MAX_STRING_LEN || text.contains('\0') {
                let context = "a name or description has NUL or more than 4096 bytes: shorten it";
                return Err(Error::new(ErrorKind::Invalid, op, context));
            }
        }
        if !device.info().len.0.is_multiple_of(u64::from(MIN_BLOCK_LEN)) {
            let context = format!("the size of '{name}' is not a multiple of 512");
            return Err(Error::new(ErrorKind::Invalid, op, context));
        }
        let mut entries = self.entries.write();
        if entries.contains_key(&name) {
            let context = format!("the name '{name}' is taken: remove that export first");
            return Err(Error::new(ErrorKind::Conflict, op, context));
        }
        let device = RwLock::new(Some(device));
        let entry = Entry { name: name.clone(), description, closing: false.into(), device };
        entries.insert(name, Arc::new(entry));
        Ok(())
    }

    /// Takes an export away: refuses new requests with `ESHUTDOWN`, waits until those that are
    /// running have ended, and returns the device, which no connection holds any more.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Retry`] when requests still run after `drain`. The
    /// export then stays closed to clients, and this can be called again.
    pub fn remove(&self, name: &str, drain: Duration) -> Result<Arc<dyn BlockDevice>> {
        let op = "remove NBD export";
        let missing =
            || Error::new(ErrorKind::NotFound, op, format!("there is no export '{name}'"));
        let entry = self.entries.read().get(name).cloned().ok_or_else(missing)?;
        entry.closing.store(true, Ordering::Release);
        let Some(mut device) = entry.device.try_write_for(drain) else {
            let context = format!("requests on '{name}' are still running after {drain:?}");
            return Err(Error::new(ErrorKind::Retry, op, context));
        };
        let device = device.take().ok_or_else(missing)?;
        let mut entries = self.entries.write();
        // A racing remove may have made room for a new export of the same name; leave that one.
        if entries.get(name).is_some_and(|current| Arc::ptr_eq(current, &entry)) {
            entries.remove(name);
        }
        Ok(device)
    }

    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.entries.read().keys().cloned().collect()
    }

    pub(super) fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        let entry = self.entries.read().get(name).cloned()?;
        (!entry.is_closing()).then_some(entry)
    }
}

impl ExportDirectory for Exports {
    fn list(&self) -> Vec<(String, String)> {
        let entries = self.entries.read();
        let open = entries.values().filter(|entry| !entry.is_closing());
        open.map(|entry| (entry.name.clone(), entry.description.clone())).collect()
    }

    fn find(&self, name: &str) -> Option<ExportInfo> {
        let entry = self.entry(name)?;
        let info = entry.enter()?.info();
        Some(ExportInfo {
            name: entry.name.clone(),
            description: entry.description.clone(),
            len: info.len.0,
            read_only: info.read_only,
            preferred_block_len: info.preferred_block_len,
        })
    }
}

/// One export as connections hold it: the device can be taken out from under them.
pub(super) struct Entry {
    name: String,
    description: String,
    closing: AtomicBool,
    device: RwLock<Option<Arc<dyn BlockDevice>>>,
}

impl Entry {
    /// Access to the device for one operation; `None` once the export is being removed. Do not
    /// hold it while waiting for a client, and do not enter twice: a removal waits for all holders.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        if self.is_closing() {
            return None;
        }
        let guard = self.device.read();
        RwLockReadGuard::try_map(guard, Option::as_deref).ok()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// A device that cannot be removed as long as this lives.
pub(super) type Entered<'a> = parking_lot::MappedRwLockReadGuard<'a, dyn BlockDevice>;

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

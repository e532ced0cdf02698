//! One key: its materials, its status, and when something happens to it by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sealvol_core::UnixMillis;
use sealvol_envelope::KeyState;
use sealvol_policy::Policy;
use serde::{Deserialize, Serialize};

use super::GrantTable;
use crate::ids::{KeyId, MaterialId};
use crate::model::{KeySpec, KeyUsage, Origin};
use crate::secret::Secret;

/// A key's state, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum KeyStatus {
    Enabled,
    Disabled,
    PendingDeletion { delete_at: UnixMillis },
    PendingImport,
}

impl From<KeyStatus> for KeyState {
    fn from(status: KeyStatus) -> Self {
        match status {
            KeyStatus::Enabled => Self::Enabled,
            KeyStatus::Disabled => Self::Disabled,
            KeyStatus::PendingDeletion { .. } => Self::PendingDeletion,
            KeyStatus::PendingImport => Self::PendingImport,
        }
    }
}

/// Why a material was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RotationKind {
    Automatic,
    OnDemand,
}

impl RotationKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "AUTOMATIC",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

/// One backing key. Rotation adds one; none is ever removed while the key exists, because
/// ciphertexts name the material that made them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Material {
    pub(crate) id: MaterialId,
    pub(crate) created: UnixMillis,
    /// From when on it makes the ciphertexts; until then its rotation is in progress. At once, if
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) effective: Option<UnixMillis>,
    /// `None` for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<RotationKind>,
    pub(crate) secret: Secret,
}

impl Material {
    pub(crate) fn effective(&self) -> UnixMillis {
        self.effective.unwrap_or(self.created)
    }
}

/// The schedule of automatic rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    pub(crate) period_days: u16,
    /// When it was enabled, or last rotated by itself.
    pub(crate) since: UnixMillis,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Rotation {
    pub(crate) fn next(&self) -> UnixMillis {
        UnixMillis(self.since.0.saturating_add(u64::from(self.period_days) * DAY_MS))
    }
}

/// A key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRecord {
    pub(crate) id: KeyId,
    /// The account that owns it; empty for the KMS's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    pub(crate) description: String,
    pub(crate) status: KeyStatus,
    pub(crate) created: UnixMillis,
    #[serde(default = "symmetric")]
    pub(crate) spec: KeySpec,
    #[serde(default = "encrypts")]
    pub(crate) usage: KeyUsage,
    #[serde(default = "own_material")]
    pub(crate) origin: Origin,
    /// Made and governed by a service, as `aws/ebs` is.
    #[serde(default)]
    pub(crate) service_managed: bool,
    /// The key policy's document; `None` for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<Rotation>,
    /// Read from stores of version 1, which had one material and named it.
    #[serde(default, skip_serializing)]
    pub(crate) current: Option<MaterialId>,
    /// Oldest first. Empty for keys that do no cryptography here.
    pub(crate) materials: Vec<Material>,
}

const fn symmetric() -> KeySpec {
    KeySpec::SymmetricDefault
}

const fn encrypts() -> KeyUsage {
    KeyUsage::EncryptDecrypt
}

const fn own_material() -> Origin {
    Origin::AwsKms
}

impl KeyRecord {
    pub(crate) fn material(&self, id: MaterialId) -> Option<&Material> {
        self.materials.iter().find(|material| material.id == id)
    }

    /// The material that makes ciphertexts now.
    pub(crate) fn current(&self, now: UnixMillis) -> Option<&Material> {
        let effective = self.materials.iter().rev().find(|m| m.effective() <= now);
        // A clock that went back must not leave a key without material.
        effective.or_else(|| self.materials.first())
    }

    /// The rotation that is in progress.
    pub(crate) fn in_progress(&self, now: UnixMillis) -> Option<&Material> {
        let is_new = |m: &&Material| m.rotation.is_some() && m.effective() > now;
        self.materials.last().filter(is_new)
    }

    pub(crate) fn on_demand_rotations(&self) -> usize {
        let on_demand = |material: &&Material| material.rotation == Some(RotationKind::OnDemand);
        self.materials.iter().filter(on_demand).count()
    }

    pub(super) fn is_consistent(&self) -> bool {
        let mut ids: Vec<_> = self.materials.iter().map(|material| material.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let in_order = self.materials.is_sorted_by_key(|material| material.created);
        let has_material = self.spec.is_symmetric() && self.status != KeyStatus::PendingImport;
        ids.len() == self.materials.len()
            && in_order
            && (!self.materials.is_empty() || !has_material || self.origin == Origin::External)
            && self.current.is_none_or(|current| self.material(current).is_some())
    }

    /// When something is to happen to it.
    fn due(&self) -> Option<UnixMillis> {
        match self.status {
            KeyStatus::PendingDeletion { delete_at } => Some(delete_at),
            // Disabled keys do not rotate; one that is overdue does when it is enabled.
            KeyStatus::Enabled => self.rotation.map(|rotation| rotation.next()),
            KeyStatus::Disabled | KeyStatus::PendingImport => None,
        }
    }
}

/// A key with its grants.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) record: KeyRecord,
    pub(crate) grants: GrantTable,
    /// The parsed policy, made when it is first asked for.
    policy: OnceLock<Option<Arc<Policy>>>,
    /// As it is filed in the state's index.
    pub(super) due: Option<UnixMillis>,
}

impl Key {
    pub(super) fn new(record: KeyRecord) -> Self {
        let due = record.due();
        Self { record, grants: GrantTable::default(), policy: OnceLock::new(), due }
    }

    /// A key that is being made, without material, for deciding about it.
    pub(crate) fn draft(record: &KeyRecord) -> Self {
        Self::new(KeyRecord {
            id: record.id,
            account: record.account.clone(),
            description: String::new(),
            status: record.status,
            created: record.created,
            spec: record.spec,
            usage: record.usage,
            origin: record.origin,
            service_managed: record.service_managed,
            policy: record.policy.clone(),
            tags: record.tags.clone(),
            rotation: None,
            current: None,
            materials: Vec::new(),
        })
    }

    /// The parsed policy; `parse` makes it the first time.
    pub(crate) fn policy(
        &self,
        parse: impl FnOnce(&KeyRecord) -> Option<Arc<Policy>>,
    ) -> Option<&Policy> {
        self.policy.get_or_init(|| parse(&self.record)).as_deref()
    }

    pub(super) fn forget_policy(&mut self) {
        self.policy = OnceLock::new();
    }

    pub(super) fn refile(&mut self) {
        self.due = self.record.due();
    }
}

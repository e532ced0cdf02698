//! Rotation: a new material under the same id, ARN and policy. Old ciphertexts open with the
//! material that made them, for as long as the key exists.

use sealvol_core::UnixMillis;
use sealvol_envelope::KmsError;

use super::pages::{Page, PageSize};
use crate::audit::parameters;
use crate::fault;
use crate::kms::Planned;
use crate::model::{
    EnableKeyRotationRequest, KeyRequest, KeyResponse, KeyRotationStatus, ListKeyRotationsRequest,
    ListKeyRotationsResponse, Nothing, Origin, RotationsListEntry, Timestamp,
};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Session};
use crate::state::{Change, KeyRecord, KeyStatus, Material, Rotation, RotationKind};
use crate::validate::Checks;

const PAGES: PageSize = PageSize { default: 100, max: 1000 };
const PERIOD_DEFAULT: u16 = 365;
/// A rotation on demand conflicts with an automatic one that is due this soon.
const CONFLICT_MS: u64 = 20 * 60 * 1000;

impl Session {
    /// `EnableKeyRotation`: the key rotates by itself every 90 to 2560 days; 365 unless given, or
    /// what it was. Called again, it changes the period.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`, `DisabledException`,
    /// `KMSInvalidStateException`, `UnsupportedOperationException`, `KMSInternalException`.
    pub fn enable_key_rotation(
        &self,
        request: &EnableKeyRotationRequest,
    ) -> Result<Nothing, KmsError> {
        let operation = Operation::EnableKeyRotation;
        self.call(
            operation,
            || parameters::enable_key_rotation(request),
            |trail| {
                let mut checks = Checks::default();
                checks.range("rotationPeriodInDays", request.rotation_period_in_days, 90, 2560);
                checks.finish()?;
                let wanted =
                    request.rotation_period_in_days.and_then(|days| u16::try_from(days).ok());
                let period_text = wanted.unwrap_or(PERIOD_DEFAULT).to_string();
                let period_text = [period_text.as_str()];
                let more: [(&'static str, &[&str]); 1] =
                    [("kms:rotationperiodindays", &period_text)];
                self.change(|state| {
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask { more: &more, ..Ask::to(Action::EnableKeyRotation) };
                    self.permit(state, named, &ask)?;
                    let record = &named.key.record;
                    self.rotates(record)?;
                    let before = record.rotation;
                    let period_days =
                        wanted.or(before.map(|r| r.period_days)).unwrap_or(PERIOD_DEFAULT);
                    let since = before.map_or(self.now(), |rotation| rotation.since);
                    let rotation = Some(Rotation { period_days, since });
                    let change = (rotation != before)
                        .then_some(Change::RotationSet { key: record.id, rotation });
                    Ok(Planned { change, answer: Nothing })
                })
            },
        )
    }

    /// `DisableKeyRotation`.
    ///
    /// # Errors
    /// As [`enable_key_rotation`](Self::enable_key_rotation).
    pub fn disable_key_rotation(&self, request: &KeyRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::DisableKeyRotation;
        self.call(
            operation,
            || parameters::key(request),
            |trail| {
                self.change(|state| {
                    let action = Action::DisableKeyRotation;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    self.rotates(&key.record)?;
                    let change = key
                        .record
                        .rotation
                        .map(|_| Change::RotationSet { key: key.record.id, rotation: None });
                    Ok(Planned { change, answer: Nothing })
                })
            },
        )
    }

    /// `GetKeyRotationStatus`.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`, `UnsupportedOperationException`.
    pub fn get_key_rotation_status(
        &self,
        request: &KeyRequest,
    ) -> Result<KeyRotationStatus, KmsError> {
        let operation = Operation::GetKeyRotationStatus;
        self.call(
            operation,
            || parameters::key(request),
            |trail| {
                self.read(|state| {
                    let action = Action::GetKeyRotationStatus;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let record = &key.record;
                    if !is_of_rotating_kind(record) {
                        return Err(fault::unsupported_by_key());
                    }
                    let pending = matches!(record.status, KeyStatus::PendingDeletion { .. });
                    let rotation = record.rotation.filter(|_| !pending);
                    let on_demand = record
                        .in_progress(self.now())
                        .filter(|material| material.rotation == Some(RotationKind::OnDemand));
                    Ok(KeyRotationStatus {
                        key_rotation_enabled: rotation.is_some(),
                        key_id: self.arn(record),
                        rotation_period_in_days: rotation.map(|r| i64::from(r.period_days)),
                        next_rotation_date: rotation.map(|rotation| Timestamp(rotation.next())),
                        on_demand_rotation_start_date: on_demand.map(|m| Timestamp(m.created)),
                    })
                })
            },
        )
    }

    /// `RotateKeyOnDemand`: asynchronous. The new material makes ciphertexts when the rotation is
    /// over (see [`crate::KmsSettings::rotation_delay`]). Automatic rotation keeps its dates.
    ///
    /// # Errors
    /// As [`enable_key_rotation`](Self::enable_key_rotation), and `LimitExceededException`,
    /// `ConflictException`.
    pub fn rotate_key_on_demand(&self, request: &KeyRequest) -> Result<KeyResponse, KmsError> {
        let operation = Operation::RotateKeyOnDemand;
        self.call(
            operation,
            || parameters::key(request),
            |trail| {
                self.change(|state| {
                    let action = Action::RotateKeyOnDemand;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let record = &key.record;
                    self.usable(record)?;
                    if !is_of_rotating_kind(record) {
                        return Err(fault::unsupported_by_key());
                    }
                    let now = self.now();
                    let due_soon = record.rotation.is_some_and(|rotation| {
                        rotation.next().0 <= now.0.saturating_add(CONFLICT_MS)
                    });
                    if record.in_progress(now).is_some() || due_soon {
                        let arn = self.arn(record);
                        return Err(fault::conflict(format!(
                            "{arn} is being rotated, or about to be"
                        )));
                    }
                    let max = self.kms.settings.on_demand_rotations_max;
                    if record.on_demand_rotations() >= max {
                        return Err(fault::limit_exceeded(format!(
                            "{} was rotated on demand {max} times, as often as a key may be",
                            self.arn(record)
                        )));
                    }
                    let answer = KeyResponse { key_id: self.arn(record) };
                    trail.response = Some(parameters::key_response(&answer));
                    let change = Change::MaterialAdded {
                        key: record.id,
                        material: self.kms.rotated(RotationKind::OnDemand, record)?,
                        rotation: None,
                    };
                    Ok(Planned { change: Some(change), answer })
                })
            },
        )
    }

    /// `ListKeyRotations`: the rotations of a key, or all of its materials.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidMarkerException`, `NotFoundException`,
    /// `AccessDeniedException`, `UnsupportedOperationException`.
    pub fn list_key_rotations(
        &self,
        request: &ListKeyRotationsRequest,
    ) -> Result<ListKeyRotationsResponse, KmsError> {
        let operation = Operation::ListKeyRotations;
        self.call(
            operation,
            || parameters::list_key_rotations(request),
            |trail| {
                let page =
                    Page::parse("rotations", PAGES, request.limit, request.marker.as_deref())?;
                let include = request.include_key_material.as_deref();
                let mut checks = Checks::default();
                checks.one_of(
                    "includeKeyMaterial",
                    include,
                    &["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"],
                );
                checks.finish()?;
                self.read(|state| {
                    let action = Action::ListKeyRotations;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let record = &key.record;
                    if !is_of_rotating_kind(record) {
                        return Err(fault::unsupported_by_key());
                    }
                    let now = self.now();
                    let after = match &page.after {
                        None => 0,
                        Some(place) => {
                            place.parse::<usize>().map_err(|_| fault::invalid_marker())? + 1
                        }
                    };
                    let current = record.current(now).map(|material| material.id);
                    let listed =
                        record.materials.iter().enumerate().skip(after).filter(|(_, m)| {
                            // Not before it is over.
                            m.effective() <= now
                                && (m.rotation.is_some() || include == Some("ALL_KEY_MATERIAL"))
                        });
                    let cut = page.cut(listed.map(|(place, material)| {
                        let entry = RotationsListEntry {
                            key_id: self.arn(record),
                            key_material_id: material.id.to_string(),
                            key_material_state: match current == Some(material.id) {
                                true => "CURRENT",
                                false => "NON_CURRENT",
                            },
                            rotation_date: material
                                .rotation
                                .map(|_| Timestamp(material.effective())),
                            rotation_type: material.rotation.map(RotationKind::as_str),
                        };
                        (place.to_string(), entry)
                    }));
                    let truncated = cut.next_marker.is_some();
                    Ok(ListKeyRotationsResponse {
                        rotations: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }

    /// Whether automatic rotation can be set in this key's state and for its kind.
    fn rotates(&self, record: &KeyRecord) -> Result<(), KmsError> {
        match record.status {
            KeyStatus::PendingImport => Err(fault::unsupported_by_key()),
            _ => self.usable(record),
        }?;
        if is_of_rotating_kind(record) { Ok(()) } else { Err(fault::unsupported_by_key()) }
    }
}

impl crate::kms::Kms {
    /// The next material of a key. A rotation on demand is in progress for a while; an automatic
    /// one comes about at once.
    pub(crate) fn rotated(
        &self,
        kind: RotationKind,
        record: &KeyRecord,
    ) -> Result<Material, KmsError> {
        let material = self.new_material()?;
        // In the order of the list, also when the clock went back.
        let last = record.materials.last().map_or(UnixMillis(0), Material::effective);
        let created = material.created.max(last);
        let delay = match kind {
            RotationKind::OnDemand => self.settings.rotation_delay.as_millis(),
            RotationKind::Automatic => 0,
        };
        let delay = u64::try_from(delay).unwrap_or(u64::MAX);
        let effective = (delay > 0).then(|| UnixMillis(created.0.saturating_add(delay)));
        Ok(Material { created, effective, rotation: Some(kind), ..material })
    }
}

fn is_of_rotating_kind(record: &KeyRecord) -> bool {
    record.spec.is_symmetric() && record.origin == Origin::AwsKms
}

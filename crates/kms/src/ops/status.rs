//! Enabling, disabling and deleting keys.

use sealvol_core::UnixMillis;
use sealvol_envelope::KmsError;

use crate::audit::parameters;
use crate::fault;
use crate::kms::Planned;
use crate::model::{
    KeyRequest, KeyResponse, Nothing, Origin, ScheduleKeyDeletionRequest,
    ScheduleKeyDeletionResponse, Timestamp,
};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Session};
use crate::state::{Change, KeyRecord, KeyStatus};
use crate::validate::Checks;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const WINDOW_DEFAULT: i64 = 30;

impl Session {
    /// `EnableKey`: makes a key usable. Enabling an enabled key succeeds.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`, `KMSInvalidStateException`,
    /// `KMSInternalException`.
    pub fn enable_key(&self, request: &KeyRequest) -> Result<Nothing, KmsError> {
        self.set_status(Operation::EnableKey, Action::EnableKey, request, KeyStatus::Enabled)
    }

    /// `DisableKey`: makes a key unusable. What was unwrapped stays unwrapped; nothing is lost.
    ///
    /// # Errors
    /// As [`enable_key`](Self::enable_key).
    pub fn disable_key(&self, request: &KeyRequest) -> Result<Nothing, KmsError> {
        self.set_status(Operation::DisableKey, Action::DisableKey, request, KeyStatus::Disabled)
    }

    fn set_status(
        &self,
        operation: Operation,
        action: Action,
        request: &KeyRequest,
        status: KeyStatus,
    ) -> Result<Nothing, KmsError> {
        self.call(
            operation,
            || parameters::key(request),
            |trail| {
                self.change(|state| {
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    self.settled(&key.record)?;
                    let change = (key.record.status != status)
                        .then_some(Change::KeyStatusSet { key: key.record.id, status });
                    Ok(Planned { change, answer: Nothing })
                })
            },
        )
    }

    /// `ScheduleKeyDeletion`: the key is unusable from now on, and gone with its aliases and
    /// grants when the window of 7 to 30 days is over. What it sealed is then lost for good.
    ///
    /// # Errors
    /// As [`enable_key`](Self::enable_key), and `ValidationException`.
    pub fn schedule_key_deletion(
        &self,
        request: &ScheduleKeyDeletionRequest,
    ) -> Result<ScheduleKeyDeletionResponse, KmsError> {
        let operation = Operation::ScheduleKeyDeletion;
        self.call(
            operation,
            || parameters::schedule_key_deletion(request),
            |trail| {
                let mut checks = Checks::default();
                checks.range("pendingWindowInDays", request.pending_window_in_days, 7, 30);
                checks.finish()?;
                let days = request.pending_window_in_days.unwrap_or(WINDOW_DEFAULT);
                let days_text = days.to_string();
                let days_text = [days_text.as_str()];
                let more: [(&'static str, &[&str]); 1] =
                    [("kms:schedulekeydeletionpendingwindowindays", &days_text)];
                self.change(|state| {
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask { more: &more, ..Ask::to(Action::ScheduleKeyDeletion) };
                    self.permit(state, named, &ask)?;
                    let record = &named.key.record;
                    self.lasting(record)?;
                    let window = u64::try_from(days).unwrap_or_default().saturating_mul(DAY_MS);
                    let delete_at = UnixMillis(self.now().0.saturating_add(window));
                    let status = KeyStatus::PendingDeletion { delete_at };
                    let answer = ScheduleKeyDeletionResponse {
                        key_id: self.arn(record),
                        deletion_date: Timestamp(delete_at),
                        key_state: "PendingDeletion",
                        pending_window_in_days: days,
                    };
                    trail.response = Some(parameters::scheduled(&answer));
                    let change = Change::KeyStatusSet { key: record.id, status };
                    Ok(Planned { change: Some(change), answer })
                })
            },
        )
    }

    /// `CancelKeyDeletion`: the key stays, disabled.
    ///
    /// # Errors
    /// As [`enable_key`](Self::enable_key).
    pub fn cancel_key_deletion(&self, request: &KeyRequest) -> Result<KeyResponse, KmsError> {
        let operation = Operation::CancelKeyDeletion;
        self.call(
            operation,
            || parameters::key(request),
            |trail| {
                self.change(|state| {
                    let action = Action::CancelKeyDeletion;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let record = &key.record;
                    if !matches!(record.status, KeyStatus::PendingDeletion { .. }) {
                        return Err(fault::invalid_state(
                            &self.arn(record),
                            "not pending deletion",
                        ));
                    }
                    let answer = KeyResponse { key_id: self.arn(record) };
                    trail.response = Some(parameters::key_response(&answer));
                    let status = after_cancelling(record);
                    let change = Change::KeyStatusSet { key: record.id, status };
                    Ok(Planned { change: Some(change), answer })
                })
            },
        )
    }
}

/// A key that waited for its material waits again.
fn after_cancelling(record: &KeyRecord) -> KeyStatus {
    match record.origin == Origin::External && record.materials.is_empty() {
        true => KeyStatus::PendingImport,
        false => KeyStatus::Disabled,
    }
}

//! Deleting keys, after a waiting time in which that can be undone.

use sealvol::kms::model::{KeyRequest, ScheduleKeyDeletionRequest};

use super::advice::Told as _;
use super::desk::{Desk, utc};

#[derive(Debug, clap::Args)]
pub(super) struct ScheduleArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// How long it can still be kept, 7 to 30
    #[arg(long, env = "SEALVOL_DAYS", hide_env = true, value_name = "DAYS")]
    days: i64,
}

pub(super) fn schedule(desk: &Desk, args: &ScheduleArgs) -> anyhow::Result<()> {
    let which = &args.which;
    let request = ScheduleKeyDeletionRequest {
        key_id: desk.key_id(which)?,
        pending_window_in_days: Some(args.days),
    };
    let scheduled = desk.session.schedule_key_deletion(&request);
    let scheduled = scheduled.told(format_args!("schedule the deletion of {which}"))?;
    desk.answer(&scheduled, |scheduled| {
        format!(
            "{arn} is unusable from now on, and deleted after {date}\n\
             what it sealed is lost for good then, volumes and all; until then \
             `sealvol key cancel-deletion {arn}` keeps it\n",
            arn = scheduled.key_id,
            date = utc(scheduled.deletion_date.0),
        )
    })
}

pub(super) fn cancel(desk: &Desk, which: &str) -> anyhow::Result<()> {
    let request = KeyRequest::new(desk.key_id(which)?);
    let kept = desk.session.cancel_key_deletion(&request);
    let kept = kept.told(format_args!("keep the key {which}"))?;
    desk.answer(&kept, |kept| {
        format!(
            "kept {arn}\nit is disabled; `sealvol key enable {arn}` makes it usable\n",
            arn = kept.key_id
        )
    })
}

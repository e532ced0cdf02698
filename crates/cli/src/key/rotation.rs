//! New material for keys, by period and on demand.

use clap::builder::FalseyValueParser;
use sealvol::kms::model::{
    EnableKeyRotationRequest, KeyRequest, KeyRotationStatus, ListKeyRotationsRequest,
    ListKeyRotationsResponse, RotationsListEntry,
};

use super::Which;
use super::advice::Told as _;
use super::desk::{Desk, utc};

#[derive(Debug, clap::Subcommand)]
pub(super) enum RotationCommand {
    /// Let a key rotate by itself, or change its period.
    #[command(
        after_help = "Example:\n  sealvol key rotation enable alias/sealvol --period-days 180"
    )]
    Enable(EnableArgs),
    /// Let a key no longer rotate by itself. Its old material stays, for what it sealed.
    #[command(after_help = "Example:\n  sealvol key rotation disable alias/sealvol")]
    Disable(Which),
    /// Show whether a key rotates by itself, and when next.
    #[command(after_help = "Example:\n  sealvol key rotation status alias/sealvol")]
    Status(Which),
    /// List the rotations of a key.
    #[command(after_help = "Example:\n  sealvol key rotation list alias/sealvol --all")]
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct EnableArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// Days between rotations, 90 to 2560 [default: 365, or what it was]
    #[arg(long, env = "SEALVOL_PERIOD_DAYS", hide_env = true, value_name = "DAYS")]
    period_days: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// All material, also what the key was made with
    #[arg(long, env = "SEALVOL_ALL", hide_env = true, value_parser = FalseyValueParser::new())]
    all: bool,
}

pub(super) fn run(desk: &Desk, command: &RotationCommand) -> anyhow::Result<()> {
    match command {
        RotationCommand::Enable(args) => {
            let request = EnableKeyRotationRequest {
                key_id: desk.key_id(&args.which)?,
                rotation_period_in_days: args.period_days,
            };
            let enabled = desk.session.enable_key_rotation(&request);
            enabled.told(format_args!("let {} rotate", args.which))?;
            desk.done(&format!(
                "{which} rotates by itself; `sealvol key rotation status {which}` shows when",
                which = args.which
            ))
        }
        RotationCommand::Disable(Which { which }) => {
            let request = KeyRequest::new(desk.key_id(which)?);
            let disabled = desk.session.disable_key_rotation(&request);
            disabled.told(format_args!("stop {which} from rotating"))?;
            desk.done(&format!(
                "{which} no longer rotates by itself; what it sealed still opens, and `sealvol key \
                 rotate` rotates it once"
            ))
        }
        RotationCommand::Status(Which { which }) => {
            let request = KeyRequest::new(desk.key_id(which)?);
            let status = desk.session.get_key_rotation_status(&request);
            desk.answer(&status.told(format_args!("read the rotation of {which}"))?, print)
        }
        RotationCommand::List(args) => list(desk, args),
    }
}

fn print(status: &KeyRotationStatus) -> String {
    let mut text = match (status.rotation_period_in_days, status.next_rotation_date) {
        (Some(days), Some(next)) => format!("rotates every {days} days, next {}\n", utc(next.0)),
        _ if status.key_rotation_enabled => "rotates by itself\n".to_owned(),
        _ => "does not rotate by itself; `sealvol key rotation enable` changes that\n".to_owned(),
    };
    if let Some(started) = status.on_demand_rotation_start_date {
        text.push_str(&format!("a rotation on demand is under way since {}\n", utc(started.0)));
    }
    text
}

fn list(desk: &Desk, args: &ListArgs) -> anyhow::Result<()> {
    let mut request = ListKeyRotationsRequest {
        key_id: desk.key_id(&args.which)?,
        include_key_material: args.all.then(|| "ALL_KEY_MATERIAL".to_owned()),
        limit: Some(1000),
        marker: None,
    };
    let mut rotations = Vec::new();
    loop {
        let page = desk.session.list_key_rotations(&request);
        let page = page.told(format_args!("list the rotations of {}", args.which))?;
        rotations.extend(page.rotations);
        request.marker = page.next_marker;
        if request.marker.is_none() {
            break;
        }
    }
    let all = ListKeyRotationsResponse { rotations, next_marker: None, truncated: false };
    desk.answer(&all, |all| match all.rotations.is_empty() {
        true => "no rotations yet; `sealvol key rotate` makes one\n".to_owned(),
        false => all.rotations.iter().map(row).collect(),
    })
}

fn row(entry: &RotationsListEntry) -> String {
    let when = match (entry.rotation_date, entry.rotation_type) {
        (Some(date), Some(kind)) => format!("{} {kind}", utc(date.0)),
        _ => "made with the key".to_owned(),
    };
    format!("{}  {:<11}  {when}\n", entry.key_material_id, entry.key_material_state)
}

pub(super) fn rotate(desk: &Desk, which: &str) -> anyhow::Result<()> {
    let request = KeyRequest::new(desk.key_id(which)?);
    let rotated = desk.session.rotate_key_on_demand(&request);
    let rotated = rotated.told(format_args!("rotate the key {which}"))?;
    desk.answer(&rotated, |rotated| {
        format!(
            "rotating {}\nwhat it sealed still opens; volumes keep their data keys\n",
            rotated.key_id
        )
    })
}

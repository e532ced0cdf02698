//! Who acts, and on which KMS.

use std::sync::Arc;

use sealvol::kms::model::{DescribeKeyRequest, GrantToken, KeyDescription};
use sealvol::kms::{Kms, OpenDirectory, PrincipalDirectory as _, Session};
use sealvol::{Caller, UnixMillis};
use serde::Serialize;
use serde_json::json;

use super::advice::Told as _;
use crate::exit::{self, Fail};
use crate::global::{Embedded, Global, IfMissing};
use crate::output;

/// On whose behalf a verb is run.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Acting as")]
pub(super) struct Acting {
    /// Act as this principal (ARN of a user, role, session or account root, or a service's name)
    /// instead of the account root, to try policies and grants. Identity policies are not known
    /// here: other principals have none, so that key policies and grants alone decide
    #[arg(long = "as", global = true, env = "SEALVOL_AS", hide_env = true)]
    #[arg(value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Act as if through this service, such as ec2.us-east-1.amazonaws.com (kms:ViaService)
    #[arg(long, global = true, env = "SEALVOL_VIA_SERVICE", hide_env = true)]
    #[arg(value_name = "SERVICE")]
    via_service: Option<String>,
}

impl Acting {
    pub(super) const fn is_default(&self) -> bool {
        self.principal.is_none() && self.via_service.is_none()
    }
}

/// The KMS with somebody who acts, and how to answer.
pub(super) struct Desk {
    pub(super) kms: Arc<Kms>,
    pub(super) caller: Caller,
    pub(super) session: Session,
    pub(super) json: bool,
    /// Whether nobody else was named to act.
    pub(super) is_owner: bool,
    /// Whether the KMS was opened with a passphrase.
    pub(super) by_passphrase: bool,
}

impl Desk {
    pub(super) fn open(
        global: &Global,
        acting: &Acting,
        if_missing: IfMissing,
    ) -> anyhow::Result<Self> {
        let keys = global.keys(if_missing)?;
        let Embedded { kms, caller } = keys.embedded("`sealvol key`")?;
        let mut caller = caller.clone();
        if let Some(principal) = &acting.principal {
            if !OpenDirectory::new(kms.settings()).exists(principal) {
                return Err(Fail::error(
                    exit::USAGE,
                    format!(
                        "--as {principal} names no principal; write an ARN such as \
                         arn:aws:iam::000000000000:user/ada, or the name of a service such as \
                         ec2.amazonaws.com"
                    ),
                ));
            }
            caller.principal.clone_from(principal);
        }
        caller.via_service.clone_from(&acting.via_service);
        Ok(Self {
            session: kms.session_of(&caller),
            kms: Arc::clone(kms),
            caller,
            json: global.json,
            is_owner: acting.is_default(),
            by_passphrase: global.passphrase_file.is_some(),
        })
    }

    /// The key for operations that take no alias. An alias is looked up as whoever acts.
    pub(super) fn key_id(&self, which: &str) -> anyhow::Result<String> {
        if !is_alias(which) {
            return Ok(which.to_owned());
        }
        let what = format!("look up the alias {which} (kms:DescribeKey)");
        Ok(self.look_up(which, &[]).told(what)?.arn)
    }

    /// The key's ARN, where nothing else is taken.
    pub(super) fn key_arn(&self, which: &str) -> anyhow::Result<String> {
        if which.starts_with("arn:") && !is_alias(which) {
            return Ok(which.to_owned());
        }
        let what = format!("look up the key {which} (kms:DescribeKey)");
        Ok(self.look_up(which, &[]).told(what)?.arn)
    }

    pub(super) fn look_up(
        &self,
        which: &str,
        tokens: &[String],
    ) -> Result<KeyDescription, sealvol::KmsError> {
        let request =
            DescribeKeyRequest { key_id: which.to_owned(), grant_tokens: grant_tokens(tokens) };
        self.session.describe_key(&request).map(|answer| answer.key_metadata)
    }

    /// AWS's answer as JSON, or what `text` makes of it.
    pub(super) fn answer<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.json { output::json(answer) } else { output::text(&text(answer)) }
    }

    /// The end of an operation without an answer.
    pub(super) fn done(&self, text: &str) -> anyhow::Result<()> {
        if self.json { output::json(&json!({})) } else { output::text(&format!("{text}\n")) }
    }

    /// The good end of a dry run.
    pub(super) fn dry_run(&self) -> anyhow::Result<()> {
        let message = "The request would have succeeded, but the DryRun option is set.";
        if self.json {
            return output::json(&json!({
                "__type": "DryRunOperationException",
                "message": message,
            }));
        }
        output::text("dry run: it would have succeeded; nothing was done\n")
    }
}

pub(super) fn is_alias(which: &str) -> bool {
    which.starts_with("alias/") || which.contains(":alias/")
}

pub(super) fn grant_tokens(tokens: &[String]) -> Option<Vec<GrantToken>> {
    let tokens: Vec<_> = tokens.iter().cloned().map(GrantToken).collect();
    (!tokens.is_empty()).then_some(tokens)
}

/// `2031-02-03 04:05:06 UTC`
pub(super) fn utc(time: UnixMillis) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(
            || format!("{} ms after 1970", time.0),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(UnixMillis(1_927_857_906_789)), "2031-02-03 04:05:06 UTC");
        assert_eq!(utc(UnixMillis(u64::MAX)), "18446744073709551615 ms after 1970");
    }

    #[test]
    fn aliases_are_told_from_keys() {
        assert!(is_alias("alias/a") && is_alias("arn:aws:kms:us-east-1:000000000000:alias/a"));
        assert!(!is_alias("arn:aws:kms:us-east-1:000000000000:key/a") && !is_alias("a"));
    }
}

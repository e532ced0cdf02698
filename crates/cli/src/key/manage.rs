//! Making, describing and listing keys; enabling and disabling them.

use clap::builder::FalseyValueParser;
use sealvol::kms::model::{
    CreateKeyRequest, KeyDescription, KeyMetadataResponse, KeyRequest, UpdateKeyDescriptionRequest,
};
use sealvol::{KeyMetadata, KeyState, KmsErrorKind};
use serde::Serialize;

use super::advice::Told as _;
use super::bytes;
use super::desk::{Desk, is_alias, utc};
use super::tags;
use crate::output;
use crate::pairs::parse_pair;

pub(super) const CREATE_EXAMPLES: &str = "Examples:
  sealvol key create --alias alias/backups
  sealvol --key alias/backups volume create backup.vol --size 100GiB
  sealvol key create --policy policy.json --tag team=storage";

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// A name for it, such as alias/backups
    #[arg(long, env = "SEALVOL_ALIAS", hide_env = true, value_name = "ALIAS")]
    alias: Option<String>,
    /// What it is for
    #[arg(long, env = "SEALVOL_DESCRIPTION", hide_env = true, value_name = "TEXT")]
    #[arg(default_value = "")]
    description: String,
    /// Its key policy, a JSON document (-: standard input)
    /// [default: what `sealvol key policy show default` prints]
    #[arg(long, env = "SEALVOL_POLICY", hide_env = true, value_name = "FILE")]
    policy: Option<String>,
    /// The kind of its material. Kinds other than SYMMETRIC_DEFAULT do no cryptography here
    #[arg(long, env = "SEALVOL_SPEC", hide_env = true, value_name = "SPEC")]
    spec: Option<String>,
    /// What it may be used for, such as ENCRYPT_DECRYPT
    #[arg(long, env = "SEALVOL_USAGE", hide_env = true, value_name = "USAGE")]
    usage: Option<String>,
    /// A tag (repeat it)
    #[arg(long, env = "SEALVOL_TAG", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    tag: Vec<(String, String)>,
    /// Make a multi-Region primary key
    #[arg(long, env = "SEALVOL_MULTI_REGION", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    multi_region: bool,
    /// Take a policy that keeps you from changing the policy later
    #[arg(long, env = "SEALVOL_BYPASS_POLICY_LOCKOUT_CHECK", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    bypass_policy_lockout_check: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DescribeArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// A grant to consider, by its token (repeat it)
    #[arg(long, env = "SEALVOL_GRANT_TOKEN", hide_env = true, value_name = "TOKEN")]
    #[arg(value_delimiter = ',')]
    grant_token: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DescriptionArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// What it is for; may be empty
    #[arg(value_name = "TEXT")]
    text: String,
}

/// A key for people and programs.
#[derive(Serialize)]
struct KeyView {
    key_id: String,
    arn: String,
    state: &'static str,
    description: String,
    created_unix_ms: u64,
    aliases: Vec<String>,
}

impl KeyView {
    fn new(key: KeyMetadata, aliases: Vec<String>) -> Self {
        Self {
            key_id: key.key_id,
            arn: key.arn,
            state: key.state.as_str(),
            description: key.description,
            created_unix_ms: key.created_unix_ms,
            aliases,
        }
    }

    fn print(&self) -> String {
        let mut text = format!("{}  {:<15}", self.key_id, self.state);
        if !self.aliases.is_empty() {
            text.push_str("  ");
            text.push_str(&self.aliases.join(", "));
        }
        if !self.description.is_empty() {
            text.push_str(&format!("  \"{}\"", self.description));
        }
        text.push('\n');
        text
    }
}

pub(super) fn create(desk: &Desk, args: &CreateArgs) -> anyhow::Result<()> {
    let policy = args.policy.as_deref().map(|path| bytes::read_text(path, "a key policy"));
    let request = CreateKeyRequest {
        policy: policy.transpose()?,
        description: Some(args.description.clone()),
        key_usage: args.usage.clone(),
        key_spec: args.spec.clone(),
        tags: (!args.tag.is_empty()).then(|| tags::of_pairs(&args.tag)),
        multi_region: args.multi_region.then_some(true),
        bypass_policy_lockout_safety_check: args.bypass_policy_lockout_check.then_some(true),
        ..CreateKeyRequest::default()
    };
    let made = match &args.alias {
        None => desk.session.create_key(&request).told("make the key")?,
        // Both in one step, so that a refused alias leaves no nameless key.
        Some(alias) => desk.session.create_key_with_alias(&request, alias).told(format_args!(
            "make the key {alias} (an alias is alias/ and letters, digits, /_-)"
        ))?,
    };
    let view = KeyView::new(made.key_metadata.into(), args.alias.iter().cloned().collect());
    desk.answer(&view, |view| format!("created {}\n", view.arn))
}

pub(super) fn list(desk: &Desk) -> anyhow::Result<()> {
    let Desk { kms, caller, .. } = desk;
    let aliases = kms.list_aliases(caller, None).told("list the aliases")?;
    let keys = kms.list_keys(caller).told("list the keys")?;
    let views: Vec<KeyView> = keys
        .into_iter()
        .map(|key| {
            let own = aliases.iter().filter(|alias| alias.target_key_arn == key.arn);
            let own = own.map(|alias| alias.name.clone()).collect();
            KeyView::new(key, own)
        })
        .collect();
    desk.answer(&views, |views| match views.is_empty() {
        true => "no keys yet; `sealvol key create` makes one\n".to_owned(),
        false => views.iter().map(KeyView::print).collect(),
    })
}

pub(super) fn describe(desk: &Desk, args: &DescribeArgs) -> anyhow::Result<()> {
    let which = &args.which;
    let key = desk.look_up(which, &args.grant_token);
    let key_metadata = key.told(format_args!("describe the key {which}"))?;
    desk.answer(&KeyMetadataResponse { key_metadata }, |answer| print(&answer.key_metadata))
}

fn print(key: &KeyDescription) -> String {
    let mut text = format!("{}\n", key.arn);
    let mut row = |name: &str, value: &str| text.push_str(&format!("  {name:<12} {value}\n"));
    row("state", key.key_state);
    if let Some(date) = key.deletion_date {
        let date = utc(date.0);
        row("deletion", &format!("{date} (`sealvol key cancel-deletion {}`)", key.key_id));
    }
    if !key.description.is_empty() {
        row("description", &format!("\"{}\"", key.description));
    }
    row("kind", &format!("{}, {}", key.key_spec, key.key_usage));
    row("made", &utc(key.creation_date.0));
    if let Some(material) = &key.current_key_material_id {
        row("material", material);
    }
    if key.multi_region {
        row("multi-Region", "primary key");
    }
    text
}

pub(super) fn set_state(desk: &Desk, which: &str, state: KeyState) -> anyhow::Result<()> {
    let verb = if state == KeyState::Disabled { "disable" } else { "enable" };
    let what = format!("{verb} the key {which}");
    let known = match desk.look_up(which, &[]) {
        // It may still be allowed to change the key's state: only the answer is poorer.
        Err(error) if error.kind() == KmsErrorKind::Denied && !is_alias(which) => None,
        known => Some(known.told(&what)?),
    };
    let request = KeyRequest::new(known.as_ref().map_or(which, |key| key.arn.as_str()));
    match state {
        KeyState::Disabled => desk.session.disable_key(&request),
        _ => desk.session.enable_key(&request),
    }
    .told(&what)?;
    if desk.json {
        let view = known
            .map(|key| KeyView { state: state.as_str(), ..KeyView::new(key.into(), Vec::new()) });
        return match view {
            Some(view) => output::json(&view),
            None => output::json(&serde_json::json!({})),
        };
    }
    let mut text = format!("{verb}d {}\n", request.key_id);
    if state == KeyState::Disabled {
        text.push_str(
            "volumes under it can no longer be opened, open ones go on, and no data is lost; \
             `sealvol key enable` undoes it\n",
        );
    }
    output::text(&text)
}

pub(super) fn set_description(desk: &Desk, args: &DescriptionArgs) -> anyhow::Result<()> {
    let key_id = desk.key_id(&args.which)?;
    let request = UpdateKeyDescriptionRequest { key_id, description: Some(args.text.clone()) };
    let told = desk.session.update_key_description(&request);
    told.told(format_args!("describe the key {}", args.which))?;
    desk.done(&format!("described {}", args.which))
}

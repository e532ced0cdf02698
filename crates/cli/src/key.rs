//! `sealvol key`: the keys of the embedded KMS.

use anyhow::Context as _;
use sealvol::{KeyMetadata, KeyState};
use serde::Serialize;

use crate::exit::{self, Fail};
use crate::global::{Embedded, Global, IfMissing};
use crate::{output, signals};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key.
    #[command(after_help = "Examples:
  sealvol key create --alias alias/backups
  sealvol --key alias/backups volume create backup.vol --size 100GiB")]
    Create {
        /// A name for it, such as alias/backups
        #[arg(long, env = "SEALVOL_ALIAS", hide_env = true, value_name = "ALIAS")]
        alias: Option<String>,
        /// What it is for
        #[arg(long, env = "SEALVOL_DESCRIPTION", hide_env = true, value_name = "TEXT")]
        #[arg(default_value = "")]
        description: String,
    },
    /// List the keys and their aliases.
    #[command(after_help = "Example:\n  sealvol key list --json")]
    List,
    /// Make a key unusable: its volumes can no longer be opened; open ones go on, and no data is
    /// lost.
    #[command(after_help = "Example:\n  sealvol key disable alias/sealvol")]
    Disable {
        /// Id, ARN or alias of the key
        #[arg(value_name = "KEY")]
        which: String,
    },
    /// Make a disabled key usable again.
    #[command(after_help = "Example:\n  sealvol key enable alias/sealvol")]
    Enable {
        /// Id, ARN or alias of the key
        #[arg(value_name = "KEY")]
        which: String,
    },
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

pub(crate) fn run(command: &KeyCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create { alias, description } => create(global, alias.as_deref(), description),
        KeyCommand::List => list(global),
        KeyCommand::Disable { which } => set_state(global, which, KeyState::Disabled),
        KeyCommand::Enable { which } => set_state(global, which, KeyState::Enabled),
    }
}

fn create(global: &Global, alias: Option<&str>, description: &str) -> anyhow::Result<()> {
    let keys = global.keys(IfMissing::Make)?;
    let Embedded { kms, caller } = keys.embedded("`sealvol key create`")?;
    let key = match alias {
        None => kms.create_key(caller, description).context("cannot make the key")?,
        Some(alias) => {
            let known = kms.list_aliases(caller, None).context("cannot list the aliases")?;
            if known.iter().any(|known| known.name == alias) {
                return Err(Fail::error(
                    exit::CONFLICT,
                    format!(
                        "the alias {alias} names a key already; choose another, or use that key \
                         (`sealvol key list`)"
                    ),
                ));
            }
            // Both in one step, so that a refused alias leaves no nameless key.
            kms.ensure_key(caller, alias, description).with_context(|| {
                format!("cannot make the key {alias}; an alias is alias/ and letters, digits, /_-")
            })?
        }
    };
    let view = KeyView::new(key, alias.map(str::to_owned).into_iter().collect());
    if global.json {
        return output::json(&view);
    }
    output::text(&format!("created {}\n", view.arn))
}

fn list(global: &Global) -> anyhow::Result<()> {
    let keys = global.keys(IfMissing::Fail)?;
    let Embedded { kms, caller } = keys.embedded("`sealvol key list`")?;
    let aliases = kms.list_aliases(caller, None).context("cannot list the aliases")?;
    let keys = kms.list_keys(caller).context("cannot list the keys")?;
    let views: Vec<KeyView> = keys
        .into_iter()
        .map(|key| {
            let own = aliases.iter().filter(|alias| alias.target_key_arn == key.arn);
            let own = own.map(|alias| alias.name.clone()).collect();
            KeyView::new(key, own)
        })
        .collect();
    if global.json {
        return output::json(&views);
    }
    if views.is_empty() {
        return output::text("no keys yet; `sealvol key create` makes one\n");
    }
    output::text(&views.iter().map(KeyView::print).collect::<String>())
}

fn set_state(global: &Global, which: &str, state: KeyState) -> anyhow::Result<()> {
    let keys = global.keys(IfMissing::Fail)?;
    let verb = if state == KeyState::Disabled { "disable" } else { "enable" };
    let Embedded { kms, caller } = keys.embedded(&format!("`sealvol key {verb}`"))?;
    let failed = || {
        format!(
            "cannot {verb} the key {which}; `sealvol key list` shows the keys and their aliases"
        )
    };
    let key =
        signals::runtime()?.block_on(keys.service.describe_key(which)).with_context(failed)?;
    match state {
        KeyState::Disabled => kms.disable_key(caller, &key.arn),
        _ => kms.enable_key(caller, &key.arn),
    }
    .with_context(failed)?;
    let view = KeyView { state: state.as_str(), ..KeyView::new(key, Vec::new()) };
    if global.json {
        return output::json(&view);
    }
    let mut text = format!("{verb}d {}\n", view.arn);
    if state == KeyState::Disabled {
        text.push_str(
            "volumes under it can no longer be opened, open ones go on, and no data is lost; \
             `sealvol key enable` undoes it\n",
        );
    }
    output::text(&text)
}

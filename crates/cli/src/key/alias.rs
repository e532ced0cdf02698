//! Aliases.

use sealvol::kms::model::{
    AliasRequest, DeleteAliasRequest, ListAliasesRequest, ListAliasesResponse,
};

use super::advice::Told as _;
use super::desk::Desk;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AliasCommand {
    /// Give a key a name.
    #[command(after_help = "Example:\n  sealvol key alias create alias/backups KEY_ID")]
    Create(AliasArgs),
    /// Let a name stand for another key of the same kind.
    #[command(after_help = "Example:\n  sealvol key alias update alias/backups NEW_KEY_ID")]
    Update(AliasArgs),
    /// Take a name away. The key is as it was.
    #[command(after_help = "Example:\n  sealvol key alias delete alias/backups")]
    Delete {
        /// Such as alias/backups
        #[arg(value_name = "ALIAS")]
        name: String,
    },
    /// List the aliases, of all keys or of one.
    #[command(after_help = "Example:\n  sealvol key alias list")]
    List {
        /// Only those of this key: its id, ARN or an alias
        #[arg(value_name = "KEY")]
        which: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct AliasArgs {
    /// Such as alias/backups
    #[arg(value_name = "ALIAS")]
    name: String,
    /// Id, ARN or another alias of the key
    #[arg(value_name = "KEY")]
    which: String,
}

pub(super) fn run(desk: &Desk, command: &AliasCommand) -> anyhow::Result<()> {
    match command {
        AliasCommand::Create(args) => {
            let what = format!("give {} the alias {}", args.which, args.name);
            desk.session.create_alias(&request(desk, args)?).told(what)?;
            desk.done(&format!("{} names {}", args.name, args.which))
        }
        AliasCommand::Update(args) => {
            let what = format!("move the alias {} to {}", args.name, args.which);
            desk.session.update_alias(&request(desk, args)?).told(what)?;
            let text = format!(
                "{} names {}\nvolumes that exist go on with the key that they were made under",
                args.name, args.which
            );
            desk.done(&text)
        }
        AliasCommand::Delete { name } => {
            let request = DeleteAliasRequest { alias_name: name.clone() };
            desk.session.delete_alias(&request).told(format_args!("delete the alias {name}"))?;
            desk.done(&format!("deleted {name}; its key is as it was"))
        }
        AliasCommand::List { which } => list(desk, which.as_deref()),
    }
}

fn request(desk: &Desk, args: &AliasArgs) -> anyhow::Result<AliasRequest> {
    Ok(AliasRequest { alias_name: args.name.clone(), target_key_id: desk.key_id(&args.which)? })
}

fn list(desk: &Desk, which: Option<&str>) -> anyhow::Result<()> {
    let key_id = which.map(|which| desk.key_id(which)).transpose()?;
    let mut request = ListAliasesRequest { key_id, limit: Some(100), marker: None };
    let mut aliases = Vec::new();
    loop {
        let page = desk.session.list_aliases(&request).told("list the aliases")?;
        aliases.extend(page.aliases);
        request.marker = page.next_marker;
        if request.marker.is_none() {
            break;
        }
    }
    let all = ListAliasesResponse { aliases, next_marker: None, truncated: false };
    desk.answer(&all, |all| match all.aliases.is_empty() {
        true => "no aliases; `sealvol key alias create` makes one\n".to_owned(),
        false => {
            let row = |alias: &sealvol::kms::model::AliasListEntry| {
                format!("{}  {}\n", alias.target_key_id, alias.alias_name)
            };
            all.aliases.iter().map(row).collect()
        }
    })
}

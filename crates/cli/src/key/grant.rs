//! Grants.

use clap::builder::FalseyValueParser;
use sealvol::kms::model::{
    CreateGrantRequest, GrantConstraints, GrantListEntry, GrantToken, ListGrantsRequest,
    ListGrantsResponse, ListRetirableGrantsRequest, RetireGrantRequest, RevokeGrantRequest,
};

use super::advice::Told as _;
use super::desk::{Desk, grant_tokens, utc};
use crate::exit::{self, Fail};
use crate::pairs::{context, parse_pair};

#[derive(Debug, clap::Subcommand)]
pub(super) enum GrantCommand {
    /// Let another principal use a key within limits.
    #[command(after_help = "Example:
  sealvol key grant create alias/backups --grantee arn:aws:iam::000000000000:user/ada \\
    --operations Decrypt,DescribeKey --context-subset team=storage")]
    Create(Box<CreateArgs>),
    /// List the grants of a key.
    #[command(after_help = "Example:\n  sealvol key grant list alias/backups")]
    List(ListArgs),
    /// List the grants, of all keys, that a principal may retire.
    #[command(after_help = "Example:
  sealvol key grant list-retirable arn:aws:iam::000000000000:user/ada")]
    ListRetirable {
        /// ARN or service name of the retiring principal
        #[arg(value_name = "PRINCIPAL")]
        retiring: String,
    },
    /// End a grant as one who may retire it.
    #[command(after_help = "Examples:
  sealvol key grant retire --token TOKEN
  sealvol key grant retire alias/backups --id GRANT_ID")]
    Retire(RetireArgs),
    /// End a grant as one who manages the key.
    #[command(after_help = "Example:\n  sealvol key grant revoke alias/backups --id GRANT_ID")]
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// Who may use it: ARN of a principal
    #[arg(long, env = "SEALVOL_GRANTEE", hide_env = true, value_name = "PRINCIPAL")]
    #[arg(required_unless_present = "grantee_service")]
    grantee: Option<String>,
    /// The service that may use it; needs --source-arn and one who may retire it
    #[arg(long, env = "SEALVOL_GRANTEE_SERVICE", hide_env = true, value_name = "SERVICE")]
    grantee_service: Option<String>,
    /// What for: names of operations, such as Encrypt,Decrypt,GenerateDataKey
    #[arg(long, env = "SEALVOL_OPERATIONS", hide_env = true, value_name = "NAMES")]
    #[arg(value_delimiter = ',', required = true)]
    operations: Vec<String>,
    /// Who may retire it, besides this account
    #[arg(long, env = "SEALVOL_RETIRING", hide_env = true, value_name = "PRINCIPAL")]
    retiring: Option<String>,
    /// The service that may retire it
    #[arg(long, env = "SEALVOL_RETIRING_SERVICE", hide_env = true, value_name = "SERVICE")]
    retiring_service: Option<String>,
    /// Only for requests with exactly this encryption context (repeat it)
    #[arg(long, env = "SEALVOL_CONTEXT_EQUALS", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    context_equals: Vec<(String, String)>,
    /// Only for requests whose encryption context has this pair (repeat it)
    #[arg(long, env = "SEALVOL_CONTEXT_SUBSET", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    context_subset: Vec<(String, String)>,
    /// Only for requests on behalf of this resource (aws:SourceArn)
    #[arg(long, env = "SEALVOL_SOURCE_ARN", hide_env = true, value_name = "ARN")]
    source_arn: Option<String>,
    /// A name: the same grant under the same name is made once
    #[arg(long, env = "SEALVOL_NAME", hide_env = true)]
    name: Option<String>,
    /// A grant to consider, by its token (repeat it)
    #[arg(long, env = "SEALVOL_GRANT_TOKEN", hide_env = true, value_name = "TOKEN")]
    #[arg(value_delimiter = ',')]
    grant_token: Vec<String>,
    #[command(flatten)]
    dry: DryRun,
}

#[derive(Debug, clap::Args)]
pub(super) struct DryRun {
    /// Check everything, and do nothing
    #[arg(long, env = "SEALVOL_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new())]
    dry_run: bool,
}

impl DryRun {
    pub(super) fn wanted(&self) -> Option<bool> {
        self.dry_run.then_some(true)
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// Only the grant of this id
    #[arg(long, env = "SEALVOL_ID", hide_env = true, value_name = "GRANT_ID")]
    id: Option<String>,
    /// Only those of this grantee
    #[arg(long, env = "SEALVOL_GRANTEE", hide_env = true, value_name = "PRINCIPAL")]
    grantee: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetireArgs {
    /// Id, ARN or alias of the key, with --id
    #[arg(value_name = "KEY", requires = "id")]
    which: Option<String>,
    /// The grant's id, with KEY
    #[arg(long, env = "SEALVOL_ID", hide_env = true, value_name = "GRANT_ID")]
    id: Option<String>,
    /// The grant's token, instead of KEY and --id
    #[arg(long, env = "SEALVOL_TOKEN", hide_env = true, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    dry: DryRun,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// The grant's id
    #[arg(long, env = "SEALVOL_ID", hide_env = true, value_name = "GRANT_ID")]
    id: String,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) fn run(desk: &Desk, command: &GrantCommand) -> anyhow::Result<()> {
    match command {
        GrantCommand::Create(args) => create(desk, args),
        GrantCommand::List(args) => list(desk, args),
        GrantCommand::ListRetirable { retiring } => list_retirable(desk, retiring),
        GrantCommand::Retire(args) => retire(desk, args),
        GrantCommand::Revoke(args) => {
            let request = RevokeGrantRequest {
                key_id: desk.key_id(&args.which)?,
                grant_id: args.id.clone(),
                dry_run: args.dry.wanted(),
            };
            let revoked = desk.session.revoke_grant(&request);
            revoked.told(format_args!("revoke the grant {}", args.id))?;
            desk.done(&format!("revoked {}; its grantee may no longer use the key by it", args.id))
        }
    }
}

fn create(desk: &Desk, args: &CreateArgs) -> anyhow::Result<()> {
    let optional = |pairs: &[(String, String)]| -> anyhow::Result<_> {
        Ok(if pairs.is_empty() { None } else { Some(context(pairs)?) })
    };
    let constraints = GrantConstraints {
        encryption_context_subset: optional(&args.context_subset)?,
        encryption_context_equals: optional(&args.context_equals)?,
        source_arn: args.source_arn.clone(),
    };
    let request = CreateGrantRequest {
        key_id: desk.key_id(&args.which)?,
        grantee_principal: args.grantee.clone(),
        grantee_service_principal: args.grantee_service.clone(),
        retiring_principal: args.retiring.clone(),
        retiring_service_principal: args.retiring_service.clone(),
        operations: args.operations.clone(),
        constraints: (constraints != GrantConstraints::default()).then_some(constraints),
        grant_tokens: grant_tokens(&args.grant_token),
        name: args.name.clone(),
        dry_run: args.dry.wanted(),
    };
    let made = desk.session.create_grant(&request);
    let made = made.told(format_args!("make a grant on {}", args.which))?;
    desk.answer(&made, |made| {
        format!(
            "granted {}\ntoken {}\nit ends with `sealvol key grant revoke {} --id {}`\n",
            made.grant_id, made.grant_token, args.which, made.grant_id
        )
    })
}

fn list(desk: &Desk, args: &ListArgs) -> anyhow::Result<()> {
    let mut request = ListGrantsRequest {
        key_id: desk.key_id(&args.which)?,
        grant_id: args.id.clone(),
        grantee_principal: args.grantee.clone(),
        limit: Some(100),
        marker: None,
    };
    let mut grants = Vec::new();
    loop {
        let page = desk.session.list_grants(&request);
        let page = page.told(format_args!("list the grants of {}", args.which))?;
        grants.extend(page.grants);
        request.marker = page.next_marker;
        if request.marker.is_none() {
            break;
        }
    }
    print(desk, grants)
}

fn list_retirable(desk: &Desk, retiring: &str) -> anyhow::Result<()> {
    let mut request = ListRetirableGrantsRequest {
        retiring_principal: retiring.to_owned(),
        limit: Some(100),
        marker: None,
    };
    let mut grants = Vec::new();
    loop {
        let page = desk.session.list_retirable_grants(&request);
        let page = page.told(format_args!("list the grants that {retiring} may retire"))?;
        grants.extend(page.grants);
        request.marker = page.next_marker;
        if request.marker.is_none() {
            break;
        }
    }
    print(desk, grants)
}

fn print(desk: &Desk, grants: Vec<GrantListEntry>) -> anyhow::Result<()> {
    let all = ListGrantsResponse { grants, next_marker: None, truncated: false };
    desk.answer(&all, |all| match all.grants.is_empty() {
        true => "no grants; `sealvol key grant create` makes one\n".to_owned(),
        false => all.grants.iter().map(row).collect(),
    })
}

fn row(grant: &GrantListEntry) -> String {
    let either = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone());
    let mut text = format!("{}\n", grant.grant_id);
    let mut row = |name: &str, value: &str| text.push_str(&format!("  {name:<10} {value}\n"));
    row("key", &grant.key_id);
    if !grant.name.is_empty() {
        row("name", &grant.name);
    }
    if let Some(who) = either(&grant.grantee_principal, &grant.grantee_service_principal) {
        row("grantee", &who);
    }
    if let Some(who) = either(&grant.retiring_principal, &grant.retiring_service_principal) {
        row("retiring", &who);
    }
    row("allows", &grant.operations.join(", "));
    if let Some(limits) = &grant.constraints {
        let pairs = |context: &sealvol::EncryptionContext| {
            context
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(context) = &limits.encryption_context_equals {
            row("context", &format!("exactly {}", pairs(context)));
        }
        if let Some(context) = &limits.encryption_context_subset {
            row("context", &format!("with {}", pairs(context)));
        }
        if let Some(arn) = &limits.source_arn {
            row("source", arn);
        }
    }
    row("made", &utc(grant.creation_date.0));
    text
}

fn retire(desk: &Desk, args: &RetireArgs) -> anyhow::Result<()> {
    let dry_run = args.dry.wanted();
    let request = match (&args.token, &args.which, &args.id) {
        (Some(token), None, None) => RetireGrantRequest {
            grant_token: Some(GrantToken(token.clone())),
            dry_run,
            ..RetireGrantRequest::default()
        },
        (None, Some(which), Some(id)) => RetireGrantRequest {
            key_id: Some(desk.key_arn(which)?),
            grant_id: Some(id.clone()),
            dry_run,
            ..RetireGrantRequest::default()
        },
        _ => {
            let text = "name the grant by --token TOKEN, or by KEY and --id GRANT_ID";
            return Err(Fail::error(exit::USAGE, text));
        }
    };
    desk.session.retire_grant(&request).told("retire the grant")?;
    desk.done("retired the grant")
}

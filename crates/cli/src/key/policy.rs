//! Key policies.

use clap::builder::FalseyValueParser;
use sealvol::kms::model::{
    GetKeyPolicyRequest, GetKeyPolicyResponse, ListKeyPoliciesRequest, PutKeyPolicyRequest,
};

use super::advice::Told as _;
use super::desk::Desk;
use super::{Which, bytes};

#[derive(Debug, clap::Subcommand)]
pub(super) enum PolicyCommand {
    /// Print the policy of a key.
    #[command(after_help = "Example:\n  sealvol key policy get alias/sealvol > policy.json")]
    Get(Which),
    /// Replace the policy of a key.
    #[command(after_help = "Examples:\n  sealvol key policy put alias/sealvol policy.json\n  \
        sealvol key policy show default | sealvol key policy put alias/sealvol -")]
    Put(PutArgs),
    /// List the names of a key's policies: there is one, default.
    #[command(after_help = "Example:\n  sealvol key policy list alias/sealvol")]
    List(Which),
    /// Print the policy of keys that are made without one: a document to start from.
    #[command(after_help = "Example:\n  sealvol key policy show default")]
    Show {
        /// Which
        #[arg(value_name = "NAME", value_parser = ["default"], default_value = "default")]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct PutArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// The policy, a JSON document (-: standard input)
    #[arg(value_name = "FILE")]
    file: String,
    /// Take a policy that keeps you from changing the policy later
    #[arg(long, env = "SEALVOL_BYPASS_POLICY_LOCKOUT_CHECK", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    bypass_policy_lockout_check: bool,
}

pub(super) fn run(desk: &Desk, command: &PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Get(Which { which }) => {
            let request = GetKeyPolicyRequest { key_id: desk.key_id(which)?, policy_name: None };
            let policy = desk.session.get_key_policy(&request);
            print(desk, &policy.told(format_args!("read the policy of {which}"))?)
        }
        PolicyCommand::Put(args) => put(desk, args),
        PolicyCommand::List(Which { which }) => {
            let key_id = desk.key_id(which)?;
            let request = ListKeyPoliciesRequest { key_id, ..ListKeyPoliciesRequest::default() };
            let names = desk.session.list_key_policies(&request);
            let names = names.told(format_args!("list the policies of {which}"))?;
            desk.answer(&names, |names| names.policy_names.join("\n") + "\n")
        }
        PolicyCommand::Show { .. } => {
            let policy = desk.kms.default_key_policy();
            print(desk, &GetKeyPolicyResponse { policy, policy_name: "default" })
        }
    }
}

fn print(desk: &Desk, policy: &GetKeyPolicyResponse) -> anyhow::Result<()> {
    desk.answer(policy, |answer| format!("{}\n", answer.policy.trim_end_matches('\n')))
}

fn put(desk: &Desk, args: &PutArgs) -> anyhow::Result<()> {
    let request = PutKeyPolicyRequest {
        policy: bytes::read_text(&args.file, "a key policy")?,
        key_id: desk.key_id(&args.which)?,
        policy_name: None,
        bypass_policy_lockout_safety_check: args.bypass_policy_lockout_check.then_some(true),
    };
    let put = desk.session.put_key_policy(&request);
    put.told(format_args!("replace the policy of {}", args.which))?;
    desk.done(&format!("replaced the policy of {}; it holds from now on", args.which))
}

//! `sealvol key`: the keys of the embedded KMS, with the operations that its endpoint has.
//!
//! Without `--as` the account root acts. `--json` prints AWS's answers; `create`, `list`, `enable`
//! and `disable` had a form of their own before, and keep it.

mod advice;
mod alias;
mod bytes;
mod crypto;
mod data_key;
mod deletion;
mod desk;
mod grant;
mod manage;
mod policy;
mod root;
mod rotation;
mod tags;

use sealvol::{KeyState, KmsError, KmsErrorKind};

use self::desk::{Acting, Desk};
use crate::global::{Global, IfMissing};

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    acting: Acting,
    #[command(subcommand)]
    command: KeyCommand,
}

/// The key of a verb.
#[derive(Debug, clap::Args)]
struct Which {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Make a key.
    #[command(after_help = manage::CREATE_EXAMPLES)]
    Create(manage::CreateArgs),
    /// List the keys and their aliases.
    #[command(after_help = "Example:\n  sealvol key list --json")]
    List,
    /// Show what a key is and which state it is in.
    #[command(after_help = "Example:\n  sealvol key describe alias/sealvol")]
    Describe(manage::DescribeArgs),
    /// Make a key unusable: its volumes can no longer be opened; open ones go on, and no data is
    /// lost.
    #[command(after_help = "Example:\n  sealvol key disable alias/sealvol")]
    Disable(Which),
    /// Make a disabled key usable again.
    #[command(after_help = "Example:\n  sealvol key enable alias/sealvol")]
    Enable(Which),
    /// Let a key be deleted when a waiting time is over; until then it is unusable.
    #[command(after_help = "Example:\n  sealvol key schedule-deletion alias/old --days 7")]
    ScheduleDeletion(deletion::ScheduleArgs),
    /// Keep a key that is to be deleted. It is disabled then.
    #[command(after_help = "Example:\n  sealvol key cancel-deletion KEY_ID")]
    CancelDeletion(Which),
    /// Say what a key is for.
    #[command(after_help = "Example:\n  sealvol key description alias/backups 'nightly backups'")]
    Description(manage::DescriptionArgs),
    /// Names of keys.
    #[command(subcommand)]
    Alias(alias::AliasCommand),
    /// Key policies: who may use and manage a key.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Add tags to a key, or give them new values.
    #[command(after_help = "Example:\n  sealvol key tag alias/backups team=storage stage=prod")]
    Tag(tags::TagArgs),
    /// Take tags off a key; those that are not there are ignored.
    #[command(after_help = "Example:\n  sealvol key untag alias/backups stage")]
    Untag(tags::UntagArgs),
    /// List the tags of a key.
    #[command(after_help = "Example:\n  sealvol key tags alias/backups")]
    Tags(Which),
    /// New material for a key, by itself after each period.
    #[command(subcommand)]
    Rotation(rotation::RotationCommand),
    /// Give a key new material now. What the old one sealed still opens.
    #[command(after_help = "Example:\n  sealvol key rotate alias/sealvol")]
    Rotate(Which),
    /// Grants: a key's use by another principal, within limits.
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Encrypt 1 to 4096 bytes.
    #[command(after_help = crypto::ENCRYPT_EXAMPLES)]
    Encrypt(crypto::EncryptArgs),
    /// Decrypt what a key of this KMS encrypted.
    #[command(after_help = crypto::DECRYPT_EXAMPLES)]
    Decrypt(crypto::DecryptArgs),
    /// Encrypt under another key or context, without the plaintext leaving the KMS.
    #[command(after_help = crypto::RE_ENCRYPT_EXAMPLES)]
    ReEncrypt(crypto::ReEncryptArgs),
    /// Make a data key, in plaintext and encrypted.
    #[command(after_help = data_key::EXAMPLES)]
    GenerateDataKey(data_key::DataKeyArgs),
    /// Make random bytes.
    #[command(after_help = "Example:\n  sealvol key random 32 --out seed.bin")]
    Random(data_key::RandomArgs),
    /// Seal the KMS anew: under a fresh key file, or under a passphrase.
    #[command(after_help = root::EXAMPLES)]
    RotateRoot(root::RotateRootArgs),
}

pub(crate) fn run(args: &KeyArgs, global: &Global) -> anyhow::Result<()> {
    let if_missing = match &args.command {
        KeyCommand::Create(_) => IfMissing::Make,
        _ => IfMissing::Fail,
    };
    let desk = Desk::open(global, &args.acting, if_missing)?;
    match run_at(&desk, &args.command) {
        Err(error) if is_good_dry_run(&error) => desk.dry_run(),
        outcome => outcome,
    }
}

fn run_at(desk: &Desk, command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create(args) => manage::create(desk, args),
        KeyCommand::List => manage::list(desk),
        KeyCommand::Describe(args) => manage::describe(desk, args),
        KeyCommand::Disable(Which { which }) => manage::set_state(desk, which, KeyState::Disabled),
        KeyCommand::Enable(Which { which }) => manage::set_state(desk, which, KeyState::Enabled),
        KeyCommand::ScheduleDeletion(args) => deletion::schedule(desk, args),
        KeyCommand::CancelDeletion(Which { which }) => deletion::cancel(desk, which),
        KeyCommand::Description(args) => manage::set_description(desk, args),
        KeyCommand::Alias(command) => alias::run(desk, command),
        KeyCommand::Policy(command) => policy::run(desk, command),
        KeyCommand::Tag(args) => tags::tag(desk, args),
        KeyCommand::Untag(args) => tags::untag(desk, args),
        KeyCommand::Tags(Which { which }) => tags::list(desk, which),
        KeyCommand::Rotation(command) => rotation::run(desk, command),
        KeyCommand::Rotate(Which { which }) => rotation::rotate(desk, which),
        KeyCommand::Grant(command) => grant::run(desk, command),
        KeyCommand::Encrypt(args) => crypto::encrypt(desk, args),
        KeyCommand::Decrypt(args) => crypto::decrypt(desk, args),
        KeyCommand::ReEncrypt(args) => crypto::re_encrypt(desk, args),
        KeyCommand::GenerateDataKey(args) => data_key::generate(desk, args),
        KeyCommand::Random(args) => data_key::random(desk, args),
        KeyCommand::RotateRoot(args) => root::rotate(desk, args),
    }
}

/// A dry run never succeeds: this error is its good outcome.
fn is_good_dry_run(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<KmsError>())
        .any(|error| error.kind() == KmsErrorKind::DryRun)
}

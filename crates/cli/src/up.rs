//! `sealvol up`: the daemon. It puts together what the libraries offer: the embedded KMS, identities,
//! the audit, the endpoint; here is their order, what is said when it is up, and the orderly end.

mod config;
mod credentials;
mod files;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sealvol::{DeviceError, SystemClock, SystemEntropy};
use sealvol_api::{AuthMode, Ended, Endpoint, EndpointParts, IamPrincipals, ServeError, Server};
use sealvol_iam::{Directory, Known, Sessions};
use sealvol_kms::audit::{AuditSink, JsonlAudit, JsonlSettings};
use sealvol_kms::{Kms, KmsParts, KmsSettings};
use sealvol_policy::AccountId;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use self::config::Config;
use self::credentials::Credentials;
use self::files::DataDir;
use crate::exit::{self, Fail};
use crate::global::{Global, KmsChoice};
use crate::output;
use crate::signals::Signals;

/// How often keys whose rotation or deletion is due are looked for.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// Threads that a change still holds are waited for so long, once everything else has ended.
const LAST_WAIT: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
Examples:
  sealvol up --data /var/lib/sealvol
  sealvol up --listen 127.0.0.1:0 --json

The first start makes an account with one access key, in DIR/credentials. What the daemon prints when
it is up can be pasted into a shell to point the aws command at it.

There is no TLS: data keys that clients ask for cross the wire in clear. Listen beyond loopback only
behind something that ends TLS.

SIGTERM and SIGINT end it in order; a second one ends it at once.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct UpArgs {
    /// Where to listen; port 0 is any that is free
    #[arg(long, env = "SEALVOL_LISTEN", hide_env = true)]
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:4599")]
    listen: SocketAddr,

    /// How requests are authenticated. `any` is for throw-away tests, on loopback only
    #[arg(long, env = "SEALVOL_AUTH", hide_env = true, value_enum)]
    #[arg(value_name = "MODE", default_value_t = Auth::Signature)]
    auth: Auth,

    /// Accounts, users, roles, access keys and limits, as TOML
    #[arg(long, env = "SEALVOL_CONFIG", hide_env = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Auth {
    /// Signatures (SigV4) are verified
    Signature,
    /// Every access key is the account root, whatever signature comes with it
    Any,
}

impl From<Auth> for AuthMode {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::Signature => Self::Signature,
            Auth::Any => Self::Any,
        }
    }
}

/// What was put together.
struct Daemon {
    endpoint: Arc<Endpoint>,
    kms: Option<Arc<Kms>>,
    audit: Arc<JsonlAudit>,
    credentials: PathBuf,
    account: AccountId,
    region: String,
    /// Released last.
    _data: DataDir,
}

pub(crate) fn run(args: &UpArgs, global: &Global) -> anyhow::Result<()> {
    let daemon = assemble(args, global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    // Before anybody is told that it is up.
    let mut signals = Signals::new(&runtime)?;
    let server = bind(&runtime, args.listen, &daemon)?;
    warn_beyond_loopback(server.address());
    Ready::new(&server, &daemon, args, global).print(global.json)?;
    runtime.block_on(serve(server, &daemon, &mut signals));
    runtime.shutdown_timeout(LAST_WAIT);
    daemon.audit.flush();
    Ok(())
}

/// Opens everything in the data directory, and makes what is not there.
fn assemble(args: &UpArgs, global: &Global) -> anyhow::Result<Daemon> {
    let data = DataDir::lock(&global.data)?;
    let Config { mut iam, kms: settings, server } = Config::read(args.config.as_deref())?;
    let account = AccountId::parse(&settings.account).ok_or_else(|| {
        Fail::error(exit::USAGE, "the configuration's kms.account is not an account's 12 digits")
    })?;
    let (region, entropy) = (settings.region.clone(), Arc::new(SystemEntropy));
    let credentials_path = data.path().join("credentials");
    let credentials = Credentials::open(&credentials_path, &region, &*entropy)?;
    credentials.add_root_key(&mut iam, &settings.account);

    let known = match args.auth {
        Auth::Signature => Known::Configured,
        Auth::Any => Known::Anybody,
    };
    let mut read_file = config::policy_files(args.config.as_deref());
    let limits = sealvol_policy::Limits::default();
    let directory = Directory::build(iam, known, &limits, &mut read_file).map_err(|error| {
        Fail::error(exit::USAGE, format!("the configuration cannot be used: {error}"))
    })?;
    let directory = Arc::new(directory);
    let session_key = files::secret_of(&data.path().join("session-key"), &*entropy)?;
    let sessions = Arc::new(Sessions::new(&session_key));

    let clock = Arc::new(SystemClock::new());
    let audit_dir = data.path().join("audit");
    let audit = JsonlAudit::open(&audit_dir, JsonlSettings::default(), clock.clone())
        .with_context(|| format!("cannot open the audit in {}", audit_dir.display()))?;
    let audit = Arc::new(audit);
    let kms = served_kms(global, settings, &directory, &audit)?;
    let endpoint = Endpoint::new(EndpointParts {
        kms: kms.clone(),
        directory,
        sessions,
        auth: args.auth.into(),
        account,
        region: region.clone(),
        clock,
        entropy,
        audit: Some(Arc::clone(&audit)),
        settings: server,
    });
    let credentials = credentials_path;
    Ok(Daemon { endpoint, kms, audit, credentials, account, region, _data: data })
}

/// The KMS behind the endpoint: the embedded one, or none when volumes use AWS's.
fn served_kms(
    global: &Global,
    settings: KmsSettings,
    directory: &Arc<Directory>,
    audit: &Arc<JsonlAudit>,
) -> anyhow::Result<Option<Arc<Kms>>> {
    let dir = match &global.kms {
        None => global.data.join("kms"),
        Some(KmsChoice::File(dir)) => dir.clone(),
        // Volumes and tasks get their keys from there; nothing of it goes through this endpoint.
        Some(KmsChoice::Aws(_)) => return Ok(None),
    };
    let sink: Arc<dyn AuditSink> = audit.clone();
    let parts = KmsParts {
        directory: Some(Arc::new(IamPrincipals::new(Arc::clone(directory)))),
        audit: Some(sink),
    };
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    let kms = Kms::open_dir_with(&dir, &global.root_key()?, settings, clock, entropy, parts)
        .map_err(DeviceError::from)
        .with_context(|| format!("cannot open the KMS in {}", dir.display()))?;
    Ok(Some(kms))
}

fn bind(runtime: &Runtime, address: SocketAddr, daemon: &Daemon) -> anyhow::Result<Server> {
    let bound = runtime.block_on(Server::bind(address, Arc::clone(&daemon.endpoint)));
    bound.map_err(|error| {
        let code = match &error {
            ServeError::Listen { source, .. } => match source.kind() {
                std::io::ErrorKind::AddrInUse => exit::CONFLICT,
                std::io::ErrorKind::PermissionDenied => exit::DENIED,
                _ => exit::GENERAL,
            },
            _ => exit::USAGE,
        };
        let text = match &error {
            ServeError::Listen { source, .. } if code == exit::CONFLICT => {
                format!("{error}: {source}; choose another address with --listen")
            }
            ServeError::Listen { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Fail::error(code, text)
    })
}

/// Says what whoever reads the wire would see.
fn warn_beyond_loopback(address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            %address,
            "listening beyond loopback without TLS: data keys that clients ask for cross the network in \
             clear; put something that ends TLS in front, or listen on 127.0.0.1"
        );
    }
}

/// Serves until a signal, and ends in order.
async fn serve(server: Server, daemon: &Daemon, signals: &mut Signals) {
    if let Some(kms) = daemon.kms.clone() {
        tokio::spawn(settle(kms));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        // Dropped is as good as sent.
        let _stopped = stopped.await.is_ok();
    });
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        signal = signals.next() => {
            tracing::info!(signal, "ending: running requests are finished");
            drop(stop);
            tokio::select! {
                ended = &mut serving => ended,
                _ = signals.next() => std::process::exit(i32::from(exit::INTERRUPTED)),
            }
        }
    };
    if let Ended::Cut(connections) = ended {
        tracing::warn!(connections, "connections were cut: their requests did not end in time");
    }
}

/// Does what is due in the KMS, also when nobody calls.
async fn settle(kms: Arc<Kms>) {
    let mut ticks = tokio::time::interval(SETTLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let of_thread = Arc::clone(&kms);
        match tokio::task::spawn_blocking(move || of_thread.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what is due in the KMS failed"),
            Err(error) => tracing::error!(%error, "what is due in the KMS ended badly"),
        }
    }
}

/// What is said when the daemon is up.
#[derive(Serialize)]
struct Ready<'a> {
    address: SocketAddr,
    url: String,
    auth: &'static str,
    kms: &'static str,
    account: &'a str,
    region: &'a str,
    data: &'a Path,
    credentials: PathBuf,
}

impl<'a> Ready<'a> {
    fn new(server: &Server, daemon: &'a Daemon, args: &UpArgs, global: &'a Global) -> Self {
        let address = server.address();
        let credentials = std::path::absolute(&daemon.credentials);
        Self {
            address,
            url: format!("http://{address}"),
            auth: match args.auth {
                Auth::Signature => "signature",
                Auth::Any => "any",
            },
            kms: if daemon.kms.is_some() { "embedded" } else { "off" },
            account: daemon.account.as_str(),
            region: &daemon.region,
            data: &global.data,
            credentials: credentials.unwrap_or_else(|_| daemon.credentials.clone()),
        }
    }

    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json { output::json(self) } else { output::text(&self.text()) }
    }

    fn text(&self) -> String {
        let Self { url, account, region, .. } = self;
        let serves = match self.kms {
            "off" => "STS; the KMS endpoint is off, because --kms aws keeps the keys at AWS",
            _ => "KMS and STS",
        };
        let auth = match self.auth {
            "any" => "\n  no signature is checked: every access key is the account root",
            _ => "",
        };
        let credentials = quoted(&self.credentials.to_string_lossy());
        format!(
            "sealvol is up at {url}\n  {serves}; account {account}, region {region}; also /healthz and \
             /metrics{auth}\n  data in {data}\n\nTo point the aws command or an SDK at it:\n\n  \
             unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE\n  \
             export AWS_SHARED_CREDENTIALS_FILE={credentials}\n  \
             export AWS_ENDPOINT_URL={url}\n  \
             export AWS_REGION={region} AWS_DEFAULT_REGION={region}\n\n  \
             aws kms create-key\n",
            data = self.data.display(),
        )
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted("/a/b-1.c"), "/a/b-1.c");
        assert_eq!(quoted("/a b/$x"), "'/a b/$x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

//! `sealvol volume serve`: a volume over NBD, in the foreground.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use sealvol::nbd::{Export, Exports, Server};
use sealvol::{BlockDevice as _, ErrorKind, Volume};
use serde::Serialize;

use super::args::OpenArgs;
use crate::exit::{self, Fail};
use crate::global::{Global, IfMissing};
use crate::output;
use crate::progress::size;
use crate::signals::{self, Signals};

pub(super) const EXAMPLES: &str = "\
Examples:
  sealvol volume serve disk.vol --nbd unix:/tmp/disk.sock
  sealvol volume serve disk.vol --nbd unix:/tmp/disk.sock --nbd tcp:127.0.0.1:10809 --read-only

It prints a line that starts with `ready:` when clients can connect. SIGINT or SIGTERM answers what
has arrived, closes the volume in order and exits with 0; a second signal ends it at once, as a
crash, which loses nothing that was flushed.";

/// How long requests that were begun may take at the end.
const GRACE: Duration = Duration::from_secs(10);
/// The port that NBD has from IANA.
const NBD_PORT: u16 = 10809;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The volume file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Where to listen: unix:SOCK or tcp:ADDR:PORT (repeat it for several)
    #[arg(long, env = "SEALVOL_NBD", hide_env = true, value_name = "ADDR", required = true)]
    nbd: Vec<NbdAddress>,
    /// Refuse writes; the file is not changed, not even to recover from a crash
    #[arg(long, env = "SEALVOL_READ_ONLY", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    read_only: bool,
    /// The name that clients ask for; the default export is the empty name
    #[arg(long, env = "SEALVOL_EXPORT_NAME", hide_env = true, value_name = "NAME")]
    #[arg(default_value = "")]
    export_name: String,
    /// Listen on TCP beyond loopback, without encryption or authentication
    #[arg(long, env = "SEALVOL_INSECURE_TCP", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    insecure_tcp: bool,
    /// Open a volume whose log is damaged, and lose what followed the damage
    #[arg(long, env = "SEALVOL_ACCEPT_TRUNCATION", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    accept_truncation: bool,
    /// Give no space back to the host: for a volume made with --provisioning prewritten
    #[arg(long, env = "SEALVOL_KEEP_SPACE", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    keep_space: bool,
    #[command(flatten)]
    open: OpenArgs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NbdAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl FromStr for NbdAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) if !address.is_empty() => resolve(address)
                .map(Self::Tcp)
                .ok_or_else(|| format!("'{address}' is not an address; write tcp:127.0.0.1:10809")),
            _ => Err("write unix:SOCK or tcp:ADDR:PORT".into()),
        }
    }
}

fn resolve(text: &str) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse() {
        return Some(SocketAddr::new(ip, NBD_PORT));
    }
    let with_port = if text.contains(':') { text.to_owned() } else { format!("{text}:{NBD_PORT}") };
    with_port.to_socket_addrs().ok()?.next()
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    uris: &'a [String],
    volume: &'a str,
    id: String,
    size: u64,
    read_only: bool,
    replayed_groups: u64,
}

pub(super) fn run(args: &ServeArgs, global: &Global) -> anyhow::Result<()> {
    for address in &args.nbd {
        check_address(address, args.insecure_tcp)?;
    }
    let mut options =
        args.open.options()?.read_only(args.read_only).accept_truncation(args.accept_truncation);
    if args.keep_space {
        options = options.keep_space();
    }
    // Before anything is open, so that an early signal is not a crash.
    let runtime = signals::runtime()?;
    let mut signals = Signals::new(&runtime)?;
    let keys = global.keys(IfMissing::Fail)?;
    let volume = Arc::new(runtime.block_on(Volume::open(&args.path, options, &*keys.service))?);

    let served = serve(args, global, &volume, || runtime.block_on(signals.next()));
    signals.end_at_next(runtime)?;
    // The server is gone, and with it every other holder.
    let closed = match Arc::into_inner(volume) {
        Some(volume) => volume.close().map_err(anyhow::Error::from),
        None => Err(Fail::error(
            exit::GENERAL,
            "requests were still running at the end; the volume is left as after a crash, and the \
             next open recovers it",
        )),
    };
    served?;
    closed?;
    tracing::info!("closed in order");
    Ok(())
}

fn check_address(address: &NbdAddress, insecure: bool) -> anyhow::Result<()> {
    match address {
        NbdAddress::Tcp(address) if !address.ip().is_loopback() && !insecure => Err(Fail::error(
            exit::USAGE,
            format!(
                "tcp:{address} is reachable from other machines, and this NBD server has neither \
                 encryption nor authentication yet (TLS comes with `sealvol up`); use unix:SOCK or \
                 tcp:127.0.0.1:PORT, or take the risk with --insecure-tcp"
            ),
        )),
        _ => Ok(()),
    }
}

/// Serves until `wait` returns, then ends every connection.
fn serve(
    args: &ServeArgs,
    global: &Global,
    volume: &Arc<Volume>,
    wait: impl FnOnce() -> &'static str,
) -> anyhow::Result<()> {
    let exports = Exports::new();
    let device: Arc<Volume> = Arc::clone(volume);
    let export = Export::new(&args.export_name, device).with_description(&volume.details().name);
    exports.add(export).context("--export-name cannot be used")?;
    let server = Server::builder().exports(exports).build()?;
    let mut uris = Vec::new();
    for address in &args.nbd {
        uris.push(match address {
            NbdAddress::Unix(path) => {
                server.listen_unix(path).with_context(|| cannot_listen(&path.display()))?;
                unix_uri(path, &args.export_name)
            }
            NbdAddress::Tcp(address) => {
                let bound = server.listen_tcp(*address).with_context(|| cannot_listen(address))?;
                tcp_uri(bound, &args.export_name)
            }
        });
    }
    announce(args, global, volume, &uris)?;
    let signal = wait();
    tracing::info!(signal, "ending");
    match server.shutdown(GRACE) {
        Err(error) if error.kind() == ErrorKind::Retry => {
            tracing::warn!(%error, "waiting once more");
            server.shutdown(GRACE).context("some requests do not end; is the disk hanging?")
        }
        other => other.map_err(anyhow::Error::from),
    }
}

fn cannot_listen(address: &dyn std::fmt::Display) -> String {
    format!("cannot listen on {address}; choose another address, or end what uses it")
}

fn announce(
    args: &ServeArgs,
    global: &Global,
    volume: &Volume,
    uris: &[String],
) -> anyhow::Result<()> {
    let (details, report) = (volume.details(), volume.report());
    let info = volume.info();
    if global.json {
        return output::json(&Ready {
            ready: true,
            uris,
            volume: &details.name,
            id: details.id.to_string(),
            size: info.len.0,
            read_only: info.read_only,
            replayed_groups: report.replayed_groups,
        });
    }
    let mut text = format!(
        "serving {} ({}, {}{})\n",
        args.path.display(),
        details.name,
        size(info.len),
        if info.read_only { ", read-only" } else { "" }
    );
    if !report.clean {
        text.push_str(&format!(
            "recovered from a crash: {} groups replayed\n",
            report.replayed_groups
        ));
    }
    if let Some(damage) = &report.corruption {
        text.push_str(&format!("the log is damaged, the latest writes are missing: {damage}\n"));
    }
    if let Some(uri) = uris.first() {
        text.push_str(&format!(
            "try:\n  nbdinfo '{uri}'\n  nbdcopy --progress '{uri}' copy.raw\n  qemu-img info \
             '{uri}'\n  qemu-system-x86_64 -drive file='{uri}',format=raw,if=virtio\n"
        ));
    }
    for uri in uris {
        text.push_str(&format!("ready: {uri}\n"));
    }
    output::text(&text)
}

fn unix_uri(path: &Path, export: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = escape(path.as_os_str().as_encoded_bytes(), b"/");
    format!("nbd+unix:///{}?socket={path}", escape(export.as_bytes(), b""))
}

fn tcp_uri(address: SocketAddr, export: &str) -> String {
    match escape(export.as_bytes(), b"") {
        name if name.is_empty() => format!("nbd://{address}"),
        name => format!("nbd://{address}/{name}"),
    }
}

/// Percent-encodes all but unreserved characters and those in `keep`.
fn escape(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse() {
        assert_eq!("unix:/tmp/s".parse(), Ok(NbdAddress::Unix("/tmp/s".into())));
        let tcp = |text: &str| Ok(NbdAddress::Tcp(text.parse().unwrap()));
        assert_eq!("tcp:127.0.0.1:0".parse(), tcp("127.0.0.1:0"));
        assert_eq!("tcp:127.0.0.1".parse(), tcp("127.0.0.1:10809"));
        assert_eq!("tcp:[::1]:9".parse(), tcp("[::1]:9"));
        assert_eq!("tcp:::1".parse(), tcp("[::1]:10809"));
        for bad in ["", "unix:", "tcp:", "/tmp/s", "tcp:1.2.3.4:x"] {
            assert!(bad.parse::<NbdAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_without_a_flag() {
        let check = |text: &str, insecure| check_address(&text.parse().unwrap(), insecure);
        check("tcp:127.0.0.1:1", false).unwrap();
        check("tcp:[::1]:1", false).unwrap();
        check("unix:/x", false).unwrap();
        check("tcp:0.0.0.0:1", true).unwrap();
        for open in ["tcp:0.0.0.0:1", "tcp:[::]:1", "tcp:10.0.0.1:1"] {
            let error = check(open, false).unwrap_err();
            assert_eq!(exit::code_of(&error), exit::USAGE);
            assert!(error.to_string().contains("TLS") && error.to_string().contains("--insecure"));
        }
    }

    #[test]
    fn uris_are_escaped() {
        assert_eq!(unix_uri(Path::new("/a b/s"), ""), "nbd+unix:///?socket=/a%20b/s");
        assert_eq!(unix_uri(Path::new("/s"), "v/1"), "nbd+unix:///v%2F1?socket=/s");
        let address = "127.0.0.1:10809".parse().unwrap();
        assert_eq!(tcp_uri(address, ""), "nbd://127.0.0.1:10809");
        assert_eq!(tcp_uri(address, "x"), "nbd://127.0.0.1:10809/x");
    }
}

//! Our NBD server against others, by fio over Unix sockets: a sealed volume against `qemu-nbd` with
//! LUKS and plaintext, and nbdkit's file plugin with its luks filter and plaintext, and its memory
//! plugin. Each device is warm, and written in full and in order before the rows that do not say
//! otherwise; "scattered" rows come after random writes, which leave a log's blocks out of order and
//! a file's where they were. Peers take turns within each row, in an order that rotates with the
//! repeats; a ratio is that of neighbours, the verdict on the median.
//!
//! Prints tables and writes `target/sealvol-nbd-compare.json`. Arguments that are not options select
//! rows whose name contains one of them. Environment: `SEALVOL_BENCH_SECONDS` (of each run, 5),
//! `SEALVOL_BENCH_REPEATS` (3), `SEALVOL_BENCH_NBD_SIZE` (1GiB), `SEALVOL_BENCH_SPACE` (percent, 130),
//! `SEALVOL_BENCH_PEERS` (names, by comma), `SEALVOL_BENCH_ALONE=1` (no read goes to a worker),
//! `SEALVOL_BENCH_STRICT=1`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench target reports")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sealvol_benches::{
    Bar, Config, Machine, Report, Result, Row, SealedVolume, VolumeShape, is_listing, median,
};
use sealvol_core::{ByteLen, Clock, SystemClock};
use sealvol_nbd::{Export, Exports, Server, Settings};

const OURS: &str = "sealvol";

/// The packages that hold the tools, by Debian's names.
const TOOLS: [(&str, &str); 4] =
    [("fio", "fio"), ("qemu-nbd", "qemu-utils"), ("qemu-img", "qemu-utils"), ("nbdkit", "nbdkit")];

/// One line of the comparison: what fio does.
struct Work {
    name: &'static str,
    rw: &'static str,
    block_len: &'static str,
    depth: &'static str,
    layout: Layout,
    /// Writes between flushes; 0 for none.
    flush_every: &'static str,
}

/// How the blocks were written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    InOrder,
    Scattered,
}

const WORK: [Work; 12] = [
    Work::new("4 KiB randread qd1", "randread", "4k", "1", Layout::InOrder),
    Work::new("4 KiB randread qd32", "randread", "4k", "32", Layout::InOrder),
    Work::new("4 KiB randwrite qd1", "randwrite", "4k", "1", Layout::InOrder),
    Work::new("4 KiB randwrite qd32", "randwrite", "4k", "32", Layout::Scattered),
    Work::new("4 KiB randwrite qd1 flush/32", "randwrite", "4k", "1", Layout::Scattered).flushed(),
    Work::new("4 KiB randwrite qd32 flush/32", "randwrite", "4k", "32", Layout::Scattered)
        .flushed(),
    Work::new("128 KiB read qd8, scattered", "read", "128k", "8", Layout::Scattered),
    Work::new("128 KiB write qd8, scattered", "write", "128k", "8", Layout::Scattered),
    Work::new("128 KiB read qd8", "read", "128k", "8", Layout::InOrder),
    Work::new("128 KiB write qd8", "write", "128k", "8", Layout::InOrder),
    Work::new("1 MiB read qd4", "read", "1m", "4", Layout::InOrder),
    Work::new("1 MiB write qd4", "write", "1m", "4", Layout::InOrder),
];

/// What brings the blocks in order, and out of it.
const FILL: Work = Work::new("initialise", "write", "1m", "8", Layout::InOrder);
const SCATTER: Work = Work::new("scatter", "randwrite", "4k", "32", Layout::Scattered);

impl Work {
    const fn new(
        name: &'static str,
        rw: &'static str,
        block_len: &'static str,
        depth: &'static str,
        layout: Layout,
    ) -> Self {
        Self { name, rw, block_len, depth, layout, flush_every: "0" }
    }

    const fn flushed(self) -> Self {
        Self { flush_every: "32", ..self }
    }

    /// How this leaves the blocks. A row's time may end before all of them are in order again.
    fn leaves(&self) -> Layout {
        if self.rw == "randwrite" { Layout::Scattered } else { self.layout }
    }

    /// The rows of the comparison; the others say what a log costs beside a file.
    fn is_judged(&self) -> bool {
        !self.name.contains("scattered")
    }

    fn writes(&self) -> bool {
        self.rw.contains("write")
    }

    fn is_large(&self) -> bool {
        self.block_len != "4k"
    }
}

/// What fio measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    iops: f64,
    mb_per_s: f64,
    p99_us: f64,
}

/// A server that runs until it is dropped.
struct Peer {
    name: &'static str,
    bar: Bar,
    socket: PathBuf,
    running: Running,
}

enum Running {
    Process(Child),
    /// In this process; kept for its drop.
    #[expect(dead_code, reason = "kept alive")]
    Ours(Server),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn require_tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| !std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "missing: {}. Install the tools: apt-get install -y --no-remove fio nbdkit qemu-utils \
         libnbd-bin",
        missing.join(", ")
    )
    .into())
}

struct Site<'a> {
    /// On the disk under test.
    data: &'a Path,
    /// Short paths, as a socket's name has 107 bytes at most.
    sockets: &'a Path,
    len: ByteLen,
    clock: SystemClock,
}

impl Site<'_> {
    fn start(&self, name: &'static str, bar: Bar) -> Result<Peer> {
        let socket = self.sockets.join(name.replace(' ', "-"));
        let running = match name {
            OURS => self.ours(&socket)?,
            "qemu-nbd" => {
                let raw = self.raw("qemu.raw")?;
                let mut command = self.qemu_nbd(&socket);
                command.args(["--format=raw"]).arg(raw);
                spawn(&mut command)?
            }
            "qemu-nbd luks" => {
                let image = self.luks("qemu.luks")?;
                let mut command = self.qemu_nbd(&socket);
                command.args(["--object", &self.secret()?, "--image-opts"]).arg(format!(
                    "driver=luks,key-secret=s0,file.driver=file,file.filename={}",
                    image.display()
                ));
                spawn(&mut command)?
            }
            "nbdkit file" => {
                let raw = self.raw("nbdkit.raw")?;
                spawn(nbdkit(&socket).arg("file").arg(raw))?
            }
            "nbdkit file luks" => {
                let image = self.luks("nbdkit.luks")?;
                let mut command = nbdkit(&socket);
                command.args(["--filter=luks", "file"]).arg(image);
                command.arg(format!("passphrase=+{}", self.passphrase()?.display()));
                spawn(&mut command)?
            }
            "nbdkit memory" => spawn(nbdkit(&socket).args(["memory", &self.len.0.to_string()]))?,
            _ => return Err(format!("no peer is named '{name}'").into()),
        };
        let mut peer = Peer { name, bar, socket, running };
        self.await_socket(&mut peer)?;
        Ok(peer)
    }

    fn ours(&self, socket: &Path) -> Result<Running> {
        let space = Config::from_env().number("SEALVOL_BENCH_SPACE", 130.0, 130.0)?;
        let space_percent = (110..=1000).find(|p| f64::from(*p) >= space).unwrap_or(130);
        let shape = VolumeShape { space_percent, ..VolumeShape::prewritten(self.len) };
        let volume = SealedVolume::create(&self.data.join("volume.sealvol"), shape)?;
        let exports = Exports::new();
        exports.add(Export::new("", Arc::new(volume.into_engine())))?;
        let mut settings = Settings::default();
        if std::env::var_os("SEALVOL_BENCH_ALONE").is_some_and(|v| v != "0") {
            settings.share_read_len = 0;
        }
        let server = Server::builder().exports(exports).settings(settings).build()?;
        server.listen_unix(socket)?;
        Ok(Running::Ours(server))
    }

    fn qemu_nbd(&self, socket: &Path) -> Command {
        let mut command = Command::new("qemu-nbd");
        command.args(["--persistent", "--shared=8", "--socket"]).arg(socket);
        command
    }

    fn raw(&self, name: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        File::create(&path)?.set_len(self.len.0)?;
        Ok(path)
    }

    fn passphrase(&self) -> Result<PathBuf> {
        let path = self.sockets.join("passphrase");
        std::fs::write(&path, "only for a bench")?;
        Ok(path)
    }

    fn secret(&self) -> Result<String> {
        Ok(format!("secret,id=s0,file={}", self.passphrase()?.display()))
    }

    /// A LUKS image with AES-256-XTS, qemu's default.
    fn luks(&self, name: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        let mut command = Command::new("qemu-img");
        command
            .args(["create", "-q", "-f", "luks", "--object", &self.secret()?])
            .args(["-o", "key-secret=s0,iter-time=50"])
            .arg(&path)
            .arg(self.len.0.to_string());
        let output = command.output().map_err(|e| format!("qemu-img: {e}"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("qemu-img create -f luks: {error}").into());
        }
        Ok(path)
    }

    fn await_socket(&self, peer: &mut Peer) -> Result<()> {
        let deadline = self.clock.monotonic() + Duration::from_secs(20);
        while !peer.socket.exists() {
            if let Running::Process(child) = &mut peer.running
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("{} ended at once: {status}", peer.name).into());
            }
            if self.clock.monotonic() > deadline {
                return Err(format!("{} does not listen after 20 s", peer.name).into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        // Bound, but perhaps not listening yet; connecting to try makes some of them complain.
        std::thread::park_timeout(Duration::from_millis(200));
        Ok(())
    }

    fn fio(&self, peer: &Peer, work: &Work, seconds: Option<f64>) -> Result<Measured> {
        let mut command = Command::new("fio");
        command
            .current_dir(self.sockets)
            .args(["--name=row", "--ioengine=nbd", "--output-format=json", "--norandommap"])
            .args(["--rw", work.rw, "--bs", work.block_len, "--iodepth", work.depth])
            .args(["--fsync", work.flush_every])
            .arg(format!("--uri=nbd+unix:///?socket={}", peer.socket.display()))
            .arg(format!("--size={}", self.len.0));
        if let Some(seconds) = seconds {
            command.arg("--time_based").arg(format!("--runtime={}ms", (seconds * 1000.0).round()));
        }
        let output = command.output().map_err(|e| format!("fio: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let parsed = text.find('{').and_then(|at| text.get(at..)).map(serde_json::from_str);
        let (true, Some(Ok(json))) = (output.status.success(), parsed) else {
            let error = String::from_utf8_lossy(&output.stderr);
            let said = text.lines().find(|line| line.starts_with("fio:")).unwrap_or_default();
            return Err(format!("fio on {}, {}: {error}{said}", peer.name, work.name).into());
        };
        let json: serde_json::Value = json;
        let side = if work.writes() { "write" } else { "read" };
        let number = |path: &str| {
            json.pointer(&format!("/jobs/0/{side}/{path}"))
                .and_then(serde_json::Value::as_f64)
                .ok_or_else(|| format!("fio's JSON has no {path}"))
        };
        Ok(Measured {
            iops: number("iops")?,
            mb_per_s: number("bw_bytes")? / 1e6,
            p99_us: number("clat_ns/percentile/99.000000")? / 1e3,
        })
    }
}

fn nbdkit(socket: &Path) -> Command {
    let mut command = Command::new("nbdkit");
    command.args(["--foreground", "--exit-with-parent", "--unix"]).arg(socket);
    command
}

fn spawn(command: &mut Command) -> Result<Running> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let name = command.get_program().to_string_lossy().into_owned();
    Ok(Running::Process(child.map_err(|e| format!("{name}: {e}"))?))
}

/// Writes every device in order, or at random.
fn arrange(
    site: &Site<'_>,
    peers: &[Peer],
    is_new: bool,
    layout: Layout,
    seconds: f64,
) -> Result<()> {
    for peer in peers {
        eprintln!("writing {}, {layout:?}", peer.name);
        if is_new || layout == Layout::InOrder {
            site.fio(peer, &FILL, None)?;
        }
        if layout == Layout::Scattered {
            site.fio(peer, &SCATTER, Some(seconds))?;
        }
    }
    rustix::fs::sync();
    Ok(())
}

/// Everything measured, by row and peer.
type Figures = BTreeMap<(usize, usize), Vec<Measured>>;

fn measure(config: &Config, site: &Site<'_>, peers: &[Peer], wanted: &[String]) -> Result<Figures> {
    let seconds = config.number("SEALVOL_BENCH_SECONDS", 5.0, 0.2)?;
    let repeats = match std::env::var_os("SEALVOL_BENCH_REPEATS") {
        Some(_) => config.repeats()?,
        None => config.pick(3, 1),
    };
    let mut layout = None;
    let mut figures = Figures::new();
    for repeat in 0..repeats {
        for (row, work) in WORK.iter().enumerate() {
            if !wanted.is_empty() && !wanted.iter().any(|w| work.name.contains(w.as_str())) {
                continue;
            }
            if layout != Some(work.layout) {
                arrange(site, peers, layout.is_none(), work.layout, seconds)?;
            }
            layout = Some(work.leaves());
            for step in 0..peers.len() {
                let index = (step + repeat) % peers.len();
                let Some(peer) = peers.get(index) else { continue };
                let measured = site.fio(peer, work, Some(seconds))?;
                if work.writes() {
                    // What one leaves dirty is not the next one's to write back.
                    rustix::fs::sync();
                }
                eprintln!(
                    "repeat {}, {:<28} {:<17} {:>9.0} op/s {:>7.0} MB/s, p99 {:>7.0} us",
                    repeat + 1,
                    work.name,
                    peer.name,
                    measured.iops,
                    measured.mb_per_s,
                    measured.p99_us,
                );
                figures.entry((row, index)).or_default().push(measured);
            }
        }
    }
    Ok(figures)
}

/// The ratios, ours over each peer's.
fn rows(figures: &Figures, peers: &[Peer]) -> Vec<Row> {
    let rate = |work: &Work, m: &Measured| if work.is_large() { m.mb_per_s } else { m.iops };
    let mut rows = Vec::new();
    for (index, work) in WORK.iter().enumerate() {
        let Some(ours) = figures.get(&(index, 0)) else { continue };
        for (at, peer) in peers.iter().enumerate().skip(1) {
            let unit = if work.is_large() { "MB/s" } else { "op/s" };
            let bar = if work.is_judged() { peer.bar } else { Bar::None };
            let mut row = Row::new(format!("{} / {}", work.name, peer.name), unit, bar);
            let theirs = figures.get(&(index, at)).map(Vec::as_slice).unwrap_or_default();
            for (peer, ours) in theirs.iter().zip(ours) {
                row.push(rate(work, peer), rate(work, ours));
            }
            let p99 = |side: &[Measured]| {
                median(&side.iter().map(|measured| measured.p99_us).collect::<Vec<_>>())
            };
            row.note = format!("p99 {:.0} us against {:.0}", p99(ours), p99(theirs));
            rows.push(row);
        }
    }
    rows
}

fn print_overview(figures: &Figures, peers: &[Peer]) {
    print!("\n{:<30}", "medians");
    for peer in peers {
        print!(" {:>17}", peer.name);
    }
    println!();
    for (index, work) in WORK.iter().enumerate() {
        if !figures.contains_key(&(index, 0)) {
            continue;
        }
        print!("{:<30}", work.name);
        for at in 0..peers.len() {
            let all = figures.get(&(index, at)).map(Vec::as_slice).unwrap_or_default();
            let of = |get: fn(&Measured) -> f64| median(&all.iter().map(get).collect::<Vec<_>>());
            if work.is_large() {
                print!(" {:>12.0} MB/s", of(|m| m.mb_per_s));
            } else {
                print!(" {:>12.0} op/s", of(|m| m.iops));
            }
        }
        println!();
    }
}

fn main() -> Result<()> {
    if is_listing() {
        return Ok(());
    }
    require_tools()?;
    let config = Config::from_env();
    let data = config.bench_dir()?;
    let sockets = tempfile::Builder::new().prefix("sealvol-nbd-").tempdir_in("/tmp")?;
    let site = Site {
        data: data.path(),
        sockets: sockets.path(),
        len: config.size("SEALVOL_BENCH_NBD_SIZE", ByteLen::gib(1), ByteLen::mib(128))?,
        clock: SystemClock::new(),
    };
    let machine = Machine::probe(data.path());
    println!("{machine}{}", if config.quick { "; QUICK: figures mean nothing" } else { "" });
    let ahead = Bar::AtLeast(1.0);
    let all = [
        (OURS, Bar::None),
        ("qemu-nbd luks", ahead),
        ("nbdkit file luks", ahead),
        ("qemu-nbd", ahead),
        ("nbdkit file", Bar::None),
        ("nbdkit memory", Bar::None),
    ];
    let chosen = std::env::var("SEALVOL_BENCH_PEERS").ok();
    let chosen: Option<Vec<&str>> =
        chosen.as_deref().map(|names| names.split(',').map(str::trim).collect());
    let peers = all
        .into_iter()
        .filter(|(name, _)| *name == OURS || chosen.as_ref().is_none_or(|c| c.contains(name)))
        .map(|(name, bar)| site.start(name, bar))
        .collect::<Result<Vec<Peer>>>()?;
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let figures = measure(&config, &site, &peers, &wanted)?;
    print_overview(&figures, &peers);
    let report = Report { machine, quick: config.quick, rows: rows(&figures, &peers) };
    println!("\n{}", Row::heading().replace("plain ", "peer  ").replace("sealed", "  ours"));
    for row in &report.rows {
        println!("{}", row.line());
    }
    let path = config.result_path("sealvol-nbd-compare.json");
    std::fs::write(&path, report.to_json()?)?;
    println!("written to {}", path.display());
    let missed = report.missed();
    if !missed.is_empty() {
        eprintln!("behind: {}", missed.join("; "));
    }
    config.judge(missed.len())
}

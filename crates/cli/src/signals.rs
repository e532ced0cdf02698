//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit;

/// A runtime for KMS calls and signals.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}

/// Both signals. From its making on they no longer end the process by themselves.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new(runtime: &Runtime) -> anyhow::Result<Self> {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next signal's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Ends the process at the next signal, from a thread of its own.
    pub(crate) fn end_at_next(mut self, runtime: Runtime) -> anyhow::Result<()> {
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(self.next());
                // As a crash: nothing acknowledged is lost.
                std::process::exit(i32::from(exit::INTERRUPTED));
            })
            .map(drop)
            .context("start a thread for signals")
    }
}

/// A flag that the first signal sets; the second ends the process.
pub(crate) fn cancel_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let mut signals = Signals::new(&runtime)?;
    let set = Arc::clone(&flag);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(signals.next());
            set.store(true, Ordering::Relaxed);
            runtime.block_on(signals.next());
            std::process::exit(i32::from(exit::INTERRUPTED));
        })
        .context("start a thread for signals")?;
    Ok(flag)
}

//! Progress on stderr: a bar on a terminal, lines where asked for, nothing else.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sealvol::{ByteLen, Progress};

use crate::global::Global;
use crate::output;

/// Shows how far one operation is.
pub(crate) struct Meter {
    what: &'static str,
    how: How,
}

enum How {
    Hidden,
    Bar(ProgressBar),
    /// The last tenth that was told.
    Lines(AtomicU64),
}

impl Meter {
    pub(crate) fn new(what: &'static str, global: &Global) -> Self {
        let how = if global.quiet {
            How::Hidden
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(
                ProgressStyle::with_template(
                    "{msg} {bar:30} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  \
                     {binary_bytes_per_sec}  {eta} left",
                )
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(what);
            How::Bar(bar)
        } else if global.progress {
            How::Lines(AtomicU64::new(0))
        } else {
            How::Hidden
        };
        Self { what, how }
    }

    pub(crate) fn update(&self, progress: Progress) {
        match &self.how {
            How::Hidden => {}
            How::Bar(bar) => {
                if let Some(total) = progress.total {
                    bar.set_length(total);
                }
                bar.set_position(progress.done);
            }
            How::Lines(last) => {
                let Some(total) = progress.total.filter(|total| *total > 0) else { return };
                let tenth =
                    u64::try_from(u128::from(progress.done) * 10 / u128::from(total)).unwrap_or(10);
                if last.fetch_max(tenth, Ordering::Relaxed) < tenth {
                    output::note(&format!(
                        "{}: {}% of {}",
                        self.what,
                        tenth * 10,
                        size(ByteLen(total))
                    ));
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }
}

/// A length for people: three digits and a unit.
pub(crate) fn size(len: ByteLen) -> String {
    indicatif::BinaryBytes(len.0).to_string()
}

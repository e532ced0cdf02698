//! The `sealvol` command: sealed volumes from a shell. Everything it does is in the `sealvol`
//! library; here are the arguments, the messages and the exit codes (see [`exit`]).

#![forbid(unsafe_code)]

mod audit;
mod bench;
mod exit;
mod global;
mod key;
mod output;
mod pairs;
mod progress;
mod signals;
mod up;
mod volume;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use tracing_subscriber::EnvFilter;

use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  sealvol up
  sealvol volume create disk.vol --size 20GiB
  sealvol volume serve disk.vol --nbd unix:/tmp/disk.sock
  sealvol volume import debian.raw debian.vol
  sealvol volume verify disk.vol
  sealvol key list

Every option can be set in the environment: SEALVOL_ and its name, such as SEALVOL_DATA or
SEALVOL_READ_ONLY=1.

Exit codes:
  0  done                             5  in use, or the name is taken
  1  I/O error, or any other          6  no space left
  2  wrong usage or impossible value  7  no such file, KMS, key or alias
  3  damage found                     8  made by a newer version, or not in this build
  4  denied: by the KMS, by a         9  a passing trouble: try again
     disabled or foreign key, or    130  ended by a signal before it was complete
     by permissions";

/// Sealed volumes: encrypted block devices whose data keys only a KMS can unwrap.
#[derive(Debug, Parser)]
#[command(name = "sealvol", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the daemon: an endpoint like AWS's, with the embedded KMS behind it.
    Up(up::UpArgs),
    /// Create, serve, copy and check volumes.
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// Manage and use the keys of the embedded KMS.
    Key(key::KeyArgs),
    /// Measure a sealed volume beside a plain one.
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  sealvol completions bash > /etc/bash_completion.d/sealvol")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli.global);
    let outcome = match &cli.command {
        Command::Up(args) => up::run(args, &cli.global),
        Command::Volume(command) => volume::run(command, &cli.global),
        Command::Key(args) => key::run(args, &cli.global),
        Command::Bench(args) => bench::run(args, &cli.global),
        Command::Completions { shell } => completions(*shell),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::code_of(&error);
            output::error(&error, code, cli.global.json);
            ExitCode::from(code)
        }
    }
}

/// Logs go to stderr, so that stdout is for results.
fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        // The AWS SDK's and its transports' own traces show what must not be shown.
        (false, _) => "trace,aws_=info,h2=info,hyper=info,rustls=info",
    };
    let filter = EnvFilter::builder()
        .with_env_var("SEALVOL_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(level));
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(global.verbose > 1)
        .init();
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sealvol", &mut script);
    output::text(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The rule of the help text: every option has its variable.
    #[test]
    fn every_option_has_an_environment_variable() {
        fn check(command: &clap::Command) {
            let own = command.get_opts().filter(|arg| {
                !["help", "version"].contains(&arg.get_id().as_str())
                    && command.get_name() != "bench"
            });
            for arg in own {
                let name = arg.get_long().unwrap().replace('-', "_").to_uppercase();
                let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
                assert_eq!(env, Some(format!("SEALVOL_{name}")), "{}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}

//! `sealvol volume`: a volume's life from a shell.

mod args;
mod copy;
mod create;
mod info;
mod serve;
mod verify;

use crate::global::Global;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make an empty volume.
    #[command(after_help = create::EXAMPLES)]
    Create(create::CreateArgs),
    /// Show what a volume file tells without its key.
    #[command(after_help = info::EXAMPLES)]
    Info(info::InfoArgs),
    /// Serve a volume over NBD until SIGINT or SIGTERM.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Copy a raw image or block device into a volume.
    #[command(after_help = copy::IMPORT_EXAMPLES)]
    Import(copy::ImportArgs),
    /// Copy a volume's content to a raw image or block device, in plaintext.
    #[command(after_help = copy::EXPORT_EXAMPLES)]
    Export(copy::ExportArgs),
    /// Read every block of a volume and list what is damaged.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
}

pub(crate) fn run(command: &VolumeCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        VolumeCommand::Create(args) => create::run(args, global),
        VolumeCommand::Info(args) => info::run(args, global),
        VolumeCommand::Serve(args) => serve::run(args, global),
        VolumeCommand::Import(args) => copy::import(args, global),
        VolumeCommand::Export(args) => copy::export(args, global),
        VolumeCommand::Verify(args) => verify::run(args, global),
    }
}

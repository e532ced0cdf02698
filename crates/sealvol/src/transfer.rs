//! Plain images in and out: sparse-aware, one thread reading ahead while another writes.

mod export;
mod import;
mod pipe;

pub use export::{ExportOptions, ExportReport, export_raw};
pub use import::{ImportReport, import_new, import_raw, import_reader, raw_len};

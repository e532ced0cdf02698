//! Data keys and random bytes.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use sealvol::kms::model::{GenerateDataKeyRequest, GenerateDataKeyResponse, GenerateRandomRequest};
use serde_json::json;

use super::advice::Told as _;
use super::bytes::{self, Kind, OutArgs};
use super::crypto::Common;
use super::desk::{Desk, grant_tokens};
use crate::exit::{self, Fail};
use crate::output;

pub(super) const EXAMPLES: &str = "Examples:
  sealvol key generate-data-key alias/sealvol --plaintext-out data.key \\
    --ciphertext-out data.key.sealed --context file=backup.tar
  sealvol key generate-data-key alias/sealvol --without-plaintext --bytes 64 > data.key.sealed
  sealvol key decrypt data.key.sealed --context file=backup.tar | program";

#[derive(Debug, clap::Args)]
pub(super) struct DataKeyArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// Its length, 1 to 1024
    #[arg(long, env = "SEALVOL_BYTES", hide_env = true, value_name = "N", conflicts_with = "spec")]
    bytes: Option<i64>,
    /// Its kind, AES_128 or AES_256 [default: AES_256]
    #[arg(long, env = "SEALVOL_SPEC", hide_env = true, value_name = "SPEC")]
    spec: Option<String>,
    /// Make it encrypted only
    #[arg(long, env = "SEALVOL_WITHOUT_PLAINTEXT", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new(), conflicts_with = "plaintext_out")]
    without_plaintext: bool,
    /// Write the data key itself to FILE, which must not exist, mode 0600
    #[arg(long, env = "SEALVOL_PLAINTEXT_OUT", hide_env = true, value_name = "FILE")]
    plaintext_out: Option<PathBuf>,
    /// Write the encrypted data key to FILE, which must not exist, instead of to standard output
    #[arg(long, env = "SEALVOL_CIPHERTEXT_OUT", hide_env = true, value_name = "FILE")]
    ciphertext_out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct RandomArgs {
    /// How many, 1 to 1024
    #[arg(value_name = "N")]
    count: i64,
    #[command(flatten)]
    out: OutArgs,
}

pub(super) fn generate(desk: &Desk, args: &DataKeyArgs) -> anyhow::Result<()> {
    let (plain_out, sealed_out) = (args.plaintext_out.as_deref(), args.ciphertext_out.as_deref());
    let with_plaintext = !args.without_plaintext;
    if with_plaintext && plain_out.is_none() && !desk.json {
        return Err(Fail::error(
            exit::USAGE,
            "say where the data key goes: --plaintext-out FILE, or --without-plaintext for the \
             encrypted one alone, or --json for both on standard output",
        ));
    }
    // Before the KMS is asked. A terminal shows ciphertext in base64, but no plaintext at all.
    if with_plaintext && (plain_out.is_some() || desk.json) {
        bytes::check_out(plain_out, "--plaintext-out")?;
    }
    if sealed_out.is_some() || !desk.json {
        bytes::check_out(sealed_out, "--ciphertext-out")?;
    }
    let spec = args.spec.clone().or_else(|| args.bytes.is_none().then(|| "AES_256".to_owned()));
    let request = GenerateDataKeyRequest {
        key_id: args.which.clone(),
        encryption_context: args.common.context()?,
        number_of_bytes: args.bytes,
        key_spec: spec,
        grant_tokens: grant_tokens(&args.common.grant_token),
        recipient: None,
        dry_run: args.common.dry.wanted(),
    };
    let made = match with_plaintext {
        true => desk.session.generate_data_key(&request),
        false => desk.session.generate_data_key_without_plaintext(&request),
    };
    let made = made.told(format_args!("make a data key under {}", args.which))?;
    deliver(desk, args, &made)
}

fn deliver(desk: &Desk, args: &DataKeyArgs, made: &GenerateDataKeyResponse) -> anyhow::Result<()> {
    let (plain_out, sealed_out) = (args.plaintext_out.as_deref(), args.ciphertext_out.as_deref());
    if let (Some(path), Some(plaintext)) = (plain_out, &made.plaintext) {
        bytes::write(Some(path), "--plaintext-out", Kind::Secret, plaintext.expose_secret())?;
    }
    if sealed_out.is_some() || !desk.json {
        let sealed = &made.ciphertext_blob.0;
        let written = bytes::write(sealed_out, "--ciphertext-out", Kind::Public, sealed);
        if let (Err(_), Some(path)) = (&written, plain_out) {
            // Without its encrypted form it would be lost one day; the first error is told.
            let _removed = std::fs::remove_file(path).is_ok();
        }
        written?;
    }
    if desk.json {
        // What went to a file is not repeated.
        return match (plain_out, sealed_out) {
            (None, None) => bytes::write_json(made),
            (None, Some(_)) if made.plaintext.is_some() => bytes::write_json(&PlaintextOnly {
                plaintext: made.plaintext.as_ref(),
                key_id: &made.key_id,
                key_material_id: &made.key_material_id,
            }),
            (Some(_), None) => output::json(&json!({
                "CiphertextBlob": made.ciphertext_blob,
                "KeyId": made.key_id,
                "KeyMaterialId": made.key_material_id,
            })),
            _ => output::json(&json!({
                "KeyId": made.key_id,
                "KeyMaterialId": made.key_material_id,
            })),
        };
    }
    match (sealed_out, plain_out) {
        (Some(sealed), Some(plain)) => output::text(&format!(
            "data key in {}, encrypted in {}, under {}\nremove {} after use: `sealvol key decrypt \
             {}` makes it again\n",
            plain.display(),
            sealed.display(),
            made.key_id,
            plain.display(),
            sealed.display()
        )),
        (Some(sealed), None) => output::text(&format!(
            "encrypted data key in {}, under {}\n",
            sealed.display(),
            made.key_id
        )),
        (None, _) => Ok(()),
    }
}

/// AWS's answer without what went to a file.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlaintextOnly<'a> {
    plaintext: Option<&'a sealvol::kms::model::SecretBlob>,
    key_id: &'a str,
    key_material_id: &'a str,
}

pub(super) fn random(desk: &Desk, args: &RandomArgs) -> anyhow::Result<()> {
    let out = args.out.path();
    bytes::check_out(out, "--out")?;
    let request = GenerateRandomRequest {
        number_of_bytes: Some(args.count),
        ..GenerateRandomRequest::default()
    };
    let made = desk.session.generate_random(&request).told("make random bytes")?;
    if desk.json && out.is_none() {
        return bytes::write_json(&made);
    }
    bytes::write(out, "--out", Kind::Secret, made.plaintext.expose_secret())?;
    match out {
        None => Ok(()),
        Some(path) => desk.done(&format!("{} random bytes in {}", args.count, path.display())),
    }
}

//! Encrypting, decrypting, and encrypting anew.

use std::path::Path;

use clap::builder::FalseyValueParser;
use sealvol::EncryptionContext;
use sealvol::kms::model::{Blob, DecryptRequest, EncryptRequest, ReEncryptRequest};
use serde_json::json;

use super::advice::Told as _;
use super::bytes::{self, CIPHERTEXT_MAX, Kind, OutArgs, PLAINTEXT_MAX};
use super::desk::{Desk, grant_tokens};
use super::grant::DryRun;
use crate::output;
use crate::pairs::{context, parse_pair};

pub(super) const ENCRYPT_EXAMPLES: &str = "Examples:
  sealvol key encrypt alias/sealvol token.txt --out token.sealed --context app=web
  printf %s \"$TOKEN\" | sealvol key encrypt alias/sealvol - > token.sealed

For more than 4096 bytes, encrypt with a data key: sealvol key generate-data-key.";

pub(super) const DECRYPT_EXAMPLES: &str = "Examples:
  sealvol key decrypt token.sealed --out token.txt --context app=web
  sealvol key decrypt - --key-id alias/sealvol < token.sealed | program";

pub(super) const RE_ENCRYPT_EXAMPLES: &str = "Example:
  sealvol key re-encrypt old.sealed --to-key alias/new --context app=web --out new.sealed";

/// What every cryptographic verb takes.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// A pair of the encryption context, which is public and bound to the ciphertext (repeat it)
    #[arg(long, env = "SEALVOL_CONTEXT", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    context: Vec<(String, String)>,
    /// A grant to consider, by its token (repeat it)
    #[arg(long, env = "SEALVOL_GRANT_TOKEN", hide_env = true, value_name = "TOKEN")]
    #[arg(value_delimiter = ',')]
    pub(super) grant_token: Vec<String>,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

impl Common {
    pub(super) fn context(&self) -> anyhow::Result<EncryptionContext> {
        context(&self.context)
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct EncryptArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// The bytes (-: standard input)
    #[arg(value_name = "FILE")]
    input: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DecryptArgs {
    /// The ciphertext (-: standard input)
    #[arg(value_name = "FILE")]
    input: String,
    /// Refuse what another key encrypted: id, ARN or alias
    #[arg(long, env = "SEALVOL_KEY_ID", hide_env = true, value_name = "KEY")]
    key_id: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReEncryptArgs {
    /// The ciphertext (-: standard input)
    #[arg(value_name = "FILE")]
    input: String,
    /// The new key: id, ARN or alias
    #[arg(long, env = "SEALVOL_TO_KEY", hide_env = true, value_name = "KEY")]
    to_key: String,
    /// A pair of the new encryption context (repeat it) [default: those of --context]
    #[arg(long, env = "SEALVOL_TO_CONTEXT", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',', conflicts_with = "to_no_context")]
    to_context: Vec<(String, String)>,
    /// No encryption context from now on
    #[arg(long, env = "SEALVOL_TO_NO_CONTEXT", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    to_no_context: bool,
    /// Refuse what another key encrypted: id, ARN or alias
    #[arg(long, env = "SEALVOL_KEY_ID", hide_env = true, value_name = "KEY")]
    key_id: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    out: OutArgs,
}

pub(super) fn encrypt(desk: &Desk, args: &EncryptArgs) -> anyhow::Result<()> {
    let out = args.out.path();
    check_public(desk, out)?;
    let what = "a key to encrypt by itself; use `sealvol key generate-data-key` for more";
    let plaintext = bytes::read(&args.input, PLAINTEXT_MAX, what)?;
    let request = EncryptRequest {
        key_id: args.which.clone(),
        plaintext: Some(plaintext),
        encryption_context: args.common.context()?,
        grant_tokens: grant_tokens(&args.common.grant_token),
        encryption_algorithm: None,
        dry_run: args.common.dry.wanted(),
    };
    let sealed = desk.session.encrypt(&request);
    let sealed = sealed.told(format_args!("encrypt under {}", args.which))?;
    if desk.json && out.is_none() {
        return output::json(&sealed);
    }
    bytes::write(out, "--out", Kind::Public, &sealed.ciphertext_blob.0)?;
    let algorithm = sealed.encryption_algorithm;
    wrote(
        desk,
        out,
        "encrypted",
        &sealed.key_id,
        &json!({
            "KeyId": sealed.key_id, "EncryptionAlgorithm": algorithm,
        }),
    )
}

pub(super) fn decrypt(desk: &Desk, args: &DecryptArgs) -> anyhow::Result<()> {
    let out = args.out.path();
    bytes::check_out(out, "--out")?;
    let request = DecryptRequest {
        ciphertext_blob: Some(ciphertext(&args.input)?),
        encryption_context: args.common.context()?,
        grant_tokens: grant_tokens(&args.common.grant_token),
        key_id: args.key_id.clone(),
        dry_run: args.common.dry.wanted(),
        ..DecryptRequest::default()
    };
    let opened = desk.session.decrypt(&request).told(format_args!("decrypt {}", args.input))?;
    if desk.json && out.is_none() {
        return bytes::write_json(&opened);
    }
    bytes::write(out, "--out", Kind::Secret, opened.plaintext.expose_secret())?;
    wrote(
        desk,
        out,
        "decrypted",
        &opened.key_id,
        &json!({
            "KeyId": opened.key_id,
            "EncryptionAlgorithm": opened.encryption_algorithm,
            "KeyMaterialId": opened.key_material_id,
        }),
    )
}

pub(super) fn re_encrypt(desk: &Desk, args: &ReEncryptArgs) -> anyhow::Result<()> {
    let out = args.out.path();
    check_public(desk, out)?;
    let source = args.common.context()?;
    let destination = match (args.to_context.as_slice(), args.to_no_context) {
        (_, true) => EncryptionContext::default(),
        ([], false) => source.clone(),
        (pairs, false) => context(pairs)?,
    };
    let request = ReEncryptRequest {
        ciphertext_blob: Some(ciphertext(&args.input)?),
        source_encryption_context: source,
        source_key_id: args.key_id.clone(),
        destination_key_id: args.to_key.clone(),
        destination_encryption_context: destination,
        grant_tokens: grant_tokens(&args.common.grant_token),
        dry_run: args.common.dry.wanted(),
        ..ReEncryptRequest::default()
    };
    let sealed = desk.session.re_encrypt(&request);
    let sealed = sealed.told(format_args!("encrypt {} anew", args.input))?;
    if desk.json && out.is_none() {
        return output::json(&sealed);
    }
    bytes::write(out, "--out", Kind::Public, &sealed.ciphertext_blob.0)?;
    wrote(
        desk,
        out,
        "encrypted anew",
        &sealed.key_id,
        &json!({
            "SourceKeyId": sealed.source_key_id,
            "KeyId": sealed.key_id,
            "SourceEncryptionAlgorithm": sealed.source_encryption_algorithm,
            "DestinationEncryptionAlgorithm": sealed.destination_encryption_algorithm,
            "SourceKeyMaterialId": sealed.source_key_material_id,
            "DestinationKeyMaterialId": sealed.destination_key_material_id,
        }),
    )
}

/// Ciphertexts may be shown in base64, if not raw, on a terminal.
pub(super) fn check_public(desk: &Desk, out: Option<&Path>) -> anyhow::Result<()> {
    if desk.json && out.is_none() { Ok(()) } else { bytes::check_out(out, "--out") }
}

fn ciphertext(path: &str) -> anyhow::Result<Blob> {
    let bytes = bytes::read(path, CIPHERTEXT_MAX, "a ciphertext")?;
    Ok(Blob(bytes.expose_secret().to_vec()))
}

/// Tells about bytes that went to a file: if they went to standard output, it is theirs alone. The
/// JSON is AWS's answer without those bytes.
fn wrote(
    desk: &Desk,
    out: Option<&Path>,
    done: &str,
    key: &str,
    rest: &serde_json::Value,
) -> anyhow::Result<()> {
    match out {
        None => Ok(()),
        Some(path) => desk.answer(rest, |_| format!("{done} to {}, under {key}\n", path.display())),
    }
}

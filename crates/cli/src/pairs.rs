//! Options of the form NAME=VALUE.

use sealvol::EncryptionContext;

use crate::exit::{self, Fail};

/// For clap.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as department=payroll".into()),
    }
}

pub(crate) fn context(pairs: &[(String, String)]) -> anyhow::Result<EncryptionContext> {
    EncryptionContext::from_pairs(pairs.iter().cloned())
        .map_err(|e| Fail::error(exit::USAGE, format!("{e}; give each name once")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_parse() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err() && parse_pair("a").is_err());
        let twice = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(context(&twice).is_err());
    }
}

//! Grant tokens: a text of any other shape is no token, and no token but the KMS's own admits.

use sealvol_kms::codec::check_token_shape;

use crate::input::Input;
use crate::memory::bounded;
use crate::toy_kms::toy_kms;

/// The target's body: a mode, then a text, or damage to a genuine token.
pub fn run(data: &[u8]) {
    let kms = toy_kms();
    let mut input = Input::new(data);
    let bytes = if input.u8().is_multiple_of(2) {
        input.all().to_vec()
    } else {
        let mut token = kms.token.clone().into_bytes();
        input.damage(&mut token);
        token
    };
    let Ok(token) = std::str::from_utf8(&bytes) else { return };
    bounded((64 << 10) + 4 * token.len(), || {
        if check_token_shape(token) {
            assert_eq!(token.len(), kms.token.len());
        }
        assert_eq!(kms.admits(token), token == kms.token);
    });
}

//! Encryption contexts: only the canonical form is read, and order does not matter.

use sealvol_envelope::EncryptionContext;

use crate::input::Input;
use crate::memory::bounded;

/// The target's body.
pub fn run(data: &[u8]) {
    // A pair takes at least 8 bytes of input and some hundred of memory.
    let budget = (64 << 10) + 64 * data.len();
    if let Ok(context) = bounded(budget, || EncryptionContext::from_canonical(data)) {
        assert_eq!(context.canonical(), data, "a second form was taken for canonical");
    }
    let mut input = Input::new(data);
    let mut pairs = Vec::new();
    while !input.is_empty() {
        pairs.push((input.text(), input.text()));
    }
    let Ok(context) = EncryptionContext::from_pairs(pairs.clone()) else { return };
    assert_eq!(EncryptionContext::from_canonical(&context.canonical()), Ok(context.clone()));
    assert_eq!(context.len(), pairs.len());
    assert!(context.contains_all(&context));
    pairs.reverse();
    assert_eq!(EncryptionContext::from_pairs(pairs.clone()), Ok(context.clone()));
    pairs.pop();
    if let Ok(subset) = EncryptionContext::from_pairs(pairs) {
        assert!(context.contains_all(&subset));
        assert_eq!(subset.contains_all(&context), subset == context);
    }
}

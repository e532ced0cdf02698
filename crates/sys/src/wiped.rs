//! [`WipedBox`]: a heap value whose bytes are overwritten after it is dropped, for key types of
//! other crates that do not do so themselves.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Deref;

use zeroize::Zeroize;

/// A boxed value whose memory is zeroised when it goes.
///
/// It wipes the value's own bytes, not what they point to: meant for types that hold their secret
/// inline, such as an expanded key schedule. The value is never moved once it is inside; what the
/// move into the box left behind on the stack is the caller's concern.
pub struct WipedBox<T> {
    value: Box<MaybeUninit<T>>,
}

impl<T> WipedBox<T> {
    /// Boxes `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: Box::new(MaybeUninit::new(value)) }
    }
}

impl<T> Deref for WipedBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is initialised by `new` and dropped only in `drop`.
        unsafe { self.value.assume_init_ref() }
    }
}

impl<T> Drop for WipedBox<T> {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, dropped once, not used afterwards.
        unsafe { self.value.assume_init_drop() };
        let bytes = std::ptr::from_mut(&mut *self.value).cast::<MaybeUninit<u8>>();
        // SAFETY: the box owns `size_of::<T>()` bytes at this address, writable, and as
        // `MaybeUninit<u8>` they need no initial value.
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes, size_of::<T>()) };
        bytes.zeroize();
    }
}

impl<T> fmt::Debug for WipedBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WipedBox(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn holds_and_drops_its_value() {
        let counted = Arc::new(5);
        let boxed = WipedBox::new((Arc::clone(&counted), [7_u8; 600]));
        assert_eq!((*boxed.0, boxed.1[599]), (5, 7));
        drop(boxed);
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}

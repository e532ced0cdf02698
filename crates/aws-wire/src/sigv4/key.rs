//! Signing keys: derived from a secret for one day, region and service, and kept for that day.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::TERMINATOR;

/// SHA-256's block: longer HMAC keys are hashed first.
const BLOCK_LEN: usize = 64;

pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    if key.len() > BLOCK_LEN {
        let mut digest: [u8; 32] = Sha256::digest(key).into();
        fill(&mut block, &digest);
        digest.zeroize();
    } else {
        fill(&mut block, key);
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn fill(block: &mut [u8; BLOCK_LEN], bytes: &[u8]) {
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// What a signing key is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyScope<'a> {
    /// `20150830`.
    pub(crate) day: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// A key that signs the requests of one secret for one day, region and service.
#[derive(Clone)]
pub(crate) struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    pub(crate) fn derive(secret: &str, scope: KeyScope<'_>) -> Self {
        let first = Zeroizing::new([b"AWS4", secret.as_bytes()].concat());
        let day = hmac(&first, &[scope.day.as_bytes()]);
        let region = hmac(&*day, &[scope.region.as_bytes()]);
        let service = hmac(&*region, &[scope.service.as_bytes()]);
        Self(hmac(&*service, &[TERMINATOR.as_bytes()]))
    }

    pub(crate) fn sign(&self, text: &str) -> [u8; 32] {
        *hmac(&*self.0, &[text.as_bytes()])
    }
}

/// Signing keys that were derived before, a bounded number of them: four of the six HMACs of a
/// verification are the same all day. They are wiped when they leave.
///
/// An entry holds for the secret it was derived from only, so that a key whose secret changed, or an id
/// that was given away anew, needs no word to the cache.
pub struct SigningKeyCache {
    capacity: usize,
    hasher: RandomState,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    // By the hash of id and scope, so that looking up allocates nothing. Boxed, because a map that
    // grows leaves copies of what it held behind.
    map: HashMap<u64, Box<Entry>>,
    uses: u64,
}

struct Entry {
    id: String,
    day: String,
    region: String,
    service: String,
    secret: Zeroizing<[u8; 32]>,
    key: SigningKey,
    last_used: u64,
}

impl Entry {
    fn is_of(&self, id: &str, scope: KeyScope<'_>) -> bool {
        let own = KeyScope { day: &self.day, region: &self.region, service: &self.service };
        self.id == id && own == scope
    }
}

impl Default for SigningKeyCache {
    fn default() -> Self {
        Self::new(256)
    }
}

impl SigningKeyCache {
    /// A cache of at most `capacity` keys; with none, each is derived anew.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, hasher: RandomState::new(), entries: Mutex::default() }
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.lock().map.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all keys.
    pub fn clear(&self) {
        self.entries.lock().map.clear();
    }

    pub(crate) fn signing_key(&self, id: &str, secret: &str, scope: KeyScope<'_>) -> SigningKey {
        if self.capacity == 0 {
            return SigningKey::derive(secret, scope);
        }
        let place = self.hasher.hash_one((id, scope));
        let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(secret)));
        {
            let mut entries = self.entries.lock();
            entries.uses += 1;
            let now = entries.uses;
            if let Some(entry) = entries.map.get_mut(&place)
                && entry.is_of(id, scope)
                && bool::from(entry.secret.ct_eq(&*digest))
            {
                entry.last_used = now;
                return entry.key.clone();
            }
        }
        // Derived outside of the lock; two threads may do it at once, with the same result.
        let key = SigningKey::derive(secret, scope);
        let mut entries = self.entries.lock();
        entries.make_room(place, self.capacity);
        let last_used = entries.uses;
        let entry = Entry {
            id: id.to_owned(),
            day: scope.day.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            secret: digest,
            key: key.clone(),
            last_used,
        };
        entries.map.insert(place, Box::new(entry));
        key
    }
}

impl Entries {
    fn make_room(&mut self, place: u64, capacity: usize) {
        while self.map.len() >= capacity && !self.map.contains_key(&place) {
            let oldest = self.map.iter().min_by_key(|(_, entry)| entry.last_used);
            let Some(oldest) = oldest.map(|(place, _)| *place) else { return };
            self.map.remove(&oldest);
        }
    }
}

impl fmt::Debug for SigningKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyCache")
            .field("capacity", &self.capacity)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn scope(day: &str) -> KeyScope<'_> {
        KeyScope { day, region: "us-east-1", service: "iam" }
    }

    #[test]
    fn derives_the_key_of_the_documentation() {
        // IAM's "Create a signed request" of 2015: secret, 20150830, us-east-1, iam.
        let key = SigningKey::derive(SECRET, scope("20150830"));
        let expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        assert_eq!(hex::encode(*key.0), expected);
    }

    #[test]
    fn long_keys_are_hashed_first() {
        // RFC 4231, test case 6.
        let mac =
            hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key", b" - Hash Key First"]);
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex::encode(*mac), expected);
    }

    #[test]
    fn a_cache_answers_what_deriving_does() {
        let cache = SigningKeyCache::new(4);
        for (id, secret, day) in [
            ("a", "one", "20150830"),
            ("a", "one", "20150830"),
            ("a", "two", "20150830"),
            ("a", "one", "20150831"),
            ("b", "one", "20150831"),
            ("a", "one", "20150830"),
        ] {
            let key = cache.signing_key(id, secret, scope(day));
            assert_eq!(*key.0, *SigningKey::derive(secret, scope(day)).0);
        }
        assert_eq!(cache.len(), 3);
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn a_cache_keeps_what_was_used_last_and_no_more_than_it_may() {
        let cache = SigningKeyCache::new(3);
        let held = |id: &str| cache.entries.lock().map.values().any(|entry| entry.id == id);
        for n in 0..50 {
            cache.signing_key("busy", SECRET, scope("20150830"));
            cache.signing_key(&format!("id-{n}"), SECRET, scope("20150830"));
            assert!(cache.len() <= 3);
        }
        assert!(held("busy") && held("id-49") && !held("id-0"));
        assert!(
            SigningKeyCache::new(0).signing_key("a", "b", scope("20150830")).sign("") != [0; 32]
        );
    }
}

//! Map entries and map pages: where a block is, and the tag that proves it.

use crate::bytes::u64_at;
use crate::{Phys, SLOT_LEN};

/// Entries in a page.
pub const FANOUT: usize = 128;
const FANOUT_SHIFT: u32 = 7;
/// Bytes of an entry.
const ENTRY_LEN: usize = 32;
/// Bytes of a page: exactly one slot.
pub const PAGE_LEN: usize = FANOUT * ENTRY_LEN;
const _: () = assert!(PAGE_LEN == SLOT_LEN);
/// Levels of map pages: level 0 holds block entries, each higher level entries of pages.
pub const MAP_LEVELS: u8 = 5;
/// The level of the root page.
pub const TOP_LEVEL: u8 = MAP_LEVELS - 1;

const PHYS_MASK: u64 = (1 << 40) - 1;
const STATE_SHIFT: u32 = 40;
const BIRTH_SHIFT: u32 = 42;
const BIRTH_MASK: u64 = (1 << 20) - 1;
const DEAD: u64 = 1 << 62;
const HAS_DEAD: u64 = 1 << 63;

/// A 20-bit snapshot generation: in which generation a block was last changed by a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Birth(pub u32);

/// The largest birth, for entries whose birth does not matter.
pub const BIRTH_MAX: Birth = Birth((1 << 20) - 1);

/// What an entry says of its block or subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryState {
    /// Never written: the base's block, or zeros where there is no base.
    Inherit = 0,
    /// Stored at `phys`.
    Data = 1,
    /// Reads as zeros.
    Zero = 2,
}

/// A map entry. The all-zero entry is [`EntryState::Inherit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry {
    word: u64,
    nonce: u64,
    tag: [u8; 16],
}

impl Entry {
    /// The entry of something never written.
    pub const INHERIT: Self = Self { word: 0, nonce: 0, tag: [0; 16] };

    /// A block or page stored at `phys`.
    #[must_use]
    pub fn data(phys: Phys, birth: Birth, nonce: u64, tag: [u8; 16]) -> Self {
        Self { word: Self::word(phys, EntryState::Data, birth), nonce, tag }
    }

    /// A block or subtree that reads as zeros.
    #[must_use]
    pub fn zero(birth: Birth) -> Self {
        Self { word: Self::word(Phys::NONE, EntryState::Zero, birth), nonce: 0, tag: [0; 16] }
    }

    fn word(phys: Phys, state: EntryState, birth: Birth) -> u64 {
        (phys.0 & PHYS_MASK)
            | (u64::from(state as u8) << STATE_SHIFT)
            | ((u64::from(birth.0) & BIRTH_MASK) << BIRTH_SHIFT)
    }

    /// Where it is stored; [`Phys::NONE`] unless it is data, or dead.
    #[must_use]
    pub const fn phys(&self) -> Phys {
        Phys(self.word & PHYS_MASK)
    }

    /// What it says. An unknown state (3) reads as data, whose tag then cannot match.
    #[must_use]
    pub const fn state(&self) -> EntryState {
        match (self.word >> STATE_SHIFT) & 3 {
            0 => EntryState::Inherit,
            2 => EntryState::Zero,
            _ => EntryState::Data,
        }
    }

    /// The generation of the last change (of the newest one below, for an entry of a page).
    #[must_use]
    pub const fn birth(&self) -> Birth {
        let birth = ((self.word >> BIRTH_SHIFT) & BIRTH_MASK) as u32;
        Birth(birth)
    }

    /// The random half of the nonce it was sealed with.
    #[must_use]
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The tag it was sealed with.
    #[must_use]
    pub const fn tag(&self) -> &[u8; 16] {
        &self.tag
    }

    /// A page that was discarded whole: the entry reads as zeros, and the pages and blocks below
    /// `phys` still count as live until the reaper has settled them.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.word & DEAD != 0
    }

    /// Whether something dead awaits the reaper somewhere below this (living) page.
    #[must_use]
    pub const fn has_dead(&self) -> bool {
        self.word & HAS_DEAD != 0
    }

    /// This page's entry, turned dead: it reads as zeros born in `birth`.
    #[must_use]
    pub fn into_dead(self, birth: Birth) -> Self {
        Self { word: Self::word(self.phys(), EntryState::Zero, birth) | DEAD, ..self }
    }

    /// A dead page's entry as it was while it lived, so that the reaper can read the page.
    #[must_use]
    pub fn as_living(self) -> Self {
        Self { word: Self::word(self.phys(), EntryState::Data, self.birth()), ..self }
    }

    /// Sets or clears the mark that something dead is below.
    #[must_use]
    pub const fn with_has_dead(self, below: bool) -> Self {
        let word = if below { self.word | HAS_DEAD } else { self.word & !HAS_DEAD };
        Self { word, ..self }
    }

    /// The 32 bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        let (word, rest) = out.split_at_mut(8);
        let (nonce, tag) = rest.split_at_mut(8);
        word.copy_from_slice(&self.word.to_le_bytes());
        nonce.copy_from_slice(&self.nonce.to_le_bytes());
        tag.copy_from_slice(&self.tag);
        out
    }

    /// Reads 32 bytes. Every bit pattern is an entry; whether it is true is for its parent's tag.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let mut tag = [0; 16];
        tag.copy_from_slice(bytes.last_chunk::<16>().unwrap_or(&[0; 16]));
        Self { word: u64_at(bytes, 0), nonce: u64_at(bytes, 8), tag }
    }
}

/// One map page: 128 entries.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    bytes: [u8; PAGE_LEN],
}

impl Page {
    /// A page of [`Entry::INHERIT`].
    #[must_use]
    pub const fn empty() -> Self {
        Self { bytes: [0; PAGE_LEN] }
    }

    /// A page in which every entry is `entry`.
    #[must_use]
    pub fn filled(entry: Entry) -> Self {
        let mut page = Self::empty();
        for slot in 0..FANOUT {
            page.set(slot, entry);
        }
        page
    }

    /// Takes a page's plaintext.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PAGE_LEN]) -> Self {
        Self { bytes }
    }

    /// The page's plaintext.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PAGE_LEN] {
        &self.bytes
    }

    /// The plaintext, to be filled in.
    #[must_use]
    pub const fn as_bytes_mut(&mut self) -> &mut [u8; PAGE_LEN] {
        &mut self.bytes
    }

    /// Entry `slot`, from 0 to 127; past that, [`Entry::INHERIT`].
    #[must_use]
    pub fn get(&self, slot: usize) -> Entry {
        let at = slot * ENTRY_LEN;
        self.bytes
            .get(at..)
            .and_then(|tail| tail.first_chunk::<ENTRY_LEN>())
            .map_or(Entry::INHERIT, Entry::decode)
    }

    /// Replaces entry `slot`; past the end it does nothing.
    pub fn set(&mut self, slot: usize, entry: Entry) {
        let at = slot * ENTRY_LEN;
        if let Some(place) = self.bytes.get_mut(at..at + ENTRY_LEN) {
            place.copy_from_slice(&entry.encode());
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        (0..FANOUT).map(|slot| self.get(slot))
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Page(..)")
    }
}

/// The index of the page of `level` that covers leaf-level index `lba`.
#[must_use]
pub const fn page_index(lba: u64, level: u8) -> u64 {
    lba >> (FANOUT_SHIFT * (level as u32 + 1))
}

/// The place of `lba`'s entry in its page of `level`.
#[must_use]
pub const fn slot_in_page(lba: u64, level: u8) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "masked to 7 bits")]
    let slot = (lba >> (FANOUT_SHIFT * level as u32)) as usize;
    slot & (FANOUT - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_zero_bytes_are_inherit() {
        let entry = Entry::decode(&[0; 32]);
        assert_eq!(entry, Entry::INHERIT);
        assert_eq!(entry.state(), EntryState::Inherit);
    }

    #[test]
    fn a_dead_page_reads_as_zero_and_can_still_be_found() {
        let page = Entry::data(Phys(77), Birth(3), 5, [9; 16]);
        let dead = page.into_dead(Birth(4));
        assert!(dead.is_dead());
        assert_eq!(dead.state(), EntryState::Zero);
        assert_eq!(dead.birth(), Birth(4));
        assert_eq!((dead.as_living().phys(), dead.as_living().nonce()), (Phys(77), 5));
        assert_eq!(dead.as_living().state(), EntryState::Data);
        assert!(!dead.as_living().is_dead());
    }

    #[test]
    fn indices_cover_the_whole_range() {
        let lba = (1 << 35) - 1;
        assert_eq!(page_index(lba, TOP_LEVEL), 0);
        assert_eq!(slot_in_page(lba, TOP_LEVEL), 127);
        assert_eq!(page_index(130, 0), 1);
        assert_eq!(slot_in_page(130, 0), 2);
        assert_eq!(slot_in_page(130, 1), 1);
    }

    proptest! {
        #[test]
        fn entries_round_trip(phys in 0_u64..1 << 40, birth in 0_u32..1 << 20, nonce: u64, tag: [u8; 16], below: bool) {
            let entry = Entry::data(Phys(phys), Birth(birth), nonce, tag).with_has_dead(below);
            let mut page = Page::empty();
            page.set(127, entry);
            let read = page.get(127);
            prop_assert_eq!(read, entry);
            prop_assert_eq!((read.phys(), read.birth(), read.nonce(), read.has_dead()), (Phys(phys), Birth(birth), nonce, below));
            prop_assert_eq!(read.tag(), &tag);
            prop_assert_eq!(page.get(126), Entry::INHERIT);
        }
    }
}

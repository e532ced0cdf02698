//! Finding entries: through the delta layers and cached leaves, else down the tree.

use sealvol_core::Result;
use sealvol_format::{Entry, EntryState, FANOUT, TOP_LEVEL, page_index, slot_in_page};

use crate::cache::Leaf;
use crate::core::Core;
use crate::index::{LeafView, Root, split};

impl Core {
    /// The entry of one block now.
    pub(crate) fn lookup(&self, lba: u64) -> Result<Entry> {
        let (leaf, slot) = split(lba);
        let mut out = [Entry::INHERIT];
        self.lookup_leaf(leaf, slot, &mut out, false)?;
        let [entry] = out;
        Ok(entry)
    }

    /// The entries of slots `first..` of a leaf now. `Ok(false)`: `hot` was asked for and a map page
    /// is not in memory.
    pub(crate) fn lookup_leaf(
        &self,
        leaf: u64,
        first: usize,
        out: &mut [Entry],
        hot: bool,
    ) -> Result<bool> {
        let LeafView::NeedsLeaf { mut version } = self.index.view(leaf, first, out, None) else {
            return Ok(true);
        };
        loop {
            let root = self.index.root();
            if root.version < version {
                continue;
            }
            let Some(page) = self.read_leaf(&root, leaf, hot)? else { return Ok(false) };
            let view = self.index.view(leaf, first, out, Some((&page, root.version)));
            self.index.cache_leaf(leaf, page, root.version);
            match view {
                LeafView::Complete => return Ok(true),
                LeafView::NeedsLeaf { version: newer } => version = newer,
            }
        }
    }

    /// Reads a leaf down from a root.
    ///
    /// A checkpoint may release the pages of an older root while this walks; their slots can then
    /// hold other content, and the tag tells. The caller's loop starts again from a newer root, so
    /// an error counts only if the root is still the same.
    fn read_leaf(&self, root: &Root, leaf: u64, hot: bool) -> Result<Option<Leaf>> {
        let mut root = *root;
        loop {
            match self.walk_to_leaf(&root, leaf, hot) {
                Err(error) => {
                    let now = self.index.root();
                    if now.version == root.version {
                        return Err(error);
                    }
                    root = now;
                }
                found => return found,
            }
        }
    }

    fn walk_to_leaf(&self, root: &Root, leaf: u64, hot: bool) -> Result<Option<Leaf>> {
        let lba = leaf * FANOUT as u64;
        let mut entry = root.entry;
        for level in (0..=TOP_LEVEL).rev() {
            if entry.is_dead() {
                return Ok(Some(Leaf::Uniform(Entry::zero(entry.birth()))));
            }
            if entry.state() != EntryState::Data {
                return Ok(Some(Leaf::Uniform(entry)));
            }
            let Some(page) = self.read_map_page(&entry, level, page_index(lba, level), hot)? else {
                return Ok(None);
            };
            if level == 0 {
                return Ok(Some(Leaf::Page(page)));
            }
            entry = page.get(slot_in_page(lba, level));
        }
        Ok(None)
    }

    /// The living entry of a map page, if the tree has it.
    pub(crate) fn find_page(&self, level: u8, index: u64) -> Result<Option<Entry>> {
        let lba = index << (7 * (u32::from(level) + 1));
        let mut entry = self.index.root().entry;
        for above in (level..=TOP_LEVEL).rev() {
            if entry.is_dead() || entry.state() != EntryState::Data {
                return Ok(None);
            }
            if above == level {
                return Ok(Some(entry));
            }
            let Some(page) = self.read_map_page(&entry, above, page_index(lba, above), false)?
            else {
                return Ok(None);
            };
            entry = page.get(slot_in_page(lba, above));
        }
        Ok(None)
    }

    /// Skips what is uniform in the tree: the state at `lba`, and up to which LBA it surely holds.
    /// `None` state: a leaf page decides.
    pub(crate) fn uniform_run(&self, lba: u64) -> Result<(Option<Entry>, u64)> {
        let mut root = self.index.root();
        loop {
            match self.walk_uniform(&root, lba) {
                Err(error) => {
                    let now = self.index.root();
                    if now.version == root.version {
                        return Err(error);
                    }
                    root = now;
                }
                found => return found,
            }
        }
    }

    fn walk_uniform(&self, root: &Root, lba: u64) -> Result<(Option<Entry>, u64)> {
        let mut entry = root.entry;
        for level in (0..=TOP_LEVEL).rev() {
            let end = (page_index(lba, level) + 1) << (7 * (u32::from(level) + 1));
            if entry.is_dead() || entry.state() != EntryState::Data {
                return Ok((Some(entry), end));
            }
            if level == 0 {
                return Ok((None, end));
            }
            let Some(page) = self.read_map_page(&entry, level, page_index(lba, level), false)?
            else {
                break;
            };
            entry = page.get(slot_in_page(lba, level));
        }
        Ok((None, lba + 1))
    }
}

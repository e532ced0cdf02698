//! Map pages and table pages: every bit pattern is a page, and reading its entries loses nothing.

use sealvol_format::{
    BIRTH_MAX, Entry, EntryState, FANOUT, Geometry, MAP_LEVELS, PAGE_LEN, Page, TablePage,
    page_index, slot_in_page,
};

use crate::input::Input;

/// The target's body.
pub fn run(data: &[u8]) {
    let bytes: [u8; PAGE_LEN] = Input::new(data).array();
    let page = Page::from_bytes(bytes);
    let mut again = Page::empty();
    for (slot, entry) in page.entries().enumerate() {
        again.set(slot, entry);
        check_entry(entry);
    }
    assert_eq!(again.as_bytes(), &bytes);
    assert_eq!(page.get(FANOUT), Entry::INHERIT);

    let table = TablePage::decode(&bytes);
    assert_eq!(TablePage::decode(&table.encode()), table);

    let lba = Input::new(data).u64();
    for level in 0..MAP_LEVELS {
        assert!(slot_in_page(lba, level) < FANOUT);
        let below = if level == 0 { lba } else { page_index(lba, level - 1) };
        assert_eq!(page_index(lba, level), below / FANOUT as u64);
    }
}

fn check_entry(entry: Entry) {
    assert_eq!(Entry::decode(&entry.encode()), entry);
    assert!(entry.birth() <= BIRTH_MAX);
    let dead = entry.into_dead(entry.birth());
    assert!(dead.is_dead() && dead.state() == EntryState::Zero);
    let living = dead.as_living();
    assert!(!living.is_dead());
    assert_eq!((living.phys(), living.tag()), (entry.phys(), entry.tag()));
    assert!(!entry.with_has_dead(false).has_dead());
    for slots in [16, 1024] {
        let Ok(geometry) = Geometry::new(slots) else { continue };
        if let Some((segment, slot)) = geometry.locate(entry.phys()) {
            assert!(slot < slots);
            assert_eq!(geometry.phys(segment, slot), entry.phys());
        }
    }
}

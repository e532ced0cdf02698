//! Commit records: every bit of a record that decodes is in the value.

use sealvol_format::{Birth, Phys, Record, RecordKind};

use crate::input::Input;

/// The target's body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes: [u8; 32] = input.array();
    if let Ok(record) = Record::decode(&bytes) {
        assert_eq!(record.encode(), bytes);
        if record.kind == RecordKind::Range {
            let range = Record::range(record.lba, record.range_blocks(), record.birth);
            assert_eq!(range.range_blocks(), record.range_blocks());
        }
    }
    // And the other way round, from values within their widths.
    let record = Record {
        kind: RecordKind::Data,
        lba: input.u64() >> 24,
        level: input.u8(),
        payload: input.u8(),
        old: Phys(input.u64() >> 24),
        birth: Birth(input.u24()),
        tag: input.array(),
    };
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

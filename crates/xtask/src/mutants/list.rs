//! The decisions, and how each is taken out.

use super::Mutant;

const ENGINE: &str = "-p sealvol-engine --test model";
const CRASH: &str = "-p sealvol-tests --test crash_consistency";
const CONCURRENCY: &str = "-p sealvol-tests --test concurrency";
const DAMAGE: &str = "-p sealvol-tests --test damage";
const DECISIONS: &str = "-p sealvol-tests --test decisions";
const FACADE: &str = "-p sealvol --test facade";
const FAULTS: &str = "-p sealvol-tests --test io_faults";
const FULL: &str = "-p sealvol-tests --test full_volume";
const REGRESSIONS: &str = "-p sealvol-tests --test regressions";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        decision: 1,
        what: "a write is acknowledged before it is written",
        file: "crates/engine/src/append.rs",
        find: "            state = self.drive(state, last_id);\n            let failed",
        replace: "            let failed",
        tests: &[ENGINE, CONCURRENCY],
    },
    Mutant {
        decision: 2,
        what: "the leader does not wait for the sealers of its group",
        file: "crates/engine/src/append.rs",
        find: "open.id == id && open.pending == 0",
        replace: "open.id == id",
        tests: &[CONCURRENCY],
    },
    Mutant {
        decision: 2,
        what: "a failed seal still publishes its records",
        file: "crates/engine/src/append.rs",
        find: "                    drop(self.drive(state, last_id));\n                    return Err(error);",
        replace: "                    for (at, place) in open.group.records.iter_mut().enumerate() { if at >= \
                  first_record { *place = Record::range(0, 16, birth); } }\n                    \
                  drop(self.drive(state, last_id));\n                    return Err(error);",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 3,
        what: "the kernel's boot id is not recorded",
        file: "crates/engine/src/recovery.rs",
        find: "            block.state.boot_id = boot_id;\n",
        replace: "            let _unused = boot_id;\n",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 4,
        what: "a partial write applies although its block has changed",
        file: "crates/engine/src/append.rs",
        find: "InDelta::Changed(entry) => entry.phys() == record.old,",
        replace: "InDelta::Changed(_) => true,",
        tests: &[CONCURRENCY],
    },
    Mutant {
        decision: 5,
        what: "replay looks at one segment kind only",
        file: "crates/engine/src/replay.rs",
        find: "            for track in &mut tracks {\n                let next = self.take_next",
        replace: "            for track in tracks.iter_mut().take(1) {\n                let next = \
                  self.take_next",
        tests: &[CRASH],
    },
    Mutant {
        decision: 5,
        what: "a group is opened in a segment that is being left",
        file: "crates/engine/src/append.rs",
        find: "            if state.rolling {",
        replace: "            if false {",
        tests: &[REGRESSIONS],
    },
    Mutant {
        decision: 5,
        what: "a segment that a cursor may still be in counts as older",
        file: "crates/engine/src/append.rs",
        find: "let last_group = state.next_seq;",
        replace: "let last_group = state.next_seq - 1;",
        tests: &[CRASH, CONCURRENCY],
    },
    Mutant {
        decision: 6,
        what: "the epoch is not durable before its first segment",
        file: "crates/engine/src/recovery.rs",
        find: "            self.write_superblocks(|block| epoch(block, next_epoch))?;\n        }\n",
        replace: "        }\n",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 7,
        what: "replay applies a MOVE whose block has changed",
        file: "crates/engine/src/recovery.rs",
        find: "if self.lookup(record.lba)?.phys() == record.old {",
        replace: "if self.lookup(record.lba).is_ok() {",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 8,
        what: "a discard leaves the entry as the checkpoint had it",
        file: "crates/engine/src/recovery.rs",
        find: "RecordKind::Zero => self.index.set(record.lba, Entry::zero(record.birth)),\n           \
               \x20        RecordKind::Range => {\n                        \
               self.publish_range(record.lba, record.range_blocks(), record.birth);\n",
        replace: "RecordKind::Zero => self.index.set(record.lba, Entry::zero(record.birth)),\n         \
                  \x20          RecordKind::Range => {\n",
        tests: &[CRASH],
    },
    Mutant {
        decision: 9,
        what: "both superblock copies are written at once",
        file: "crates/engine/src/core.rs",
        find: "            superblocks::write_copy(&*self.storage, copy, &bytes)?;\n            \
               self.sync_storage()?;\n            self.weak_copy.store(1 - copy, \
               Ordering::Release);\n        }\n",
        replace: "            superblocks::write_copy(&*self.storage, copy, &bytes)?;\n            \
                  self.weak_copy.store(1 - copy, Ordering::Release);\n        }\n        \
                  self.sync_storage()?;\n",
        tests: &[CRASH],
    },
    Mutant {
        decision: 9,
        what: "segments are released before the superblock stands",
        file: "crates/engine/src/checkpoint.rs",
        find: "        let durable = self.log.durable.load(Ordering::Acquire);\n        \
               self.write_superblocks",
        replace: "        let early = self.table.lock().release(pending.seq);\n        \
                  self.pool_released(early);\n        let durable = \
                  self.log.durable.load(Ordering::Acquire);\n        self.write_superblocks",
        tests: &[CRASH],
    },
    Mutant {
        decision: 9,
        what: "the good superblock copy is written first",
        file: "crates/engine/src/core.rs",
        find: "        let first = self.weak_copy.load(Ordering::Acquire);\n",
        replace: "        let first = 1 - self.weak_copy.load(Ordering::Acquire);\n",
        tests: &[REGRESSIONS, CRASH],
    },
    Mutant {
        decision: 10,
        what: "nothing past a break is looked at",
        file: "crates/engine/src/replay.rs",
        find: "        let mut durable = self.scan_commits(current)?;\n",
        replace: "        let mut durable = 0;\n        if self.read_only || !self.read_only { return \
                  Ok(durable); }\n",
        tests: &[DAMAGE, DECISIONS],
    },
    Mutant {
        decision: 10,
        what: "the payload of unflushed groups is not checked",
        file: "crates/engine/src/replay.rs",
        find: "            if !self.payload_is_whole(group)? {",
        replace: "            if !self.payload_is_whole(group)? && group.seq == 0 {",
        tests: &[CRASH],
    },
    Mutant {
        decision: 10,
        what: "the unflushed tail is not copied",
        file: "crates/engine/src/recovery.rs",
        find: "            self.copy_tail(replay)?;\n",
        replace: "",
        tests: &[FAULTS, CRASH],
    },
    Mutant {
        decision: 10,
        what: "segments that replay needs may be reused in recovery",
        file: "crates/engine/src/recovery.rs",
        find: "if self.read_only { Ok(()) } else { self.hold_visited(replay) }",
        replace: "if self.read_only || true { Ok(()) } else { self.hold_visited(replay) }",
        tests: &[CRASH],
    },
    Mutant {
        decision: 10,
        what: "a header that does not authenticate counts as never written",
        file: "crates/engine/src/replay.rs",
        find: "Some(self.check_header(place.segment, &first)?)",
        replace: "self.check_header(place.segment, &first).ok()",
        tests: &[REGRESSIONS, DAMAGE],
    },
    Mutant {
        decision: 11,
        what: "nothing is synced by time",
        file: "crates/engine/src/maintain.rs",
        find: "if now >= due || unsynced >= self.settings.unsynced.0 {",
        replace: "if unsynced >= self.settings.unsynced.0 {",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 11,
        what: "nothing is synced by amount",
        file: "crates/engine/src/maintain.rs",
        find: "if now >= due || unsynced >= self.settings.unsynced.0 {",
        replace: "if now >= due && unsynced < u64::MAX {",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 11,
        what: "no stamp is written",
        file: "crates/engine/src/maintain.rs",
        find: "        if proved >= change.min(durable) {",
        replace: "        if proved <= change.max(durable) {",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 12,
        what: "a flush is served by a sync that started before its write",
        file: "crates/engine/src/log.rs",
        find: "                log.durable.fetch_max(upto, Ordering::AcqRel);\n",
        replace: "                    let _unused = upto;\n                    \
                  log.durable.fetch_max(log.written.load(Ordering::Acquire), Ordering::AcqRel);\n",
        tests: &[CONCURRENCY],
    },
    Mutant {
        decision: 12,
        what: "a failed sync is tried again",
        file: "crates/engine/src/log.rs",
        find: "            Err(_) => state.failed = true,\n        }\n        log.synced.notify_all();\n        \
               drop(state);\n        outcome.inspect_err(|error| {\n            \
               self.poison(error);\n            log.notify();\n        })\n",
        replace: "            Err(_) => {}\n        }\n        log.synced.notify_all();\n        \
                  drop(state);\n        outcome\n",
        tests: &[FAULTS],
    },
    Mutant {
        decision: 12,
        what: "a superblock is synced beside flushes",
        file: "crates/engine/src/core.rs",
        find: "            self.sync_storage()?;\n",
        replace: "            self.storage.sync()?;\n",
        tests: &[REGRESSIONS],
    },
    Mutant {
        decision: 13,
        what: "a merge does not count what it replaces",
        file: "crates/engine/src/checkpoint.rs",
        find: "        if before.state() == EntryState::Data {\n            self.count(&before, -1);\n        }\n        if entry",
        replace: "        if entry",
        tests: &[CRASH, FULL],
    },
    Mutant {
        decision: 13,
        what: "the superblock is written before the map is durable",
        file: "crates/engine/src/checkpoint.rs",
        find: "        self.sync_all().inspect_err(|error| self.poison(error))?;\n",
        replace: "",
        tests: &[CRASH],
    },
    Mutant {
        decision: 15,
        what: "a segment is freed although blocks of it are alive",
        file: "crates/engine/src/segments.rs",
        find: "            && info.stored.live == 0\n",
        replace: "            && info.stored.live <= 1\n",
        tests: &[CRASH, ENGINE],
    },
    Mutant {
        decision: 15,
        what: "a damaged block is given up when its segment is collected",
        file: "crates/engine/src/gc.rs",
        find: "                self.quarantine(victim.segment, &error);\n                continue;\n            }\n            let (old, birth)",
        replace: "                let _unused = &error;\n                plain = [0; SLOT_LEN];\n            }\n            let (old, birth)",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 16,
        what: "nothing is kept back for the next checkpoint",
        file: "crates/engine/src/space.rs",
        find: "            + ROLL_RESERVE\n            + GC_RESERVE\n",
        replace: "            - (pages + self.claimed_slots.load(Ordering::SeqCst)).div_ceil(slots - \
                  2)\n",
        tests: &[FULL, REGRESSIONS, CONCURRENCY],
    },
    Mutant {
        decision: 16,
        what: "collection does not see the users who are on their way",
        file: "crates/engine/src/gc.rs",
        find: "crate::space::ROLL_RESERVE + self.admitted_segments()",
        replace: "crate::space::ROLL_RESERVE",
        tests: &[REGRESSIONS, REGRESSIONS, REGRESSIONS],
    },
    Mutant {
        decision: 18,
        what: "a bad tag is believed although the entry has changed",
        file: "crates/engine/src/read.rs",
        find: "            Err(_) => self.reread_block(lba, entry, buf).map(|()| Hot::Done),",
        replace: "            Err(error) => Err(error),",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 19,
        what: "the volume that the caller means is not asked for",
        file: "crates/sealvol/src/volume.rs",
        find: "        && id != details.id\n",
        replace: "        && id != details.id && false\n",
        tests: &[FACADE],
    },
    Mutant {
        decision: 20,
        what: "a superseded writer is not fenced",
        file: "crates/engine/src/core.rs",
        find: "        self.check_fence(&current)?;\n",
        replace: "",
        tests: &[DECISIONS],
    },
    Mutant {
        decision: 20,
        what: "the file is not locked",
        file: "crates/storage/src/file.rs",
        find: "        OpenMode::ReadWrite => file.try_lock(),",
        replace: "        OpenMode::ReadWrite => Ok(()),",
        tests: &[FACADE],
    },
    Mutant {
        decision: 22,
        what: "a blanked superblock beside data opens as a new volume",
        file: "crates/engine/src/engine.rs",
        find: "    refuse_blanked(storage, &block)?;\n",
        replace: "",
        tests: &[FACADE, DAMAGE],
    },
];

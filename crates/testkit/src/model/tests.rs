//! That the model accepts every prefix that the promises allow, and nothing else.

use proptest::prelude::*;

use super::*;

/// A model of `blocks` blocks to which each request was submitted and acknowledged in turn.
fn sequence(blocks: usize, requests: &[&[(u64, u64)]]) -> ModelVolume {
    let mut model = ModelVolume::new(blocks);
    for changes in requests {
        let id = model.begin(changes);
        model.acknowledge(id);
    }
    model
}

fn flush(model: &mut ModelVolume) {
    let ticket = model.begin_flush();
    model.end_flush(ticket);
}

use CrashKind::{Kill, PowerLoss};

#[test]
fn every_prefix_passes_and_nothing_else() {
    let model = sequence(2, &[&[(0, 1)], &[(1, 2)], &[(0, 3)]]);
    for prefix in [[0, 0], [1, 0], [1, 2], [3, 2]] {
        model.check(PowerLoss, &prefix).unwrap();
    }
    let error = model.check(PowerLoss, &[0, 2]).unwrap_err();
    assert!(matches!(error, Violation::NotAPrefix { newer_lba: 1, older_lba: 0, .. }), "{error}");
    model.check(PowerLoss, &[3, 0]).unwrap_err();
    assert_eq!(model.check(PowerLoss, &[9, 0]), Err(Violation::Unknown { lba: 0, version: 9 }));
    assert!(matches!(model.check(PowerLoss, &[0]), Err(Violation::Unreadable(_))));
}

#[test]
fn a_flush_is_a_floor() {
    let mut model = sequence(2, &[&[(0, 1)], &[(0, 2)]]);
    flush(&mut model);
    let id = model.begin(&[(1, 3)]);
    model.acknowledge(id);
    model.check(PowerLoss, &[2, 0]).unwrap();
    model.check(PowerLoss, &[2, 3]).unwrap();
    // A reverted block.
    assert_eq!(model.check(PowerLoss, &[1, 3]), Err(Violation::Lost { lba: 0, version: 1 }));
    assert_eq!(model.check(PowerLoss, &[0, 0]), Err(Violation::Lost { lba: 0, version: 0 }));
}

#[test]
fn only_what_was_acknowledged_before_the_flush_began_is_promised() {
    let mut model = ModelVolume::new(2);
    let early = model.begin(&[(0, 1)]);
    let ticket = model.begin_flush();
    model.acknowledge(early);
    let before_completion = model.now();
    model.end_flush(ticket);
    model.check(PowerLoss, &[0, 0]).unwrap();
    flush(&mut model);
    model.check(PowerLoss, &[0, 0]).unwrap_err();
    // A flush that had not returned at the crash promises nothing.
    model.check_at(before_completion, PowerLoss, &[0, 0]).unwrap();
}

#[test]
fn the_death_of_the_process_loses_nothing_acknowledged() {
    let mut model = sequence(2, &[&[(0, 1)]]);
    model.check(PowerLoss, &[0, 0]).unwrap();
    assert_eq!(model.check(Kill, &[0, 0]), Err(Violation::Lost { lba: 0, version: 0 }));
    // A request under way may be there or not.
    model.begin(&[(1, 2)]);
    model.check(Kill, &[1, 0]).unwrap();
    model.check(Kill, &[1, 2]).unwrap();
    model.check(PowerLoss, &[0, 2]).unwrap_err();
}

#[test]
fn fua_promises_its_own_write() {
    let mut model = sequence(2, &[&[(0, 1)]]);
    let id = model.begin_fua(&[(1, 2)]);
    model.check(PowerLoss, &[0, 0]).unwrap();
    model.acknowledge(id);
    assert_eq!(model.check(PowerLoss, &[1, 0]), Err(Violation::Lost { lba: 1, version: 0 }));
    assert!(matches!(model.check(PowerLoss, &[0, 2]), Err(Violation::NotAPrefix { .. })));
    model.check(PowerLoss, &[1, 2]).unwrap();
}

#[test]
fn small_requests_are_atomic_and_large_ones_are_cut_in_order() {
    let changes: Vec<(u64, u64)> = (0..17).map(|lba| (lba, 1)).collect();
    let mut model = ModelVolume::new(17);
    model.begin(&changes[..16]);
    let mut torn = [1; 17];
    torn[16] = 0;
    model.check(PowerLoss, &torn).unwrap();
    torn[3] = 0;
    assert_eq!(
        model.check(PowerLoss, &torn),
        Err(Violation::Torn { present_lba: 15, absent_lba: 3, version: 1 })
    );

    let mut model = ModelVolume::new(17);
    let id = model.begin(&changes);
    for cut in 0..=17 {
        let observed: Vec<u64> = (0..17).map(|lba| u64::from(lba < cut)).collect();
        model.check(PowerLoss, &observed).unwrap();
        if cut > 0 {
            let hole: Vec<u64> = observed.iter().rev().copied().collect();
            assert_eq!(model.check(PowerLoss, &hole).is_ok(), cut == 17);
        }
    }
    model.acknowledge(id);
    model.check(Kill, &[1; 17]).unwrap();
    model.check(Kill, &[0; 17]).unwrap_err();
}

#[test]
fn zeroing_again_and_again_is_resolved() {
    // Version 0 has four origins in block 0.
    let mut model =
        sequence(2, &[&[(0, 1)], &[(0, 0)], &[(1, 2)], &[(0, 3)], &[(0, 0)], &[(1, 4)]]);
    model.check(PowerLoss, &[0, 0]).unwrap();
    model.check(PowerLoss, &[0, 2]).unwrap();
    model.check(PowerLoss, &[0, 4]).unwrap();
    model.check(PowerLoss, &[3, 2]).unwrap();
    assert!(matches!(model.check(PowerLoss, &[1, 2]), Err(Violation::NotAPrefix { .. })));
    assert!(matches!(model.check(PowerLoss, &[3, 4]), Err(Violation::NotAPrefix { .. })));
    flush(&mut model);
    model.check(PowerLoss, &[0, 4]).unwrap();
    model.check(PowerLoss, &[0, 2]).unwrap_err();
}

/// Whichever origin block 0 is taken to have, one of the requests is torn.
#[test]
fn zeros_do_not_hide_a_torn_request() {
    let model = sequence(2, &[&[(0, 2), (1, 2)], &[(0, 0), (1, 0)]]);
    assert!(matches!(model.check(PowerLoss, &[0, 2]), Err(Violation::Torn { .. })));
    model.check(PowerLoss, &[0, 0]).unwrap();
    model.check(PowerLoss, &[2, 2]).unwrap();
}

#[test]
fn overlapping_requests_may_happen_in_either_order() {
    let mut model = ModelVolume::new(2);
    let a = model.begin(&[(0, 1)]);
    let b = model.begin(&[(1, 2)]);
    for observed in [[0, 0], [1, 0], [0, 2], [1, 2]] {
        model.check(PowerLoss, &observed).unwrap();
    }
    model.acknowledge(a);
    model.acknowledge(b);
    // The order stays open after both returned; what began later follows both.
    let c = model.begin(&[(0, 3)]);
    model.acknowledge(c);
    model.check(PowerLoss, &[0, 2]).unwrap();
    model.check(PowerLoss, &[1, 0]).unwrap();
    model.check(PowerLoss, &[3, 2]).unwrap();
    model.check(PowerLoss, &[3, 0]).unwrap_err();
    model.check(Kill, &[1, 2]).unwrap_err();
}

#[test]
fn overlapping_requests_to_one_block_leave_either() {
    let mut model = ModelVolume::new(1);
    let a = model.begin(&[(0, 1)]);
    let b = model.begin(&[(0, 2)]);
    model.acknowledge(b);
    model.acknowledge(a);
    flush(&mut model);
    model.check(PowerLoss, &[1]).unwrap();
    model.check(PowerLoss, &[2]).unwrap();
    model.check(PowerLoss, &[0]).unwrap_err();
    assert!(model.may_read(0, 1) && model.may_read(0, 2) && !model.may_read(0, 0));
}

#[test]
fn failed_requests_may_be_there_in_part() {
    let mut model = sequence(3, &[&[(0, 1)]]);
    let id = model.begin(&[(0, 2), (1, 2)]);
    model.fail(id);
    for observed in [[1, 0, 0], [2, 0, 0], [1, 2, 0], [2, 2, 0]] {
        model.check(PowerLoss, &observed).unwrap();
        model.check(Kill, &observed).unwrap();
    }
    // It binds nobody that follows, and does not come back over a later write.
    let id = model.begin(&[(0, 3), (2, 3)]);
    model.acknowledge(id);
    model.check(Kill, &[3, 0, 3]).unwrap();
    model.check(Kill, &[3, 2, 3]).unwrap();
    model.check(Kill, &[2, 2, 3]).unwrap_err();
}

#[test]
fn a_large_request_that_failed_may_be_there_in_any_part() {
    let changes: Vec<(u64, u64)> = (0..17).map(|lba| (lba, 1)).collect();
    let mut model = ModelVolume::new(17);
    let id = model.begin(&changes);
    model.fail(id);
    let scattered: Vec<u64> = (0..17).map(|lba| lba % 2).collect();
    model.check(Kill, &scattered).unwrap();
    model.check(Kill, &[0; 17]).unwrap();
}

#[test]
fn a_check_at_a_moment_ignores_the_future() {
    let mut model = sequence(1, &[&[(0, 1)]]);
    let moment = model.now();
    let id = model.begin(&[(0, 2)]);
    model.acknowledge(id);
    flush(&mut model);
    model.check_at(moment, PowerLoss, &[0]).unwrap();
    model.check_at(moment, Kill, &[1]).unwrap();
    assert_eq!(
        model.check_at(moment, PowerLoss, &[2]),
        Err(Violation::Unknown { lba: 0, version: 2 })
    );
    model.check_at(Tick(0), Kill, &[0]).unwrap();
}

#[test]
fn a_model_resumes_from_what_a_crash_left() {
    let mut model = ModelVolume::new(2);
    let version = model.new_version();
    let id = model.begin(&[(0, version)]);
    model.acknowledge(id);
    let mut model = ModelVolume::resumed(&[version, 0], model.next_version());
    model.check(Kill, &[version, 0]).unwrap();
    model.check(PowerLoss, &[0, 0]).unwrap_err();
    let next = model.new_version();
    assert!(next > version);
    let id = model.begin(&[(1, next)]);
    model.acknowledge(id);
    assert_eq!(model.latest(), [version, next]);
}

/// A request of one block as the enumerating oracle sees it: block, version, beginning, end.
type Plain = (usize, u64, u64, u64);

/// Every content that some set of requests, complete with all that precedes any of it and with all
/// that `required` names, may leave in some order that respects precedence.
fn enumerate(requests: &[Plain], required: &[bool], blocks: usize) -> Vec<Vec<Vec<u64>>> {
    let precedes = |a: &Plain, b: &Plain| a.3 < b.2;
    (0_u32..1 << requests.len())
        .filter(|set| {
            let has = |index: usize| set & (1 << index) != 0;
            (0..requests.len()).all(|b| {
                (has(b) || !required[b])
                    && (0..requests.len())
                        .all(|a| has(a) || !has(b) || !precedes(&requests[a], &requests[b]))
            })
        })
        .map(|set| {
            let members: Vec<&Plain> =
                (0..requests.len()).filter(|i| set & (1 << i) != 0).map(|i| &requests[i]).collect();
            (0..blocks)
                .map(|block| {
                    let here: Vec<&&Plain> = members.iter().filter(|m| m.0 == block).collect();
                    let last = here.iter().filter(|m| !here.iter().any(|n| precedes(m, n)));
                    let mut versions: Vec<u64> = last.map(|m| m.1).collect();
                    if here.is_empty() {
                        versions.push(0);
                    }
                    versions
                })
                .collect()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Against enumeration, for requests and flushes that overlap in time.
    #[test]
    fn agrees_with_enumeration_of_overlapping_requests(
        events in proptest::collection::vec(
            (0..7_u8, 0..3_usize, any::<bool>(), any::<prop::sample::Index>()), 0..18),
        observed in proptest::collection::vec(0_u64..7, 3),
    ) {
        let mut model = ModelVolume::new(3);
        let mut requests: Vec<Plain> = Vec::new();
        let mut open = Vec::new();
        let mut tickets = Vec::new();
        let mut flushed = 0;
        for (time, (event, block, zero, pick)) in (1..).zip(events) {
            match event {
                0..=2 if requests.len() < 6 => {
                    let version = if zero { 0 } else { model.new_version() };
                    let id = model.begin(&[(block as u64, version)]);
                    open.push((id, requests.len()));
                    requests.push((block, version, time, u64::MAX));
                }
                3 | 4 if !open.is_empty() => {
                    let (id, index) = open.swap_remove(pick.index(open.len()));
                    model.acknowledge(id);
                    requests[index].3 = time;
                }
                5 => tickets.push((model.begin_flush(), time)),
                6 if !tickets.is_empty() => {
                    let (ticket, start) = tickets.swap_remove(pick.index(tickets.len()));
                    model.end_flush(ticket);
                    flushed = flushed.max(start);
                }
                _ => {}
            }
        }
        for (kind, floor) in [(PowerLoss, flushed), (Kill, u64::MAX - 1)] {
            let required: Vec<bool> = requests.iter().map(|r| r.3 <= floor).collect();
            let valid = enumerate(&requests, &required, 3);
            let is_valid = |content: &[u64]| {
                valid.iter().any(|versions| {
                    versions.iter().zip(content).all(|(allowed, v)| allowed.contains(v))
                })
            };
            // A random content is mostly wrong; one built from a valid set is right.
            let right = valid.iter().map(|versions| versions.iter().map(|v| v[0]).collect());
            let mixed: Vec<u64> = (0..3).map(|at| {
                let versions: Vec<u64> = requests.iter().filter(|r| r.0 == at).map(|r| r.1).collect();
                let pick = usize::try_from(observed[at]).unwrap() % (versions.len() + 1);
                versions.get(pick).copied().unwrap_or(0)
            }).collect();
            for content in right.chain([observed.clone(), mixed]) {
                let content: Vec<u64> = content;
                let verdict = model.check(kind, &content);
                prop_assert_eq!(
                    verdict.is_ok(), is_valid(&content),
                    "{:?} {:?}: {:?}", kind, content, verdict
                );
            }
        }
    }

    /// No false alarm: whatever a volume does that applies overlapping requests one by one, each at
    /// some moment while it is under way, passes.
    #[test]
    fn accepts_every_atomic_execution(
        events in proptest::collection::vec(
            (0..9_u8, 0..4_u64, 1..4_u64, any::<prop::sample::Index>()), 0..40),
    ) {
        let mut model = ModelVolume::new(4);
        let mut states = vec![vec![0_u64; 4]];
        // Requests begun, requests applied (with the number of the state they made), flushes begun.
        let (mut begun, mut applied, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut acknowledged, mut flushed) = (0, 0);
        for (event, lba, count, pick) in events {
            match event {
                0..=2 => {
                    let version = if event == 0 { 0 } else { model.new_version() };
                    let changes: Vec<(u64, u64)> =
                        (lba..(lba + count).min(4)).map(|lba| (lba, version)).collect();
                    begun.push((model.begin(&changes), changes));
                }
                3 | 4 if !begun.is_empty() => {
                    let (id, changes) = begun.swap_remove(pick.index(begun.len()));
                    let mut state = states.last().unwrap().clone();
                    for (lba, version) in changes {
                        state[usize::try_from(lba).unwrap()] = version;
                    }
                    applied.push((id, states.len()));
                    states.push(state);
                }
                5 | 6 if !applied.is_empty() => {
                    let (id, state) = applied.swap_remove(pick.index(applied.len()));
                    model.acknowledge(id);
                    acknowledged = acknowledged.max(state);
                }
                7 => flushes.push((model.begin_flush(), acknowledged)),
                8 if !flushes.is_empty() => {
                    let (ticket, covered) = flushes.swap_remove(pick.index(flushes.len()));
                    model.end_flush(ticket);
                    flushed = flushed.max(covered);
                }
                _ => {}
            }
        }
        for (kind, floor) in [(PowerLoss, flushed), (Kill, acknowledged)] {
            for state in &states[floor..] {
                let verdict = model.check(kind, state);
                prop_assert!(verdict.is_ok(), "{:?} {:?}: {:?}", kind, state, verdict);
            }
        }
    }

    /// Against the plainest possible oracle: a list of all prefixes of a sequential history.
    #[test]
    fn agrees_with_enumeration(
        requests in proptest::collection::vec(
            (0_u64..4, 1_u64..3, any::<bool>(), any::<bool>()), 0..8),
        observed in proptest::collection::vec(0_u64..9, 4),
        use_prefix in any::<prop::sample::Index>(),
        mutate in any::<bool>(),
    ) {
        let mut model = ModelVolume::new(4);
        let mut states = vec![vec![0_u64; 4]];
        let mut floor = 0;
        for (lba, count, zero, then_flush) in requests {
            let version = if zero { 0 } else { model.new_version() };
            let changes: Vec<(u64, u64)> =
                (lba..(lba + count).min(4)).map(|lba| (lba, version)).collect();
            let id = model.begin(&changes);
            model.acknowledge(id);
            let mut state = states.last().unwrap().clone();
            for (lba, version) in changes {
                state[usize::try_from(lba).unwrap()] = version;
            }
            states.push(state);
            if then_flush {
                flush(&mut model);
                floor = states.len() - 1;
            }
        }
        // Either any content, or a prefix's, perhaps with one block changed.
        let mut content = states[use_prefix.index(states.len())].clone();
        if mutate {
            let at = use_prefix.index(4);
            content[at] = observed[at];
        }
        for content in [content, observed] {
            let verdict = model.check(PowerLoss, &content);
            prop_assert_eq!(verdict.is_ok(), states[floor..].contains(&content), "{:?}", verdict);
            let verdict = model.check(Kill, &content);
            prop_assert_eq!(verdict.is_ok(), states.last() == Some(&content), "{:?}", verdict);
        }
    }
}

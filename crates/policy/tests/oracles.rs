//! Goal: conditions and decisions agree with definitions that are too simple to be wrong. Method:
//! random small cases, against sets written out, and against themselves with one statement more.

#[path = "support/ask.rs"]
mod support;

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use sealvol_policy::{Identity, MapContext, Outcome, Policy, PolicyKind};
use support::{ALICE, FARGATE, ROOT, SESSION, STRANGER, WORKER, ask, holds, policy, who};

#[derive(Debug, Clone, Copy)]
enum Prefix {
    None,
    All,
    Any,
}

/// The definition, in sets: `request` is `None` when the key is absent.
fn by_sets(
    prefix: Prefix,
    negated: bool,
    if_exists: bool,
    request: Option<&BTreeSet<char>>,
    wanted: &BTreeSet<char>,
) -> bool {
    let Some(values) = request.filter(|values| !values.is_empty()) else {
        return if_exists
            || match prefix {
                Prefix::None => negated,
                Prefix::All => true,
                Prefix::Any => false,
            };
    };
    match (prefix, negated) {
        (Prefix::None, false) | (Prefix::Any, false) => !values.is_disjoint(wanted),
        (Prefix::None, true) | (Prefix::All, true) => values.is_disjoint(wanted),
        (Prefix::All, false) => values.is_subset(wanted),
        (Prefix::Any, true) => !values.is_subset(wanted),
    }
}

fn letters(most: usize) -> impl Strategy<Value = BTreeSet<char>> {
    btree_set(prop::sample::select(vec!['a', 'b', 'c', 'd']), 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn conditions_are_set_operations(
        prefix in prop::sample::select(vec![Prefix::None, Prefix::All, Prefix::Any]),
        negated: bool,
        if_exists: bool,
        family in 0..4_usize,
        request in prop::option::of(letters(4)),
        wanted in letters(4),
    ) {
        prop_assume!(!wanted.is_empty());
        // Four operators that come down to equality of letters.
        let (name, text): (&str, fn(char) -> String) = [
            ("StringEquals", (|letter| letter.to_string()) as fn(char) -> String),
            ("StringLike", |letter| format!("x{letter}")),
            ("NumericEquals", |letter| u32::from(letter).to_string()),
            ("ArnEquals", |letter| format!("arn:aws:s3:::{letter}")),
        ][family];
        let name = if negated {
            name.replace("Equals", "NotEquals").replace("Like", "NotLike")
        } else {
            name.to_owned()
        };
        let prefix_text = match prefix {
            Prefix::None => "",
            Prefix::All => "ForAllValues:",
            Prefix::Any => "ForAnyValue:",
        };
        let suffix = if if_exists { "IfExists" } else { "" };
        let list: Vec<_> = wanted.iter().map(|&letter| format!("\"{}\"", text(letter))).collect();
        let condition =
            format!(r#""{prefix_text}{name}{suffix}": {{"aws:k": [{}]}}"#, list.join(","));
        let mut context = MapContext::default();
        if let Some(values) = &request {
            let values: Vec<_> = values.iter().map(|&letter| text(letter)).collect();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            context = context.with_many("aws:k", &values);
        }
        let expected = by_sets(prefix, negated, if_exists, request.as_ref(), &wanted);
        prop_assert_eq!(holds(&condition, &context), expected, "{} {:?}", condition, request);
    }
}

/// A statement of a resource policy (with its principal) or of an identity policy (without).
fn statement(effect: &'static str, with_principal: bool) -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        r#""*""#.to_owned(),
        format!(r#"{{"AWS": "{ROOT}"}}"#),
        format!(r#"{{"AWS": ["{ALICE}", "{STRANGER}"]}}"#),
        format!(r#"{{"AWS": ["{WORKER}", "999999999999"]}}"#),
        format!(r#"{{"AWS": "{SESSION}"}}"#),
        format!(r#"{{"Service": "{FARGATE}"}}"#),
    ]);
    let action = prop::sample::select(vec![
        r#""Action": "kms:*""#,
        r#""Action": ["kms:Decrypt", "kms:List*"]"#,
        r#""NotAction": "kms:Decrypt""#,
    ]);
    let condition = prop::sample::select(vec![
        "",
        r#", "Condition": {"StringEquals": {"aws:x": "1"}}"#,
        r#", "Condition": {"StringNotEquals": {"aws:x": "1"}}"#,
        r#", "Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}"#,
    ]);
    (principal, action, condition, any::<bool>()).prop_map(
        move |(principal, action, condition, negated)| {
            let principal = match (with_principal, negated && effect == "Deny") {
                (false, _) => String::new(),
                (true, false) => format!(r#""Principal": {principal}, "#),
                (true, true) => format!(r#""NotPrincipal": {principal}, "#),
            };
            format!(r#"{{"Effect": "{effect}", {principal}{action}, "Resource": "*"{condition}}}"#)
        },
    )
}

fn any_statement(with_principal: bool) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => statement("Allow", with_principal),
        1 => statement("Deny", with_principal),
    ]
}

fn statements(with_principal: bool) -> impl Strategy<Value = Vec<String>> {
    vec(any_statement(with_principal), 0..4)
}

/// The policies of a case: the key's, the identity's, and perhaps the boundary and the session's.
#[derive(Debug, Clone)]
struct Case {
    caller: &'static str,
    key: Vec<String>,
    identity: Vec<String>,
    boundary: Option<Vec<String>>,
    session: Option<Vec<String>>,
    given: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::sample::select(vec![ALICE, SESSION, ROOT, STRANGER, FARGATE]),
        statements(true),
        statements(false),
        prop::option::weighted(0.3, statements(false)),
        prop::option::weighted(0.3, statements(false)),
        any::<bool>(),
    )
        .prop_map(|(caller, key, identity, boundary, session, given)| Case {
            caller,
            key,
            identity,
            boundary,
            session,
            given,
        })
}

/// A policy of any statements; of none, one that never applies.
fn read(kind: PolicyKind, statements: &[String]) -> std::sync::Arc<Policy> {
    let inert = match kind {
        PolicyKind::Resource => {
            r#"{"Effect": "Deny", "Principal": "*", "Action": "none:None", "Resource": "*"}"#
        }
        _ => r#"{"Effect": "Deny", "Action": "none:None", "Resource": "*"}"#,
    };
    let mut all = vec![inert.to_owned()];
    all.extend_from_slice(statements);
    policy(kind, &all.join(","))
}

fn outcome(case: &Case) -> Outcome {
    let mut identity: Identity =
        who(case.caller).with_policy("p", read(PolicyKind::Identity, &case.identity));
    if let Some(boundary) = &case.boundary {
        identity = identity.with_boundary("b", read(PolicyKind::Identity, boundary));
    }
    if let Some(session) = &case.session {
        identity = identity.with_session_policy("s", read(PolicyKind::Identity, session));
    }
    let context =
        if case.given { MapContext::default().with("aws:x", "1") } else { MapContext::default() };
    ask(&identity, "kms:Decrypt", &read(PolicyKind::Resource, &case.key), &context).outcome
}

/// How much an outcome permits.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::ExplicitDeny => 0,
        Outcome::ImplicitDeny => 1,
        Outcome::Allow => 2,
    }
}

fn with_more(case: &Case, which: u8, at: usize, key: &str, identity: &str) -> Case {
    let mut more = case.clone();
    let (list, statement) = match which {
        0 => (Some(&mut more.key), key),
        1 => (Some(&mut more.identity), identity),
        2 => (more.boundary.as_mut(), identity),
        _ => (more.session.as_mut(), identity),
    };
    if let Some(list) = list {
        list.insert(at.min(list.len()), statement.to_owned());
    }
    more
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_deny_more_never_permits_more(
        case in case(), which in 0..4_u8, at in 0..4_usize,
        key in statement("Deny", true), identity in statement("Deny", false),
    ) {
        let more = with_more(&case, which, at, &key, &identity);
        prop_assert!(rank(outcome(&more)) <= rank(outcome(&case)));
    }

    #[test]
    fn an_allow_more_never_permits_less(
        case in case(), which in 0..4_u8, at in 0..4_usize,
        key in statement("Allow", true), identity in statement("Allow", false),
    ) {
        let more = with_more(&case, which, at, &key, &identity);
        prop_assert!(rank(outcome(&more)) >= rank(outcome(&case)));
    }

    #[test]
    fn a_limit_never_permits_more(case in case()) {
        let free = Case { boundary: None, session: None, ..case.clone() };
        prop_assert!(rank(outcome(&case)) <= rank(outcome(&free)));
    }

    #[test]
    fn the_order_of_statements_does_not_matter(case in case()) {
        let mut turned = case.clone();
        turned.key.reverse();
        turned.identity.reverse();
        prop_assert_eq!(outcome(&turned), outcome(&case));
    }
}

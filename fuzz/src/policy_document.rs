//! Policy documents: any text is read or refused, and what was read decides any request, the same way
//! twice, and never more permissively with a Deny beside it.

use std::sync::Arc;

use sealvol_policy::{
    AccountId, Identity, Limits, MapContext, Outcome, Policy, PolicyKind, Principal, Query,
    ResourcePolicy, decide,
};

use crate::input::Input;
use crate::memory::bounded;

/// The callers that a request can come from.
const CALLERS: [&str; 6] = [
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:sts::111122223333:assumed-role/worker/s1",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::999999999999:user/eve",
    "arn:aws:iam::111122223333:role/worker",
    "fargate.amazonaws.com",
];

const DENY: &str = r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#;

/// The target's body: a kind, a caller, an action, a resource, one key's value, then the document.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kinds = [PolicyKind::Resource, PolicyKind::Identity, PolicyKind::Trust];
    let kind = kinds[usize::from(input.u8()) % kinds.len()];
    let caller = CALLERS[usize::from(input.u8()) % CALLERS.len()];
    let (action, resource) = (input.text(), input.text());
    let (key, value) = (input.text(), input.text());
    let text = String::from_utf8_lossy(input.all()).into_owned();

    // A byte of the document is at most a value of a list, read; and is held twice while it is read.
    let budget = (64 << 10) + 1024 * text.len();
    let limits = Limits::default();
    let Ok(policy) = bounded(budget, || Policy::parse(&text, kind, &limits)) else { return };
    assert_eq!(policy.text(), text);
    for used in policy.principals() {
        assert!(!used.principal.to_string().is_empty());
    }
    for used in policy.conditions() {
        assert!(used.key.contains(':'));
    }

    let policy = Arc::new(policy);
    let principal = Principal::parse(caller).expect("a caller of ours");
    let mut identity = Identity::new(principal).with_tag("Team", &value);
    let account = AccountId::parse("111122223333").expect("twelve digits");
    let mut resource_policy = None;
    if kind == PolicyKind::Identity {
        identity = identity.with_policy("p", policy.clone());
    } else {
        identity = identity.with_everything();
        resource_policy = Some(ResourcePolicy { policy: &policy, account });
    }
    let context = MapContext::default()
        .with(&key, &value)
        .with_many("kms:EncryptionContextKeys", &[&key, &value]);
    let ask = |identity: &Identity| {
        let query = Query {
            identity,
            action: &action,
            resource: &resource,
            resource_policy,
            context: &context,
        };
        decide(&query).outcome
    };
    let first = ask(&identity);
    assert_eq!(ask(&identity), first, "the same request decided in two ways");
    let deny = Policy::parse(DENY, PolicyKind::Identity, &limits).expect("a policy of ours");
    let denied = identity.with_policy("deny", deny.into());
    assert_eq!(ask(&denied), Outcome::ExplicitDeny, "a Deny was passed over");
}

//! Short ways to ask: policies from text, callers by name, one key.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;

use sealvol_policy::{
    AccountId, ConditionKeys, Decision, Identity, Limits, MapContext, Policy, PolicyKind,
    Principal, Query, ResourcePolicy, decide,
};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/k";
pub(crate) const ROOT: &str = "arn:aws:iam::111122223333:root";
pub(crate) const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
pub(crate) const WORKER: &str = "arn:aws:iam::111122223333:role/worker";
pub(crate) const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/worker/s1";
pub(crate) const STRANGER: &str = "arn:aws:iam::999999999999:user/eve";
pub(crate) const FARGATE: &str = "fargate.amazonaws.com";

pub(crate) fn account() -> AccountId {
    AccountId::parse(ACCOUNT).expect("twelve digits")
}

/// A policy of `statements`, in the newer language.
pub(crate) fn policy(kind: PolicyKind, statements: &str) -> Arc<Policy> {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    match Policy::parse(&text, kind, &Limits::default()) {
        Ok(policy) => Arc::new(policy),
        Err(error) => panic!("{error}\n{text}"),
    }
}

pub(crate) fn key_policy(statements: &str) -> Arc<Policy> {
    policy(PolicyKind::Resource, statements)
}

pub(crate) fn iam_policy(statements: &str) -> Arc<Policy> {
    policy(PolicyKind::Identity, statements)
}

pub(crate) fn who(text: &str) -> Identity {
    Identity::new(Principal::parse(text).expect("a principal"))
}

/// What the policies say of `identity`'s `action` on the key.
pub(crate) fn ask<'a>(
    identity: &'a Identity,
    action: &'a str,
    key_policy: &'a Policy,
    context: &'a dyn ConditionKeys,
) -> Decision<'a> {
    let resource_policy = Some(ResourcePolicy { policy: key_policy, account: account() });
    decide(&Query { identity, action, resource: KEY, resource_policy, context })
}

/// The same without anything in the request.
pub(crate) fn allows(identity: &Identity, action: &str, key_policy: &Policy) -> bool {
    ask(identity, action, key_policy, &MapContext::default()).is_allowed()
}

/// Whether a request with `context` satisfies the body of a `Condition` element.
pub(crate) fn holds(condition: &str, context: &MapContext) -> bool {
    let policy = key_policy(&format!(
        r#"{{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": {{{condition}}}}}"#
    ));
    ask(&who(ALICE), "kms:Decrypt", &policy, context).is_allowed()
}

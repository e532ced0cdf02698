//! Goal: the rules of kms.md, section 6, whoever asks. Method: small policies, one rule each; every
//! denial is shown beside the allow that it is one change away from.

#[path = "support/ask.rs"]
mod support;

use sealvol_policy::{
    AccountId, Decision, Identity, Limits, MapContext, Outcome, Policy, PolicyKind, PolicySource,
    Principal, Query, Reason, ResourcePolicy, decide,
};
use support::{
    ALICE, FARGATE, KEY, ROOT, SESSION, STRANGER, WORKER, allows, ask, iam_policy, key_policy,
    policy, who,
};

const ALL_IAM: &str = r#"{"Sid": "All", "Effect": "Allow", "Action": "kms:*", "Resource": "*"}"#;

fn delegation() -> std::sync::Arc<Policy> {
    key_policy(&format!(
        r#"{{"Sid": "Enable IAM User Permissions", "Effect": "Allow",
            "Principal": {{"AWS": "{ROOT}"}}, "Action": "kms:*", "Resource": "*"}}"#
    ))
}

fn allow_to(principal: &str) -> std::sync::Arc<Policy> {
    key_policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {principal}, "Action": "kms:Decrypt", "Resource": "*"}}"#
    ))
}

fn reason(identity: &Identity, key_policy: &Policy) -> Reason {
    ask(identity, "kms:Decrypt", key_policy, &MapContext::default()).reason
}

#[test]
fn root_delegation_allows_nobody_by_itself() {
    let key = delegation();
    let alice = who(ALICE);
    assert_eq!(reason(&alice, &key), Reason::NoIdentityPolicyAllows { delegated: true });
    let permitted = alice.with_policy("kms", iam_policy(ALL_IAM));
    let context = MapContext::default();
    let decision = ask(&permitted, "kms:Decrypt", &key, &context);
    assert!(decision.is_allowed());
    let by = decision.by.unwrap();
    assert_eq!((by.source, by.sid), (PolicySource::Identity("kms"), Some("All")));
    // The root user himself is meant by name.
    let root = who(ROOT);
    let decision = ask(&root, "kms:Decrypt", &key, &context);
    assert_eq!(decision.reason, Reason::ResourcePolicyAllows);
    assert_eq!(decision.by.unwrap().sid, Some("Enable IAM User Permissions"));
    assert!(allows(&Identity::unlimited(SESSION).unwrap(), "kms:Decrypt", &key));
    assert!(allows(&permitted, "kms:Decrypt", &allow_to(r#"{"AWS": "111122223333"}"#)));
}

#[test]
fn without_delegation_iam_allows_nothing() {
    // Case 49. Nobody has implicit access, the root user included.
    let key = allow_to(&format!(r#"{{"AWS": "{WORKER}"}}"#));
    let alice = who(ALICE).with_policy("kms", iam_policy(ALL_IAM));
    assert_eq!(reason(&alice, &key), Reason::NoResourcePolicyAllows);
    assert_eq!(reason(&who(ROOT), &key), Reason::NoResourcePolicyAllows);
    assert!(allows(&who(SESSION), "kms:Decrypt", &key));
}

#[test]
fn the_delegating_statements_conditions_count() {
    let key = key_policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ROOT}"}}, "Action": "kms:*", "Resource": "*",
            "Condition": {{"StringEquals": {{"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}}}}}"#
    ));
    let alice = who(ALICE).with_policy("kms", iam_policy(ALL_IAM));
    let via = |name| MapContext::default().with("kms:ViaService", name);
    assert!(ask(&alice, "kms:Decrypt", &key, &via("ec2.us-east-1.amazonaws.com")).is_allowed());
    assert!(!ask(&alice, "kms:Decrypt", &key, &via("rds.us-east-1.amazonaws.com")).is_allowed());
    assert!(!allows(&alice, "kms:Decrypt", &key));
}

#[test]
fn an_identity_policys_deny_binds_without_delegation() {
    let deny = r#"{"Sid": "No", "Effect": "Deny", "Action": "kms:dec*", "Resource": "*"}"#;
    let key = allow_to(&format!(r#"{{"AWS": "{ALICE}"}}"#));
    assert!(allows(&who(ALICE), "kms:Decrypt", &key));
    let alice = who(ALICE).with_policy("a", iam_policy(ALL_IAM)).with_policy("b", iam_policy(deny));
    let context = MapContext::default();
    let decision = ask(&alice, "kms:Decrypt", &key, &context);
    assert_eq!(decision.outcome, Outcome::ExplicitDeny);
    let by = decision.by.unwrap();
    assert_eq!((by.source, by.sid), (PolicySource::Identity("b"), Some("No")));
    // The root user and the unlimited are denied like others.
    let root = who(ROOT).with_policy("b", iam_policy(deny));
    assert!(!allows(&root, "kms:Decrypt", &delegation()));
}

#[test]
fn the_resources_deny_wins_over_its_allow() {
    let both = |first: &str, second: &str| {
        let statement = |effect: &str| {
            format!(
                r#"{{"Sid": "{effect}", "Effect": "{effect}", "Principal": "*",
                    "Action": "kms:*", "Resource": "*"}}"#
            )
        };
        key_policy(&format!("{},{}", statement(first), statement(second)))
    };
    for key in [both("Allow", "Deny"), both("Deny", "Allow")] {
        let context = MapContext::default();
        let alice = Identity::unlimited(ALICE).unwrap();
        let decision = ask(&alice, "kms:Decrypt", &key, &context);
        assert_eq!(decision.outcome, Outcome::ExplicitDeny);
        assert_eq!(decision.by.unwrap().source, PolicySource::Resource);
    }
}

#[test]
fn another_account_needs_both() {
    let eve = who(STRANGER);
    let permitted = eve.clone().with_policy("kms", iam_policy(ALL_IAM));
    for principal in [
        format!(r#"{{"AWS": "{STRANGER}"}}"#),
        r#"{"AWS": "arn:aws:iam::999999999999:root"}"#.to_owned(),
        r#"{"AWS": "999999999999"}"#.to_owned(),
        r#""*""#.to_owned(),
        r#"{"AWS": ["*"]}"#.to_owned(),
    ] {
        let key = allow_to(&principal);
        assert_eq!(reason(&eve, &key), Reason::NoIdentityPolicyAllows { delegated: true });
        assert!(allows(&permitted, "kms:Decrypt", &key), "{principal}");
    }
    assert_eq!(reason(&permitted, &delegation()), Reason::NoResourcePolicyAllows);
    // Everybody of the account itself needs no policy of his own.
    assert!(allows(&who(ALICE), "kms:Decrypt", &allow_to(r#""*""#)));
}

#[test]
fn caller_account_narrows_everybody() {
    let key = key_policy(
        r#"{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*",
            "Condition": {"StringEquals": {"kms:CallerAccount": "111122223333",
                "kms:ViaService": "ec2.us-east-1.amazonaws.com"}}}"#,
    );
    let from = |account, via| {
        MapContext::default().with("kms:CallerAccount", account).with("kms:ViaService", via)
    };
    let decrypts =
        |context: &MapContext| ask(&who(ALICE), "kms:Decrypt", &key, context).is_allowed();
    assert!(decrypts(&from("111122223333", "ec2.us-east-1.amazonaws.com")));
    assert!(!decrypts(&from("999999999999", "ec2.us-east-1.amazonaws.com")));
    assert!(!decrypts(&from("111122223333", "s3.us-east-1.amazonaws.com")));
}

#[test]
fn services_and_the_anonymous_need_the_resources_policy() {
    let fargate = who(FARGATE);
    let named = allow_to(r#"{"Service": "Fargate.amazonaws.com"}"#);
    assert!(allows(&fargate, "kms:Decrypt", &named));
    assert!(!allows(&who("ec2.amazonaws.com"), "kms:Decrypt", &named));
    assert!(!allows(&who(ALICE).with_everything(), "kms:Decrypt", &named));
    assert!(!allows(&fargate, "kms:Decrypt", &delegation()));
    let several = Principal::service(["ec2.us-east-1.amazonaws.com", "ec2.amazonaws.com"]).unwrap();
    let several = Identity::new(several);
    assert!(allows(&several, "kms:Decrypt", &allow_to(r#"{"Service": "ec2.amazonaws.com"}"#)));
    assert!(allows(&Identity::anonymous(), "kms:Decrypt", &allow_to(r#""*""#)));
    assert!(!allows(&Identity::anonymous(), "kms:Decrypt", &delegation()));
    let context = MapContext::default();
    let query = Query {
        identity: &fargate,
        action: "kms:ListKeys",
        resource: "*",
        resource_policy: None,
        context: &context,
    };
    assert_eq!(decide(&query).outcome, Outcome::ImplicitDeny);
}

#[test]
fn a_role_means_its_sessions_and_a_session_itself() {
    let role = allow_to(&format!(r#"{{"AWS": "{WORKER}"}}"#));
    let session = allow_to(&format!(r#"{{"AWS": "{SESSION}"}}"#));
    let other = who("arn:aws:sts::111122223333:assumed-role/worker/s2");
    assert!(allows(&who(SESSION), "kms:Decrypt", &role));
    assert!(allows(&other, "kms:Decrypt", &role));
    assert!(allows(&who(SESSION), "kms:Decrypt", &session));
    assert!(!allows(&other, "kms:Decrypt", &session));
    let with_path = Principal::session("arn:aws:iam::111122223333:role/x/worker", "s1").unwrap();
    assert!(!allows(&Identity::new(with_path), "kms:Decrypt", &role), "paths are part of names");
}

#[test]
fn boundary_and_session_policies_limit_but_for_the_principal_itself() {
    let only_describe =
        || iam_policy(r#"{"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}"#);
    let limited = who(SESSION)
        .with_policy("kms", iam_policy(ALL_IAM))
        .with_session_policy("s", only_describe());
    let bounded =
        who(SESSION).with_policy("kms", iam_policy(ALL_IAM)).with_boundary("b", only_describe());
    let role = allow_to(&format!(r#"{{"AWS": "{WORKER}"}}"#));
    for key in [&role, &delegation(), &allow_to(r#""*""#)] {
        assert_eq!(reason(&limited, key), Reason::SessionPolicyDoesNotAllow);
        assert_eq!(reason(&bounded, key), Reason::BoundaryDoesNotAllow);
    }
    assert!(allows(&limited, "kms:DescribeKey", &delegation()));
    let session = allow_to(&format!(r#"{{"AWS": "{SESSION}"}}"#));
    assert!(allows(&limited, "kms:Decrypt", &session));
    assert!(allows(&bounded, "kms:Decrypt", &session));
    // Their denials hold all the same.
    let deny = iam_policy(r#"{"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}"#);
    let context = MapContext::default();
    let denied = who(SESSION).with_session_policy("s", deny);
    let decision = ask(&denied, "kms:Decrypt", &session, &context);
    assert_eq!(decision.outcome, Outcome::ExplicitDeny);
    assert_eq!(decision.by.unwrap().source, PolicySource::Session("s"));
    // Two session policies are one union.
    let two = limited.with_session_policy("t", iam_policy(ALL_IAM));
    assert!(allows(&two, "kms:Decrypt", &role));
}

#[test]
fn actions_on_no_resource_are_iams_alone() {
    let context = MapContext::default();
    let create = |identity: &Identity| {
        let (action, resource, resource_policy) = ("kms:CreateKey", "*", None);
        let query = Query { identity, action, resource, resource_policy, context: &context };
        decide(&query).reason
    };
    let nothing = Reason::NoIdentityPolicyAllows { delegated: false };
    assert_eq!(create(&who(ALICE)), nothing);
    assert_eq!(create(&who(ROOT)), Reason::IdentityPolicyAllows);
    let all = who(ALICE).with_policy("kms", iam_policy(ALL_IAM));
    assert_eq!(create(&all), Reason::IdentityPolicyAllows);
    let bounded = all.with_boundary(
        "b",
        iam_policy(r#"{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}"#),
    );
    assert_eq!(create(&bounded), Reason::BoundaryDoesNotAllow);
    // A policy for one key says nothing of actions on no key.
    let one = format!(r#"{{"Effect": "Allow", "Action": "kms:*", "Resource": "{KEY}"}}"#);
    assert_eq!(create(&who(ALICE).with_policy("one", iam_policy(&one))), nothing);
}

#[test]
fn actions_have_no_case_and_resources_do() {
    for (pattern, action, is) in [
        ("kms:Decrypt", "kms:decrypt", true),
        ("KMS:Re*", "kms:ReEncryptFrom", true),
        ("kms:?ecrypt", "kms:Decrypt", true),
        ("kms:Decrypt", "kms:DecryptX", false),
        ("*", "kms:Decrypt", true),
        ("ec2:*", "kms:Decrypt", false),
    ] {
        let statement = format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": "{pattern}", "Resource": "*"}}"#
        );
        assert_eq!(allows(&who(ALICE), action, &key_policy(&statement)), is, "{pattern} {action}");
    }
    for (pattern, is) in [
        (KEY, true),
        ("arn:aws:kms:*:111122223333:key/?", true),
        ("arn:aws:kms:us-east-1:111122223333:key/K", false),
        ("arn:aws:kms:us-east-1:111122223333:key/", false),
    ] {
        let one = format!(r#"{{"Effect": "Allow", "Action": "kms:*", "Resource": "{pattern}"}}"#);
        let alice = who(ALICE).with_policy("p", iam_policy(&one));
        assert_eq!(allows(&alice, "kms:Decrypt", &delegation()), is, "{pattern}");
    }
}

#[test]
fn the_negated_elements_mean_all_others() {
    let not_action =
        iam_policy(r#"{"Effect": "Allow", "NotAction": ["kms:Sched*", "iam:*"], "Resource": "*"}"#);
    let alice = who(ALICE).with_policy("p", not_action);
    assert!(allows(&alice, "kms:Decrypt", &delegation()));
    assert!(!allows(&alice, "kms:scheduleKeyDeletion", &delegation()));
    let except = |resource: &str| {
        let policy = iam_policy(&format!(
            r#"{{"Effect": "Allow", "Action": "kms:*", "NotResource": "{resource}"}}"#
        ));
        allows(&who(ALICE).with_policy("p", policy), "kms:Decrypt", &delegation())
    };
    assert!(!except(KEY) && !except("arn:aws:kms:*") && except("arn:aws:s3:*"));
    assert!(!except("x-${aws:PrincipalTag/none}"), "an unknown exception must not widen");

    let but = |principals: &str| {
        key_policy(&format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}},
               {{"Effect": "Deny", "NotPrincipal": {{"AWS": {principals}}},
                 "Action": "kms:Decrypt", "Resource": "*"}}"#
        ))
    };
    let alone = but(&format!(r#"["{ALICE}", "{WORKER}"]"#));
    assert!(allows(&who(ALICE), "kms:Decrypt", &alone));
    assert!(allows(&who(SESSION), "kms:Decrypt", &alone));
    assert!(!allows(&who("arn:aws:iam::111122223333:user/bob"), "kms:Decrypt", &alone));
    assert!(!allows(&who(ROOT), "kms:Decrypt", &alone));
    // The account in it spares the root user, not the account's users.
    let account = but(&format!(r#""{ROOT}""#));
    assert!(allows(&who(ROOT), "kms:Decrypt", &account));
    assert!(!allows(&who(ALICE), "kms:Decrypt", &account));
}

#[test]
fn a_deny_to_the_account_denies_everybody_in_it() {
    let key = key_policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ALICE}"}}, "Action": "*", "Resource": "*"}},
           {{"Effect": "Deny", "Principal": {{"AWS": "{ROOT}"}}, "Action": "kms:Decrypt",
             "Resource": "*"}}"#
    ));
    assert!(!allows(&who(ALICE), "kms:Decrypt", &key));
    assert!(allows(&who(ALICE), "kms:Encrypt", &key));
}

#[test]
fn a_statement_without_action_or_resource_is_inert() {
    for rest in [r#""Action": "*""#, r#""Resource": "*""#] {
        let key = key_policy(&format!(r#"{{"Effect": "Allow", "Principal": "*", {rest}}}"#));
        assert!(!allows(&who(ALICE), "kms:Decrypt", &key), "{rest}");
        let key = key_policy(&format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}},
               {{"Effect": "Deny", "Principal": "*", {rest}}}"#
        ));
        assert!(allows(&who(ALICE), "kms:Decrypt", &key), "{rest}");
    }
}

#[test]
fn global_keys_follow_from_the_caller() {
    let session = who(SESSION).with_user_id("AROAEXAMPLE:s1").with_tag("Team", "a");
    let alice = who(ALICE).with_user_id("AIDAEXAMPLE");
    for (caller, key, value) in [
        (&session, "aws:PrincipalArn", WORKER),
        (&session, "aws:PrincipalType", "AssumedRole"),
        (&session, "aws:userid", "AROAEXAMPLE:s1"),
        (&session, "aws:PrincipalTag/TEAM", "a"),
        (&session, "aws:PrincipalAccount", "111122223333"),
        (&alice, "aws:PrincipalArn", ALICE),
        (&alice, "aws:PrincipalType", "User"),
        (&alice, "aws:username", "alice"),
        (&alice, "aws:userid", "AIDAEXAMPLE"),
        (&alice, "aws:PrincipalIsAWSService", "false"),
        (&who(ROOT), "aws:PrincipalArn", ROOT),
        (&who(ROOT), "aws:userid", "111122223333"),
        (&who(FARGATE), "aws:PrincipalIsAWSService", "true"),
        (&who(FARGATE), "aws:PrincipalServiceName", FARGATE),
        (&who(FARGATE), "aws:PrincipalServiceNamesList", FARGATE),
    ] {
        let key_policy = key_policy(&format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": {{"StringEquals": {{"{key}": "{value}"}}}}}}"#
        ));
        assert!(allows(caller, "kms:Decrypt", &key_policy), "{key} {value}");
        // What the request says of the caller does not count.
        let lies = MapContext::default().with(key, value);
        let nobody = who("other.amazonaws.com");
        let lied = ask(&nobody, "kms:Decrypt", &key_policy, &lies).is_allowed();
        assert_eq!(lied, value == "true", "{key}");
    }
}

#[test]
fn variables_are_for_the_newer_language_only() {
    let text = r#"{"Statement": {"Effect": "Allow", "Action": "kms:*",
        "Resource": "arn:aws:kms:us-east-1:111122223333:key/${aws:username}"}}"#;
    let newer = text.replacen('{', r#"{"Version": "2012-10-17", "#, 1);
    let caller = who("arn:aws:iam::111122223333:user/k");
    for (text, is) in [(text, false), (newer.as_str(), true)] {
        let policy = Policy::parse(text, PolicyKind::Identity, &Limits::default()).unwrap();
        let caller = caller.clone().with_policy("p", policy.into());
        assert_eq!(allows(&caller, "kms:Decrypt", &delegation()), is);
    }
}

#[test]
fn trust_policies_decide_who_assumes_a_role() {
    let trust = |principal: &str| {
        policy(
            PolicyKind::Trust,
            &format!(
                r#"{{"Effect": "Allow", "Principal": {principal}, "Action": "sts:AssumeRole",
                    "Condition": {{"StringEquals": {{"sts:ExternalId": "x"}}}}}}"#
            ),
        )
    };
    fn assume<'a>(
        identity: &'a Identity,
        trust: &'a Policy,
        context: &'a MapContext,
    ) -> Decision<'a> {
        let account = AccountId::parse("111122223333").unwrap();
        decide(&Query {
            identity,
            action: "sts:AssumeRole",
            resource: WORKER,
            resource_policy: Some(ResourcePolicy { policy: trust, account }),
            context,
        })
    }
    let id = MapContext::default().with("sts:ExternalId", "x");
    let may = iam_policy(r#"{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}"#);
    let alice = who(ALICE);
    let permitted = alice.clone().with_policy("p", may.clone());
    let direct = trust(&format!(r#"{{"AWS": "{ALICE}"}}"#));
    assert!(assume(&alice, &direct, &id).is_allowed());
    assert!(!assume(&alice, &direct, &MapContext::default()).is_allowed());
    let root = trust(&format!(r#"{{"AWS": "{ROOT}"}}"#));
    assert!(!assume(&alice, &root, &id).is_allowed());
    assert!(assume(&permitted, &root, &id).is_allowed());
    let abroad = trust(r#"{"AWS": "arn:aws:iam::999999999999:root"}"#);
    assert!(!assume(&who(STRANGER), &abroad, &id).is_allowed());
    assert!(assume(&who(STRANGER).with_policy("p", may), &abroad, &id).is_allowed());
    assert!(
        assume(&who(FARGATE), &trust(r#"{"Service": "fargate.amazonaws.com"}"#), &id).is_allowed()
    );
}

//! Goal: a role is assumed by whom its trust policy and the caller's own policies let, and a token
//! opens its own session, until it ends, and no other. Method: small directories, a seeded source of
//! randomness and the time as a number.

use std::fmt::Write as _;

use proptest::prelude::*;
use sealvol_core::UnixMillis;
use sealvol_iam::{
    AssumeRole, CallerIdentity, Directory, IamConfig, Known, SessionCredentials, Sessions,
    StsError, TokenError,
};
use sealvol_policy::{Identity, Limits, MapContext};
use sealvol_testkit::SeededEntropy;

const ROLE: &str = "arn:aws:iam::000000000000:role/worker";
const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn directory(trust: &str) -> Directory {
    let mut text = String::new();
    write!(
        text,
        r#"
        [[account]]
        id = "000000000000"
        [[account.user]]
        name = "alice"
        [[account.user]]
        name = "bob"
        [[account.user.policies]]
        name = "assume"
        document = '{{"Statement": {{"Effect": "Allow", "Action": "sts:*", "Resource": "{ROLE}"}}}}'
        [[account.role]]
        name = "worker"
        max_session = "2h"
        trust = '''{{"Statement": {{"Effect": "Allow", "Action": "sts:AssumeRole", {trust}}}}}'''
        [[account.role.policies]]
        name = "kms"
        document = '{{"Statement": {{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}}}'
        [[account]]
        id = "999999999999"
        "#
    )
    .expect("a text grows");
    let mut no_files = |_: &str| Err(String::new());
    let config = IamConfig::from_toml(&text).expect("a configuration");
    Directory::build(config, Known::Configured, &Limits::default(), &mut no_files)
        .expect("a directory")
}

fn user(directory: &Directory, name: &str) -> Identity {
    directory.identity(&format!("arn:aws:iam::000000000000:user/{name}")).expect("a user")
}

const REQUEST: AssumeRole<'_> = AssumeRole {
    role_arn: ROLE,
    session_name: "s-1",
    duration_seconds: None,
    external_id: None,
    policy: None,
};

fn sessions() -> Sessions {
    Sessions::new(&[7; 32])
}

fn assume(
    directory: &Directory,
    caller: &Identity,
    request: &AssumeRole<'_>,
) -> Result<SessionCredentials, StsError> {
    let (context, entropy) = (MapContext::default(), SeededEntropy::new(1));
    sessions().assume_role(directory, caller, request, &context, NOW, &entropy)
}

fn code(result: Result<SessionCredentials, StsError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "allowed")
}

const ALICE: &str = r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}"#;
const ACCOUNT: &str = r#""Principal": {"AWS": "000000000000"}"#;

#[test]
fn trust_and_the_callers_policies_decide() {
    let named = directory(ALICE);
    assert_eq!(code(assume(&named, &user(&named, "alice"), &REQUEST)), "allowed");
    assert_eq!(code(assume(&named, &user(&named, "bob"), &REQUEST)), "AccessDenied");
    let delegated = directory(ACCOUNT);
    assert_eq!(code(assume(&delegated, &user(&delegated, "alice"), &REQUEST)), "AccessDenied");
    assert_eq!(code(assume(&delegated, &user(&delegated, "bob"), &REQUEST)), "allowed");
    let root = delegated.identity("arn:aws:iam::000000000000:root").unwrap();
    assert_eq!(code(assume(&delegated, &root, &REQUEST)), "AccessDenied");
    let other = AssumeRole { role_arn: "arn:aws:iam::000000000000:role/none", ..REQUEST };
    assert_eq!(code(assume(&delegated, &user(&delegated, "bob"), &other)), "AccessDenied");
    let abroad = directory(r#""Principal": {"AWS": "999999999999"}"#);
    let eve = Identity::unlimited("arn:aws:iam::999999999999:user/eve").unwrap();
    assert_eq!(code(assume(&abroad, &eve, &REQUEST)), "allowed");
    let eve = Identity::new(eve.principal().clone());
    assert_eq!(code(assume(&abroad, &eve, &REQUEST)), "AccessDenied");
    let service = directory(r#""Principal": {"Service": "ecs-tasks.amazonaws.com"}"#);
    let ecs = service.identity("ecs-tasks.amazonaws.com").unwrap();
    assert_eq!(code(assume(&service, &ecs, &REQUEST)), "allowed");
}

#[test]
fn the_external_id_and_the_sessions_name_are_conditions() {
    let directory = directory(&format!(
        r#"{ALICE}, "Condition": {{"StringEquals": {{"sts:ExternalId": "x-1"}},
            "StringLike": {{"sts:RoleSessionName": "s-*"}}}}"#
    ));
    let alice = user(&directory, "alice");
    let with = |external_id, session_name| {
        code(assume(&directory, &alice, &AssumeRole { external_id, session_name, ..REQUEST }))
    };
    assert_eq!(with(Some("x-1"), "s-1"), "allowed");
    assert_eq!(with(None, "s-1"), "AccessDenied");
    assert_eq!(with(Some("x-2"), "s-1"), "AccessDenied");
    assert_eq!(with(Some("x-1"), "t-1"), "AccessDenied");
    // The request cannot bring them by another way.
    let lies = MapContext::default().with("sts:ExternalId", "x-1");
    let entropy = SeededEntropy::new(1);
    let lied = sessions().assume_role(&directory, &alice, &REQUEST, &lies, NOW, &entropy);
    assert_eq!(code(lied), "AccessDenied");
}

#[test]
fn parameters_are_checked() {
    let directory = directory(ALICE);
    let alice = user(&directory, "alice");
    let ask = |request: AssumeRole<'_>| code(assume(&directory, &alice, &request));
    for (seconds, expected) in [
        (899, "ValidationError"),
        (900, "allowed"),
        (7200, "allowed"),
        (7201, "ValidationError"),
        (43_201, "ValidationError"),
    ] {
        let duration_seconds = Some(seconds);
        assert_eq!(ask(AssumeRole { duration_seconds, ..REQUEST }), expected, "{seconds}");
    }
    for session_name in ["", "s", "a b", "a/b", &"s".repeat(65)] {
        assert_eq!(ask(AssumeRole { session_name, ..REQUEST }), "ValidationError");
    }
    for role_arn in ["", "worker", "arn:aws:iam::000000000000:user/alice"] {
        assert_eq!(ask(AssumeRole { role_arn, ..REQUEST }), "ValidationError");
    }
    assert_eq!(ask(AssumeRole { external_id: Some("x y"), ..REQUEST }), "ValidationError");
    assert_eq!(ask(AssumeRole { policy: Some("{}"), ..REQUEST }), "MalformedPolicyDocument");
    let long = " ".repeat(2049);
    assert_eq!(ask(AssumeRole { policy: Some(&long), ..REQUEST }), "ValidationError");
    // From a session, an hour at most.
    let chained = directory.identity("arn:aws:sts::000000000000:assumed-role/worker/s-1").unwrap();
    let trusting = self::directory(&format!(r#""Principal": {{"AWS": "{ROLE}"}}"#));
    for (seconds, expected) in [(3600, "allowed"), (3601, "ValidationError")] {
        let request = AssumeRole { duration_seconds: Some(seconds), ..REQUEST };
        assert_eq!(code(assume(&trusting, &chained, &request)), expected);
    }
}

#[test]
fn a_token_opens_its_session_until_it_ends() {
    let directory = directory(ALICE);
    let policy = r#"{"Statement": {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}}"#;
    let request = AssumeRole { policy: Some(policy), duration_seconds: Some(900), ..REQUEST };
    let made = assume(&directory, &user(&directory, "alice"), &request).unwrap();
    assert_eq!(made.expires, UnixMillis(NOW.0 + 900_000));
    assert_eq!(made.arn, "arn:aws:sts::000000000000:assumed-role/worker/s-1");
    assert!(made.access_key_id.starts_with("ASIA") && made.access_key_id.len() == 20);
    assert_eq!(made.secret.expose_secret().len(), 40);
    assert!(!format!("{made:?}").contains(made.secret.expose_secret()));
    let open = |token: &str, id: &str, now| sessions().open(&directory, token, id, now);
    let opened = open(&made.token, &made.access_key_id, UnixMillis(made.expires.0 - 1)).unwrap();
    assert_eq!(opened.secret, made.secret);
    assert_eq!(opened.identity.principal().name(), made.arn);
    assert_eq!(opened.identity.session_policies().unwrap().len(), 1);
    assert_eq!(opened.identity.policies().len(), 1);
    let caller = CallerIdentity::of(&opened.identity).unwrap();
    assert_eq!((caller.arn, caller.user_id), (made.arn.clone(), made.assumed_role_id.clone()));
    let error = |result: Result<_, TokenError>| result.map(drop).unwrap_err();
    assert_eq!(
        error(open(&made.token, &made.access_key_id, made.expires).map(drop)),
        TokenError::Expired
    );
    assert_eq!(error(open(&made.token, "ASIAOTHER", NOW).map(drop)), TokenError::Invalid);
    let stranger = Sessions::new(&[8; 32]).open(&directory, &made.token, &made.access_key_id, NOW);
    assert_eq!(error(stranger.map(drop)), TokenError::Invalid);
    let gone = Directory::default();
    let opened = sessions().open(&gone, &made.token, &made.access_key_id, NOW);
    assert_eq!(error(opened.map(drop)), TokenError::Invalid);
}

proptest! {
    #[test]
    fn a_changed_token_opens_nothing(at in 0..10_000_usize, to in "[A-Za-z0-9_-]", cut: bool) {
        let directory = directory(ALICE);
        let made = assume(&directory, &user(&directory, "alice"), &REQUEST).unwrap();
        let mut token = made.token.clone();
        let at = at % token.len();
        if cut {
            token.truncate(at);
        } else {
            token.replace_range(at..=at, &to);
        }
        let opened = sessions().open(&directory, &token, &made.access_key_id, NOW);
        prop_assert_eq!(opened.is_ok(), token == made.token);
    }
}

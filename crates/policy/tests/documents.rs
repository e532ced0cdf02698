//! Goal: what is no policy is refused with the place of the mistake, and what AWS accepts is accepted.
//! Method: named documents, each one mistake away from a sound one.

use sealvol_policy::{
    Limits, NamedPrincipal, Operator, Policy, PolicyErrorKind, PolicyKind, Qualifier,
};

const LIMITS: Limits = Limits::DEFAULT;

fn resource(text: &str) -> Result<Policy, sealvol_policy::PolicyError> {
    Policy::parse(text, PolicyKind::Resource, &LIMITS)
}

/// A document of one statement, whose elements `more` are added to an Allow for everybody.
fn statement(more: &str) -> String {
    format!(r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "*", {more}}}}}"#)
}

#[test]
fn mistakes_are_named_with_their_place() {
    let condition = |body: &str| statement(&format!(r#""Resource": "*", "Condition": {body}"#));
    let principal =
        |body: &str| format!(r#"{{"Statement": [{{"Effect": "Deny", "Principal": {body}}}]}}"#);
    let cases: Vec<(String, &str, &str)> = vec![
        ("".into(), "policy", "not JSON"),
        ("[]".into(), "policy", "not an object"),
        ("{} {}".into(), "policy", "not JSON"),
        ("{}".into(), "policy", "lacks Statement"),
        (r#"{"Statement": []}"#.into(), "Statement", "lacks statements"),
        (r#"{"Statement": "x"}"#.into(), "Statement", "not an object"),
        (r#"{"Statement": [{}, 1]}"#.into(), "Statement[0]", "lacks Effect"),
        (r#"{"Version": "2012", "Statement": []}"#.into(), "Version", "`2012` is not"),
        (r#"{"Version": 2012, "Statement": []}"#.into(), "Version", "not a string"),
        (r#"{"Statment": []}"#.into(), "Statment", "not an element"),
        (r#"{"Id": 1, "Statement": []}"#.into(), "Id", "not a string"),
        (r#"{"Id": "a", "Id": "b", "Statement": []}"#.into(), "Id", "twice"),
        (statement(r#""Effect": "Deny""#), "Statement.Effect", "twice"),
        (statement(r#""effect": "Deny""#), "Statement.effect", "not an element"),
        (statement(r#""NotAction": "*""#), "Statement", "exclude each other"),
        (statement(r#""Resource": "*", "NotResource": "*""#), "Statement", "exclude"),
        (statement(r#""NotPrincipal": "*""#), "Statement", "exclude"),
        (statement(r#""Resource": []"#), "Statement.Resource", "lacks resources"),
        (statement(r#""Resource": ["*", 1]"#), "Statement.Resource[1]", "not a string"),
        (statement(r#""Sid": null"#), "Statement.Sid", "not a string"),
        (r#"{"Statement": {"Effect": "allow"}}"#.into(), "Statement.Effect", "`allow` is not"),
        (r#"{"Statement": {"Effect": "Allow"}}"#.into(), "Statement", "lacks Principal"),
        (
            r#"{"Statement": {"Effect": "Allow", "NotPrincipal": "*"}}"#.into(),
            "Statement",
            "NotPrincipal and Effect",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": ["a:b", "Decrypt"]}}"#
                .into(),
            "Statement.Action[1]",
            "`Decrypt` is not",
        ),
        (principal(r#""arn""#), "Statement[0].Principal", "`*` or an object"),
        (principal("{}"), "Statement[0].Principal", "lacks principals"),
        (principal(r#"{"aws": "*"}"#), "Statement[0].Principal.aws", "not an element"),
        (principal(r#"{"AWS": "x"}"#), "Statement[0].Principal.AWS", "not a principal"),
        (
            principal(r#"{"AWS": ["*", "arn:aws:iam::111122223333:user/*"]}"#),
            "Statement[0].Principal.AWS[1]",
            "not a principal",
        ),
        (principal(r#"{"Service": "*"}"#), "Statement[0].Principal.Service", "not a principal"),
        (principal(r#"{"Service": []}"#), "Statement[0].Principal.Service", "lacks principals"),
        (condition("[]"), "Statement.Condition", "not an object"),
        (condition(r#"{"Equals": {}}"#), "Statement.Condition.Equals", "`Equals` is not"),
        (condition(r#"{"Bool": "x"}"#), "Statement.Condition.Bool", "not an object"),
        (
            condition(r#"{"Bool": {"aws:x": true, "aws:x": false}}"#),
            "Statement.Condition.Bool.aws:x",
            "twice",
        ),
        (condition(r#"{"Bool": {"x": true}}"#), "Statement.Condition.Bool.x", "condition key"),
        (
            condition(r#"{"Bool": {"aws:x": [true, 1]}}"#),
            "Statement.Condition.Bool.aws:x[1]",
            "`1` is not",
        ),
        (
            condition(r#"{"StringLike": {"aws:x": {}}}"#),
            "Statement.Condition.StringLike.aws:x",
            "not a string, a number or a boolean",
        ),
        (
            condition(r#"{"StringLike": {"aws:x": []}}"#),
            "Statement.Condition.StringLike.aws:x",
            "lacks values",
        ),
        (
            condition(r#"{"NumericEquals": {"aws:x": "ten"}}"#),
            "Statement.Condition.NumericEquals.aws:x",
            "not a number",
        ),
        (
            condition(r#"{"DateLessThan": {"aws:x": "soon"}}"#),
            "Statement.Condition.DateLessThan.aws:x",
            "not a date",
        ),
        (
            condition(r#"{"IpAddress": {"aws:x": "10.0.0.0/40"}}"#),
            "Statement.Condition.IpAddress.aws:x",
            "CIDR",
        ),
        (
            condition(r#"{"ArnLike": {"aws:x": "arn:aws:s3"}}"#),
            "Statement.Condition.ArnLike.aws:x",
            "six parts",
        ),
        (
            condition(r#"{"BinaryEquals": {"aws:x": "?"}}"#),
            "Statement.Condition.BinaryEquals.aws:x",
            "base64",
        ),
        (
            statement(r#""Resource": "a${b""#).replacen('{', r#"{"Version": "2012-10-17", "#, 1),
            "Statement.Resource",
            "variables",
        ),
    ];
    for (text, path, says) in cases {
        let error = match resource(&text) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {text}"),
        };
        let rest = error.strip_prefix(path).and_then(|rest| rest.strip_prefix(": "));
        assert!(rest.is_some_and(|rest| rest.contains(says)), "{path}, {says}: {error}\n{text}");
    }
}

#[test]
fn each_kind_has_its_elements() {
    let parse = |text: &str, kind| {
        let text = format!(r#"{{"Statement": {{"Effect": "Deny", {text}}}}}"#);
        Policy::parse(&text, kind, &LIMITS).map(drop).map_err(|error| error.to_string())
    };
    let full = r#""Action": "a:b", "Resource": "*""#;
    assert_eq!(parse(full, PolicyKind::Identity), Ok(()));
    assert!(parse(r#""Action": "a:b""#, PolicyKind::Identity).unwrap_err().contains("Resource"));
    assert!(parse(r#""Resource": "*""#, PolicyKind::Identity).unwrap_err().contains("Action"));
    let with = |more: &str| format!(r#""Principal": "*"{more}"#);
    assert!(parse(&with(r#", "Action": "a:b""#), PolicyKind::Identity).is_err());
    assert_eq!(parse(&with(r#", "Action": "a:b""#), PolicyKind::Trust), Ok(()));
    assert!(parse(&with(""), PolicyKind::Trust).unwrap_err().contains("Action"));
    assert!(parse(&with(&format!(", {full}")), PolicyKind::Trust).is_err());
    assert!(parse(r#""Action": "a:b""#, PolicyKind::Trust).unwrap_err().contains("Principal"));
    assert_eq!(parse(&with(""), PolicyKind::Resource), Ok(()));
    let two = |sid: &str, kind| {
        let one = format!(r#"{{"Sid": "{sid}", "Effect": "Allow", {full}}}"#);
        let more = one.replacen('{', r#"{"Principal": "*", "#, 1);
        let one = if kind == PolicyKind::Identity { one } else { more };
        let text = format!(r#"{{"Statement": [{one}, {one}]}}"#);
        Policy::parse(&text, kind, &LIMITS).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(two("", PolicyKind::Identity), Ok(()));
    assert_eq!(two("A", PolicyKind::Identity), Err("Statement[1].Sid: appears twice".into()));
    assert!(two("A b", PolicyKind::Identity).unwrap_err().contains("letters and digits"));
    assert_eq!(two("A b", PolicyKind::Resource), Ok(()));
}

#[test]
fn sizes_are_bounded() {
    let small = Limits { document_bytes: 300, depth: 6, statements: 2, values: 2 };
    let parse = |text: &str| Policy::parse(text, PolicyKind::Resource, &small);
    let one = r#"{"Effect": "Allow", "Principal": "*"}"#;
    assert!(parse(&format!(r#"{{"Statement": [{one}, {one}]}}"#)).is_ok());
    let error = parse(&format!(r#"{{"Statement": [{one}, {one}, {one}]}}"#)).unwrap_err();
    let too_many = PolicyErrorKind::TooMany { what: "statements", len: 3, max: 2 };
    assert_eq!((error.path.as_str(), error.kind), ("Statement", too_many));
    let error = parse(&statement(r#""Resource": ["a", "b", "c"]"#)).unwrap_err();
    assert!(matches!(error.kind, PolicyErrorKind::TooMany { what: "resources", .. }), "{error}");
    let long = format!("{}{}", statement(r#""Resource": "*""#), " ".repeat(300));
    let error = parse(&long).unwrap_err();
    assert!(matches!(error.kind, PolicyErrorKind::TooLong { max: 300, .. }), "{error}");
    let deep = format!(r#"{{"Statement": {}{}}}"#, "[".repeat(8), "]".repeat(8));
    assert!(matches!(parse(&deep).unwrap_err().kind, PolicyErrorKind::NotJson(_)));
    // Errors quote a little of what they refuse, not all of it.
    let text =
        statement(&format!(r#""Resource": "*", "Condition": {{"{}": 1}}"#, "x".repeat(20_000)));
    assert!(resource(&text).unwrap_err().to_string().len() < 500);
}

#[test]
fn what_a_policy_names_can_be_listed() {
    let text = r#"{"Version": "2012-10-17", "Id": "key-1", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:role/r",
            "AROAEXAMPLEEXAMPLE12"], "Service": "EC2.amazonaws.com", "Federated": "idp",
            "CanonicalUser": "abc"}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "NotPrincipal": "*", "Action": "kms:*", "Resource": "*", "Condition": {
            "ForAllValues:StringLikeIfExists": {"KMS:EncryptionContext:Some:Key": "x"}}}]}"#;
    let policy = resource(text).unwrap();
    assert_eq!((policy.text(), policy.id()), (text, Some("key-1")));
    let named: Vec<_> = policy
        .principals()
        .map(|used| (used.statement, used.negated, used.principal.to_string()))
        .collect();
    let expected = [
        (0, false, "arn:aws:iam::111122223333:root"),
        (0, false, "arn:aws:iam::111122223333:role/r"),
        (0, false, "AROAEXAMPLEEXAMPLE12"),
        (0, false, "ec2.amazonaws.com"),
        (0, false, "idp"),
        (0, false, "abc"),
        (1, true, "*"),
    ];
    assert_eq!(named, expected.map(|(index, negated, name)| (index, negated, name.to_owned())));
    assert!(policy.principals().any(|used| *used.principal == NamedPrincipal::Everyone));
    let conditions: Vec<_> = policy.conditions().collect();
    let [one] = conditions.as_slice() else { panic!("{conditions:?}") };
    assert_eq!((one.statement, one.qualifier), (1, Qualifier::ForAllValues));
    assert_eq!((one.operator, one.if_exists), (Operator::StringLike, true));
    assert_eq!(one.key, "kms:encryptioncontext:Some:Key");
}

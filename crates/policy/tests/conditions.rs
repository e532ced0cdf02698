//! Goal: conditions hold exactly when AWS documents that they do. Method: one table for each trap, with
//! the condition as a document writes it and a request that satisfies it or not.

#[path = "support/ask.rs"]
mod support;

use sealvol_policy::MapContext;
use support::holds;

fn none() -> MapContext {
    MapContext::default()
}

fn with(key: &str, value: &str) -> MapContext {
    none().with(key, value)
}

fn many(key: &str, values: &[&str]) -> MapContext {
    none().with_many(key, values)
}

#[test]
fn strings_compare_by_case_and_wildcards_as_the_operator_says() {
    let via = |value| with("kms:ViaService", value);
    let equals = r#""StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}"#;
    assert!(holds(equals, &via("ec2.us-east-1.amazonaws.com")));
    assert!(!holds(equals, &via("EC2.us-east-1.amazonaws.com")));
    assert!(!holds(equals, &via("ec2.us-west-2.amazonaws.com")));
    assert!(!holds(equals, &none()));
    let literal = r#""StringEquals": {"kms:ViaService": "ec2.*"}"#;
    assert!(!holds(literal, &via("ec2.x")) && holds(literal, &via("ec2.*")));
    let like = r#""StringLike": {"kms:ViaService": "ec2.*.amazonaws.???"}"#;
    assert!(holds(like, &via("ec2.us-east-1.amazonaws.com")));
    assert!(!holds(like, &via("Ec2.us-east-1.amazonaws.com")));
    let folded = r#""StringEqualsIgnoreCase": {"kms:ViaService": "EC2.X"}"#;
    assert!(holds(folded, &via("ec2.x")) && !holds(folded, &via("ec2.xy")));
    let not_folded = r#""StringNotEqualsIgnoreCase": {"kms:ViaService": "EC2.X"}"#;
    assert!(!holds(not_folded, &via("ec2.x")) && holds(not_folded, &via("ec2.y")));
    let unlike = r#""StringNotLike": {"kms:ViaService": ["a*", "b*"]}"#;
    assert!(!holds(unlike, &via("ax")) && !holds(unlike, &via("bx")) && holds(unlike, &via("cx")));
}

#[test]
fn operator_and_key_names_have_no_case_and_values_do() {
    let context = with("kms:CallerAccount", "111122223333");
    assert!(holds(r#""stringequals": {"KMS:calleraccount": "111122223333"}"#, &context));
    let pair = with("kms:EncryptionContext:aws:ebs:id", "vol-1");
    assert!(holds(r#""StringEquals": {"kms:EncryptionContext:AWS:EBS:ID": "vol-1"}"#, &pair));
    assert!(!holds(r#""StringEquals": {"kms:EncryptionContext:aws:ebs:id": "VOL-1"}"#, &pair));
}

#[test]
fn a_missing_key_fails_positive_operators_and_passes_negated_ones() {
    let values = [
        ("String", "\"x\""),
        ("Numeric", "1"),
        ("Date", "\"2026-01-01\""),
        ("Arn", "\"arn:a:b:c:d:e\""),
    ];
    for (family, value) in values {
        let test = |operator: &str| {
            holds(&format!(r#""{family}{operator}": {{"aws:x": {value}}}"#), &none())
        };
        assert!(!test("Equals") && test("NotEquals"), "{family}");
        assert!(test("EqualsIfExists") && test("NotEqualsIfExists"), "{family}");
    }
    assert!(!holds(r#""IpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, &none()));
    assert!(holds(r#""NotIpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, &none()));
    assert!(!holds(r#""Bool": {"aws:x": "false"}"#, &none()));
    assert!(holds(r#""BoolIfExists": {"aws:x": "false"}"#, &none()));
}

#[test]
fn if_exists_still_compares_what_exists() {
    let condition = r#""StringEqualsIfExists": {"aws:x": "a"}"#;
    assert!(holds(condition, &none()) && holds(condition, &with("aws:x", "a")));
    assert!(!holds(condition, &with("aws:x", "b")));
}

#[test]
fn values_are_alternatives_and_keys_and_operators_are_not() {
    let condition =
        r#""StringEquals": {"aws:x": ["a", "b"], "aws:y": "c"}, "Bool": {"aws:z": true}"#;
    let context = |x, y, z| with("aws:x", x).with("aws:y", y).with("aws:z", z);
    assert!(holds(condition, &context("a", "c", "true")));
    assert!(holds(condition, &context("b", "c", "TRUE")));
    assert!(!holds(condition, &context("c", "c", "true")));
    assert!(!holds(condition, &context("a", "d", "true")));
    assert!(!holds(condition, &context("a", "c", "false")));
    let neither = r#""StringNotEquals": {"aws:x": ["a", "b"]}"#;
    assert!(!holds(neither, &with("aws:x", "b")) && holds(neither, &with("aws:x", "c")));
}

#[test]
fn for_all_values_is_true_of_no_values() {
    // Cases 50 and 51 of the reference.
    let all = r#""ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}"#;
    let keys = |values: &[&str]| many("kms:EncryptionContextKeys", values);
    assert!(holds(all, &none()) && holds(all, &keys(&[])), "vacuous");
    assert!(holds(all, &keys(&["a"])) && holds(all, &keys(&["b", "a"])));
    assert!(!holds(all, &keys(&["a", "c"])));
    let there = format!(r#"{all}, "Null": {{"kms:EncryptionContextKeys": false}}"#);
    assert!(!holds(&there, &none()) && !holds(&there, &keys(&[])));
    assert!(holds(&there, &keys(&["a"])));
}

#[test]
fn for_any_value_is_false_of_no_values() {
    let any = r#""ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}"#;
    let keys = |values: &[&str]| many("kms:EncryptionContextKeys", values);
    assert!(!holds(any, &none()) && !holds(any, &keys(&[])));
    assert!(holds(any, &keys(&["c", "a"])) && !holds(any, &keys(&["c"])));
    let not = r#""ForAnyValue:StringNotEquals": {"kms:EncryptionContextKeys": ["a", "b"]}"#;
    assert!(!holds(not, &none()) && !holds(not, &keys(&["a", "b"])));
    assert!(holds(not, &keys(&["a", "c"])));
    let all_not = r#""ForAllValues:StringNotEquals": {"kms:EncryptionContextKeys": ["a"]}"#;
    assert!(holds(all_not, &keys(&["b", "c"])) && !holds(all_not, &keys(&["b", "a"])));
}

#[test]
fn without_a_prefix_several_values_are_as_for_any_value_or_its_opposite() {
    let keys = many("aws:keys", &["a", "b"]);
    assert!(holds(r#""StringEquals": {"aws:keys": "a"}"#, &keys));
    assert!(!holds(r#""StringNotEquals": {"aws:keys": "a"}"#, &keys));
    assert!(holds(r#""StringNotEquals": {"aws:keys": "c"}"#, &keys));
}

#[test]
fn null_asks_whether_a_key_is_absent() {
    let there = with("aws:x", "");
    assert!(holds(r#""Null": {"aws:x": "true"}"#, &none()));
    assert!(!holds(r#""Null": {"aws:x": "true"}"#, &there));
    assert!(holds(r#""Null": {"aws:x": false}"#, &there));
    assert!(!holds(r#""Null": {"aws:x": false}"#, &many("aws:x", &[])), "no values: absent");
}

#[test]
fn grant_is_for_aws_resource_is_a_boolean() {
    for value in [r#""true""#, "true", r#"["true"]"#] {
        let condition = format!(r#""Bool": {{"kms:GrantIsForAWSResource": {value}}}"#);
        assert!(holds(&condition, &with("kms:GrantIsForAWSResource", "true")));
        assert!(!holds(&condition, &with("kms:GrantIsForAWSResource", "false")));
        assert!(!holds(&condition, &with("kms:GrantIsForAWSResource", "yes")));
        assert!(!holds(&condition, &none()));
    }
}

#[test]
fn numbers_and_dates_have_an_order() {
    let table = [
        ("Equals", [false, true, false]),
        ("NotEquals", [true, false, true]),
        ("LessThan", [true, false, false]),
        ("LessThanEquals", [true, true, false]),
        ("GreaterThan", [false, false, true]),
        ("GreaterThanEquals", [false, true, true]),
    ];
    for (operator, expected) in table {
        let numbers = ["9", "10.0", "10.5"].map(|value| {
            holds(&format!(r#""Numeric{operator}": {{"aws:n": 10}}"#), &with("aws:n", value))
        });
        assert_eq!(numbers, expected, "Numeric{operator}");
        let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "1767312001"];
        let dates = times.map(|value| {
            let condition = format!(r#""Date{operator}": {{"aws:CurrentTime": "2026-01-02"}}"#);
            holds(&condition, &with("aws:CurrentTime", value))
        });
        assert_eq!(dates, expected, "Date{operator}");
    }
    assert!(!holds(r#""NumericLessThan": {"aws:n": 10}"#, &with("aws:n", "few")));
    assert!(holds(r#""NumericNotEquals": {"aws:n": 10}"#, &with("aws:n", "few")));
}

#[test]
fn addresses_arns_and_bytes_have_their_own_equality() {
    let ip = r#""IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}"#;
    assert!(holds(ip, &with("aws:SourceIp", "10.9.9.9")));
    assert!(holds(ip, &with("aws:SourceIp", "2001:db8::1")));
    assert!(!holds(ip, &with("aws:SourceIp", "11.0.0.1")));
    assert!(!holds(ip, &with("aws:SourceIp", "ten")));
    let not = r#""NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#;
    assert!(!holds(not, &with("aws:SourceIp", "10.1.1.1")));
    assert!(holds(not, &with("aws:SourceIp", "11.1.1.1")));
    for operator in ["ArnEquals", "ArnLike"] {
        let arn = format!(r#""{operator}": {{"aws:SourceArn": "arn:aws:ecs:*:1:task/*"}}"#);
        assert!(holds(&arn, &with("aws:SourceArn", "arn:aws:ecs:r:1:task/a:b")), "{operator}");
        assert!(!holds(&arn, &with("aws:SourceArn", "arn:aws:ecs:r:x:1:task/a")), "{operator}");
    }
    for operator in ["ArnNotEquals", "ArnNotLike"] {
        let arn = format!(r#""{operator}": {{"aws:SourceArn": "arn:aws:ecs:*:1:task/*"}}"#);
        assert!(!holds(&arn, &with("aws:SourceArn", "arn:aws:ecs:r:1:task/a")), "{operator}");
        assert!(holds(&arn, &with("aws:SourceArn", "arn:aws:ecs:r:2:task/a")), "{operator}");
    }
    let bytes = r#""BinaryEquals": {"aws:b": "QUJD"}"#;
    assert!(holds(bytes, &with("aws:b", "QUJD")) && !holds(bytes, &with("aws:b", "QUJE")));
}

#[test]
fn variables_stand_for_the_requests_values() {
    let condition = r#""StringEquals": {"aws:x": "${aws:username}-${aws:PrincipalTag/t, 'none'}"}"#;
    assert!(holds(condition, &with("aws:x", "alice-none")));
    assert!(!holds(condition, &with("aws:x", "alice-")));
    // Without a value: the positive match is false.
    let missing = r#""StringEquals": {"aws:x": "${aws:PrincipalTag/t}"}"#;
    assert!(!holds(missing, &with("aws:x", "")));
    assert!(!holds(missing, &with("aws:x", "${aws:PrincipalTag/t}")));
    let pair = r#""StringLike": {"aws:x": "v-${kms:EncryptionContext:id}-*"}"#;
    let context = with("aws:x", "v-a*-z").with("kms:EncryptionContext:ID", "a*");
    assert!(holds(pair, &context));
    let context = with("aws:x", "v-abc-z").with("kms:EncryptionContext:ID", "a*");
    assert!(!holds(pair, &context), "a value's star is text");
    let escaped = r#""StringLike": {"aws:x": "a${*}b"}"#;
    assert!(holds(escaped, &with("aws:x", "a*b")) && !holds(escaped, &with("aws:x", "axb")));
    let plural = r#""StringEquals": {"aws:x": "${aws:keys}"}"#;
    assert!(!holds(plural, &with("aws:x", "a").with_many("aws:keys", &["a"])));
}

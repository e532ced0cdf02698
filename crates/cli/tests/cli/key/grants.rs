//! Grants, as the account root makes them and others use them.

use serde_json::json;

use super::{ADA, Keyed};

#[test]
fn a_grant_lets_another_principal_in() {
    let keyed = Keyed::new();
    keyed.write("in", b"hello");
    keyed.run("encrypt alias/a in --out sealed --context team=x,more=y").ok();
    let as_ada = |line: &str| keyed.run(&format!("--as {ADA} {line}"));
    as_ada("decrypt sealed --context team=x,more=y --out p0").fails(4, &["AccessDenied", "grant"]);

    let line = format!("grant create alias/a --grantee {ADA} --operations Decrypt,DescribeKey");
    assert!(keyed.run(&format!("{line} --dry-run")).ok().contains("would have succeeded"));
    assert_eq!(keyed.json("grant list alias/a")["Grants"], json!([]));
    let made = keyed.json(&format!("{line} --context-subset team=x --name n --retiring {ADA}"));
    let (id, token) = (made["GrantId"].as_str().unwrap(), made["GrantToken"].as_str().unwrap());
    as_ada("decrypt sealed --context team=x,more=y --out p1").ok();
    let with_token =
        format!("decrypt sealed --context team=x,more=y --grant-token {token} --out p2");
    as_ada(&with_token).ok();
    assert_eq!((keyed.read("p1"), keyed.read("p2")), (b"hello".to_vec(), b"hello".to_vec()));
    as_ada(&format!("describe alias/a --grant-token {token}")).ok();
    as_ada("encrypt alias/a in --out no").fails(4, &["AccessDenied"]);
    as_ada("disable alias/a").fails(4, &["AccessDenied", "kms:DisableKey"]);
    as_ada("describe alias/a --grant-token nonsense").fails(2, &["InvalidGrantToken"]);

    let text = keyed.run("grant list alias/a").ok();
    for part in [id, ADA, "Decrypt, DescribeKey", "with team=x", "name       n", " UTC"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(token));
    assert_eq!(keyed.json(&format!("grant list alias/a --id {id}"))["Grants"][0]["GrantId"], id);
    assert_eq!(
        keyed.json("grant list alias/a --grantee arn:aws:iam::000000000000:user/eve")["Grants"],
        json!([])
    );
    let retirable = keyed.json(&format!("grant list-retirable {ADA}"));
    assert_eq!(retirable["Grants"][0]["GrantId"], id);
    assert!(keyed.run(&format!("grant list-retirable {ADA}")).ok().contains(id));

    assert!(as_ada(&format!("grant retire --token {token} --dry-run")).ok().contains("dry run"));
    assert!(as_ada(&format!("grant retire --token {token}")).ok().contains("retired"));
    as_ada("decrypt sealed --context team=x,more=y --out p3").fails(4, &["AccessDenied"]);
}

#[test]
fn grants_end_by_id() {
    let keyed = Keyed::new();
    let make = |more: &str| {
        let line = format!("grant create alias/a --grantee {ADA} --operations Encrypt {more}");
        keyed.json(&line)["GrantId"].as_str().unwrap().to_owned()
    };
    let id = make("--context-equals a=b");
    assert!(keyed.run("grant list alias/a").ok().contains("exactly a=b"));
    assert_eq!(
        keyed.json(&format!("grant revoke alias/a --id {id} --dry-run"))["__type"],
        "DryRunOperationException"
    );
    assert!(keyed.run(&format!("grant revoke alias/a --id {id}")).ok().contains("revoked"));
    keyed.run(&format!("grant revoke alias/a --id {id}")).fails(7, &["NotFoundException"]);
    assert_eq!(keyed.json(&format!("grant revoke alias/a --id {}", make(""))), json!({}));
    for which in ["alias/a", &keyed.id, &keyed.arn] {
        assert_eq!(keyed.json(&format!("grant retire {which} --id {}", make(""))), json!({}));
    }
    // The human form has the token on a line of its own.
    let text =
        keyed.run(&format!("grant create alias/a --grantee {ADA} --operations Encrypt")).ok();
    assert!(text.contains("granted ") && text.contains("\ntoken ") && text.contains("revoke"));
    assert!(!keyed.run("grant list alias/a").ok().contains("token"));
}

#[test]
fn mistakes_are_told() {
    let keyed = Keyed::new();
    let line = format!("grant create alias/a --grantee {ADA}");
    keyed.run(&line).fails(2, &["--operations"]);
    keyed.run("grant create alias/a --operations Decrypt").fails(2, &["--grantee"]);
    keyed.run(&format!("{line} --operations Fly")).fails(2, &["ValidationException"]);
    keyed.run(&format!("{line} --operations CreateGrant")).fails(2, &["ValidationException"]);
    let both = "--operations Decrypt --context-equals a=b --context-subset a=b";
    keyed.run(&format!("{line} {both}")).fails(2, &["ValidationException"]);
    keyed.run("grant retire").fails(2, &["--token"]);
    keyed.run("grant retire alias/a").fails(2, &["--id"]);
    keyed.run("grant retire alias/a --id x --token y").fails(2, &["--token"]);
    keyed.run("grant revoke alias/a --id nonsense").fails(2, &["InvalidGrantId", "grant list"]);
}

#[test]
fn services_come_in_by_key_policies() {
    let keyed = Keyed::new();
    let default = keyed.run("policy show default").ok();
    let mut policy: serde_json::Value = serde_json::from_str(&default).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Effect": "Allow", "Principal": { "AWS": ADA }, "Action": "kms:Encrypt", "Resource": "*",
        "Condition": { "StringEquals": { "kms:ViaService": "ec2.us-east-1.amazonaws.com" } }
    }));
    keyed.write("policy", policy.to_string().as_bytes());
    keyed.write("in", b"x");
    keyed.run("policy put alias/a policy").ok();
    let line = format!("--as {ADA} encrypt alias/a in --dry-run");
    keyed.run(&line).fails(4, &["AccessDenied"]);
    keyed.run(&format!("--via-service ec2.us-east-1.amazonaws.com {line}")).ok();
    keyed.run("--as not:a:principal list").fails(2, &["--as", "arn:aws:iam::"]);
    let mut command = keyed.place.command("key encrypt alias/a in --dry-run");
    command.env("SEALVOL_AS", ADA).env("SEALVOL_VIA_SERVICE", "s3.us-east-1.amazonaws.com");
    assert_eq!(command.output().unwrap().status.code(), Some(4));
}

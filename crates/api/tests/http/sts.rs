//! STS in the query protocol.

use crate::support::{Key, ROLE, Wire, World};

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

#[tokio::test]
async fn everybody_learns_who_they_are() {
    let world = World::new().await;
    for (key, arn, user_id) in [
        (Key::root(), "arn:aws:iam::000000000000:root", "000000000000"),
        (Key::alice(), "arn:aws:iam::000000000000:user/alice", "AIDA"),
        (world.session().await, "arn:aws:sts::000000000000:assumed-role/worker/s-1", "AROA"),
    ] {
        let answer = world.sts(&key, IDENTITY).await;
        assert_eq!((answer.status, answer.element("Arn")), (200, arn));
        assert_eq!(answer.element("Account"), "000000000000");
        assert!(answer.element("UserId").starts_with(user_id), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "text/xml");
        assert_eq!(answer.headers["x-amzn-requestid"], answer.element("RequestId"));
    }
    // A form of a `GET`, presigned.
    let get = Wire::new("GET", &format!("/?{IDENTITY}"), b"");
    let get = get.presigned(&Key::alice().of("sts"), world.now());
    assert!(world.send(&get).await.element("Arn").ends_with("user/alice"));
    let service = world.sts(&Key::fargate(), IDENTITY).await;
    assert_eq!((service.status, service.element("Code")), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts() {
    let world = World::new().await;
    let role = format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=s-1&RoleArn={ROLE}");
    let answer = world.sts(&Key::alice(), &format!("{role}&DurationSeconds=900")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.element("Expiration"), "2026-01-01T00:15:00Z");
    assert_eq!(answer.element("Arn"), "arn:aws:sts::000000000000:assumed-role/worker/s-1");
    assert!(answer.element("AssumedRoleId").ends_with(":s-1"));
    assert!(answer.body.starts_with("<AssumeRoleResponse xmlns="));
    // An hour unless asked otherwise.
    let answer = world.sts(&Key::alice(), &role).await;
    assert_eq!(answer.element("Expiration"), "2026-01-01T01:00:00Z");

    for (key, more, status, code) in [
        (Key::root(), "", 403, "AccessDenied"),
        (Key::fargate(), "", 403, "AccessDenied"),
        (Key::alice(), "x", 403, "AccessDenied"),
        (Key::alice(), "&DurationSeconds=60", 400, "ValidationError"),
        (Key::alice(), "&DurationSeconds=soon", 400, "MalformedInput"),
        (Key::alice(), "&Policy=x", 400, "MalformedPolicyDocument"),
        (Key::alice(), "&PolicyArns.member.1.arn=x", 400, "ValidationError"),
        (Key::alice(), "&Tags.member.2.Key=x", 400, "ValidationError"),
    ] {
        let answer = world.sts(&key, &format!("{role}{more}")).await;
        assert_eq!((answer.status, answer.element("Code")), (status, code), "{more} {answer:?}");
        assert_eq!(answer.element("Type"), "Sender");
    }
}

#[tokio::test]
async fn what_is_no_action_is_told() {
    let world = World::new().await;
    for (form, status, code) in [
        ("Action=Nonsense&Version=2011-06-15", 400, "InvalidAction"),
        ("Action=GetCallerIdentity&Version=1999-01-01", 400, "InvalidAction"),
        ("Version=2011-06-15", 400, "MissingAction"),
        ("", 400, "MissingAction"),
        ("Action=%zz", 404, "MalformedQueryString"),
        ("Action=GetCallerIdentity&Action=AssumeRole", 404, "MalformedQueryString"),
    ] {
        let answer = world.sts(&Key::alice(), form).await;
        assert_eq!((answer.status, answer.element("Code")), (status, code), "{form}");
    }
}

#[tokio::test]
async fn the_unauthenticated_are_told_in_xml() {
    let world = World::new().await;
    let missing = world.send(&Wire::sts(IDENTITY)).await;
    assert_eq!((missing.status, missing.element("Code")), (403, "MissingAuthenticationToken"));
    for (key, code) in [
        (Key::new("AKIANOBODY", "x").of("sts"), "InvalidClientTokenId"),
        (Key::new("AKIAROOT", "x").of("sts"), "SignatureDoesNotMatch"),
        // Signed for KMS.
        (Key::root(), "SignatureDoesNotMatch"),
    ] {
        let answer = world.send(&Wire::sts("Action=Nonsense").signed(&key, world.now())).await;
        assert_eq!((answer.status, answer.element("Code")), (403, code), "{answer:?}");
    }
}

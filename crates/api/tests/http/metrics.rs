//! `GET /healthz` and `GET /metrics`, for whoever asks.

use crate::support::{Key, Wire, World};

#[tokio::test]
async fn health_is_told_to_everybody() {
    let world = World::new().await;
    let answer = world.send(&Wire::new("GET", "/healthz", b"")).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(
        (&answer.json()["status"], &answer.json()["kms"]),
        (&"ok".into(), &"embedded".into())
    );
    // Only reading.
    let post = world.send(&Wire::new("POST", "/healthz", b"")).await;
    assert_eq!(post.fault(), "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn calls_errors_times_and_refusals_are_counted() {
    let world = World::new().await;
    let key = world.key().await;
    let root = Key::root();
    let body = format!(r#"{{"KeyId":"{key}","KeySpec":"AES_256"}}"#);
    for _ in 0..2 {
        world.done(&root, "GenerateDataKey", &body).await;
    }
    world.done(&root, "DisableKey", &format!(r#"{{"KeyId":"{key}"}}"#)).await;
    assert_eq!(world.call(&root, "GenerateDataKey", &body).await.fault(), "DisabledException");
    world.send(&Wire::kms("ListKeys", "{}")).await;
    world.sts(&root, "Action=GetCallerIdentity").await;

    let answer = world.send(&Wire::new("GET", "/metrics", b"")).await;
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    let key_label = format!(r#"key_id="{key}""#);
    for line in [
        r#"sealvol_kms_calls_total{operation="GenerateDataKey"} 3"#,
        &format!(r#"sealvol_kms_key_calls_total{{operation="GenerateDataKey",{key_label}}} 3"#),
        r#"sealvol_kms_errors_total{operation="GenerateDataKey",code="DisabledException"} 1"#,
        r#"sealvol_kms_call_duration_seconds_count{operation="GenerateDataKey"} 3"#,
        r#"sealvol_kms_call_duration_seconds_bucket{le="+Inf",operation="GenerateDataKey"} 3"#,
        r#"sealvol_http_requests_total{service="kms",operation="GenerateDataKey",status="200"} 2"#,
        r#"sealvol_http_requests_total{service="kms",operation="GenerateDataKey",status="400"} 1"#,
        r#"sealvol_http_requests_total{service="kms",operation="unknown",status="400"} 1"#,
        r#"sealvol_http_requests_total{service="sts",operation="GetCallerIdentity",status="200"} 1"#,
        r#"sealvol_http_auth_failures_total{code="MissingAuthenticationTokenException"} 1"#,
    ] {
        assert!(answer.body.lines().any(|known| known == line), "{line}\n{}", answer.body);
    }
    assert!(answer.body.ends_with("# EOF\n"));
}

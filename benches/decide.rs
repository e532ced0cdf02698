//! What a decision costs: a key policy of three statements, without conditions and with a few.

use std::hint::black_box;

use criterion::Criterion;
use sealvol_benches::{Config, criterion};
use sealvol_policy::{
    AccountId, Identity, Limits, MapContext, Policy, PolicyKind, Principal, Query, ResourcePolicy,
    decide,
};

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

const PLAIN: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
     "Action": "kms:*", "Resource": "*"},
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/admin"},
     "Action": ["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:Put*"], "Resource": "*"},
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
     "Action": ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"}]}"#;

const CONDITIONS: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
     "Action": "kms:*", "Resource": "*"},
    {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
     "Condition": {"StringNotEquals": {"kms:CallerAccount": "111122223333"}}},
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
     "Action": ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*",
     "Condition": {"StringEquals": {
        "kms:EncryptionContext:aws:ecs:clusterAccount": "111122223333",
        "kms:EncryptionContext:aws:ecs:clusterName": "c"}}}]}"#;

fn decisions(criterion: &mut Criterion) {
    let account = AccountId::parse("111122223333").expect("twelve digits");
    let alice = Principal::parse("arn:aws:iam::111122223333:user/alice").expect("a user");
    let identity = Identity::new(alice);
    let context = MapContext::default()
        .with("kms:CallerAccount", "111122223333")
        .with("kms:EncryptionContext:aws:ecs:clusterAccount", "111122223333")
        .with("kms:EncryptionContext:aws:ecs:clusterName", "c");
    let mut group = criterion.benchmark_group("decide");
    for (name, text) in [("plain", PLAIN), ("conditions", CONDITIONS)] {
        let limits = Limits::default();
        let policy = Policy::parse(text, PolicyKind::Resource, &limits).expect("a policy");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let query = Query {
                    identity: &identity,
                    action: black_box("kms:Decrypt"),
                    resource: black_box(KEY),
                    resource_policy: Some(ResourcePolicy { policy: &policy, account }),
                    context: &context,
                };
                assert!(decide(&query).is_allowed());
            });
        });
    }
    group.finish();
}

fn main() {
    let mut c = criterion(&Config::from_env());
    decisions(&mut c);
    c.final_summary();
}

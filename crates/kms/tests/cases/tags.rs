//! Cases 55 and 56: tags.

use sealvol_kms::model::*;
use serde_json::json;

use crate::support::*;

const TAG: &str = "TagException";

fn many(n: usize) -> Vec<Tag> {
    (0..n).map(|n| tag(&format!("k{n}"), "v")).collect()
}

fn create(tags: &[Tag]) -> CreateKeyRequest {
    CreateKeyRequest { tags: Some(tags.to_vec()), ..CreateKeyRequest::default() }
}

/// Case 55 \[R\].
#[test]
fn case_55_tags_that_are_refused() {
    for world in World::both() {
        let key = world.key();
        for bad in [
            vec![tag("a", "1"), tag("a", "2")],
            vec![tag("aws:a", "1")],
            vec![tag("AWS:a", "1")],
            many(51),
        ] {
            refused(world.root().tag_resource(&tag_key(&key, &bad)), TAG);
            refused(world.root().create_key(&create(&bad)), TAG);
        }
        assert_eq!(tags_of(&world, &key).len(), 0);
        world.root().tag_resource(&tag_key(&key, &many(50))).unwrap();
        // One more is too many; one of them again is not.
        refused(world.root().tag_resource(&tag_key(&key, &[tag("new", "")])), TAG);
        world.root().tag_resource(&tag_key(&key, &[tag("k0", "w")])).unwrap();
        assert_eq!(tags_of(&world, &key)["k0"], "w");
    }
}

/// Case 56 \[R\].
#[test]
fn case_56_values_have_256_characters() {
    let world = World::new();
    let key = world.key();
    let long = [tag("a", &"v".repeat(257))];
    let told = said(world.root().tag_resource(&tag_key(&key, &long)));
    let wanted = "ValidationException: 1 validation error detected: Value";
    assert!(told.starts_with(wanted) && told.contains("'tags.1.member.tagValue'"), "{told}");
    refused(world.root().create_key(&create(&long)), "ValidationException");
    // Keys have 128, and are not empty; values may be.
    for bad in [tag(&"k".repeat(129), "v"), tag("", "v")] {
        refused(world.root().tag_resource(&tag_key(&key, &[bad])), "ValidationException");
    }
    let good = [tag(&"k".repeat(128), &"v".repeat(256)), tag("empty", "")];
    world.root().tag_resource(&tag_key(&key, &good)).unwrap();
}

#[test]
fn tagging_adds_and_replaces_and_untagging_what_is_not_there_is_silent() {
    for world in World::both() {
        let key = world.key_of(create(&[tag("a", "1"), tag("b", "2")]));
        world.root().tag_resource(&tag_key(&key, &[tag("b", "3"), tag("c", "4")])).unwrap();
        let untag = |names: &[&str]| UntagResourceRequest {
            key_id: key.clone(),
            tag_keys: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        world.root().untag_resource(&untag(&["a", "absent"])).unwrap();
        world.root().untag_resource(&untag(&["a"])).unwrap();
        let wanted = [("b", "3"), ("c", "4")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags_of(&world, &key), wanted.into());
        // Keys are case-sensitive.
        world.root().untag_resource(&untag(&["B"])).unwrap();
        assert_eq!(tags_of(&world, &key).len(), 2);
        refused(world.root().untag_resource(&untag(&[""])), "ValidationException");
    }
}

#[test]
fn a_key_with_tags_takes_permission_to_tag() {
    let world = World::new();
    let maker = world.with_policy(&user("u"), &[to_me("Allow", &["kms:CreateKey"])]);
    maker.create_key(&CreateKeyRequest::default()).unwrap();
    refused(maker.create_key(&create(&[tag("a", "1")])), "AccessDeniedException");
    let only_a = world.with_policy(
        &user("u"),
        &[
            to_me("Allow", &["kms:CreateKey"]),
            json!({
                "Effect": "Allow", "Action": "kms:TagResource", "Resource": "*",
                "Condition": { "ForAllValues:StringEquals": { "aws:TagKeys": ["a"] } },
            }),
        ],
    );
    only_a.create_key(&create(&[tag("a", "1")])).unwrap();
    refused(only_a.create_key(&create(&[tag("b", "1")])), "AccessDeniedException");
}

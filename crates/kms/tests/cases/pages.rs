//! Listings in pages: every entry once, in order, by the markers of the answers.

use sealvol_envelope::KmsError;
use sealvol_kms::model::*;

use crate::support::*;

/// One page: the entries' names, the marker, and whether there is more.
type Page = (Vec<String>, Option<String>, bool);
type List<'a> = Box<dyn Fn(Option<i64>, Option<String>) -> Result<Page, KmsError> + 'a>;

/// Every listing that has pages, its default and greatest limit, and how many entries it has here.
fn listings<'a>(world: &'a World, key: &'a str) -> Vec<(&'static str, i64, usize, List<'a>)> {
    let root = || world.root();
    vec![
        (
            "ListKeys",
            1000,
            121,
            Box::new(move |limit, marker| {
                let page = root().list_keys(&ListKeysRequest { limit, marker })?;
                let names = page.keys.into_iter().map(|key| key.key_id).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
        (
            "ListAliases",
            100,
            121,
            Box::new(move |limit, marker| {
                let request = ListAliasesRequest { limit, marker, key_id: None };
                let page = root().list_aliases(&request)?;
                let names = page.aliases.into_iter().map(|alias| alias.alias_name).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
        (
            "ListGrants",
            100,
            121,
            Box::new(move |limit, marker| {
                let key_id = key.to_owned();
                let request = ListGrantsRequest { key_id, limit, marker, ..Default::default() };
                let page = root().list_grants(&request)?;
                let names = page.grants.into_iter().map(|grant| grant.grant_id).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
        (
            "ListRetirableGrants",
            100,
            121,
            Box::new(move |limit, marker| {
                let retiring_principal = user("retirer");
                let request = ListRetirableGrantsRequest { retiring_principal, limit, marker };
                let page = root().list_retirable_grants(&request)?;
                let names = page.grants.into_iter().map(|grant| grant.grant_id).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
        (
            "ListResourceTags",
            50,
            50,
            Box::new(move |limit, marker| {
                let request = ListResourceTagsRequest { key_id: key.to_owned(), limit, marker };
                let page = root().list_resource_tags(&request)?;
                let names = page.tags.into_iter().map(|tag| tag.tag_key).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
        (
            "ListKeyRotations",
            1000,
            121,
            Box::new(move |limit, marker| {
                let include_key_material = Some("ALL_KEY_MATERIAL".to_owned());
                let key_id = key.to_owned();
                let request =
                    ListKeyRotationsRequest { key_id, include_key_material, limit, marker };
                let page = root().list_key_rotations(&request)?;
                let names = page.rotations.into_iter().map(|entry| entry.key_material_id).collect();
                Ok((names, page.next_marker, page.truncated))
            }),
        ),
    ]
}

/// A KMS with more of everything than fits on a page.
fn full() -> (World, String) {
    let world = World::with(sealvol_kms::KmsSettings {
        on_demand_rotations_max: 1000,
        rotation_delay: std::time::Duration::ZERO,
        ..Default::default()
    });
    let key = world.key();
    for n in 0..120 {
        let other = world.key();
        world.root().create_alias(&alias(&format!("alias/a{n}"), &other)).unwrap();
        world.root().rotate_key_on_demand(&KeyRequest::new(&key)).unwrap();
    }
    world.root().create_alias(&alias("alias/of-key", &key)).unwrap();
    for _ in 0..121 {
        let request = CreateGrantRequest {
            retiring_principal: Some(user("retirer")),
            ..grant(&key, &user("u"), &["Decrypt"])
        };
        world.root().create_grant(&request).unwrap();
    }
    let tags: Vec<_> = (0..50).map(|n| tag(&format!("k{n}"), "v")).collect();
    world.root().tag_resource(&tag_key(&key, &tags)).unwrap();
    (world, key)
}

/// The pages' lengths, and all entries.
fn walk(list: &List<'_>, limit: Option<i64>) -> (Vec<usize>, Vec<String>) {
    let (mut lengths, mut all, mut marker) = (Vec::new(), Vec::new(), None);
    loop {
        let (names, next, truncated) = list(limit, marker).unwrap();
        assert_eq!(next.is_some(), truncated);
        assert!(next.as_ref().is_none_or(|next| next.len() <= 1024));
        lengths.push(names.len());
        all.extend(names);
        marker = next;
        if marker.is_none() {
            return (lengths, all);
        }
    }
}

#[test]
fn pages_hold_every_entry_once() {
    let (world, key) = full();
    for (name, _max, total, list) in listings(&world, &key) {
        let (_, whole) = walk(&list, None);
        let mut sorted = whole.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((whole.len(), sorted.len()), (total, total), "{name}");
        for limit in [1, 7, 50] {
            assert_eq!(walk(&list, Some(limit)).1, whole, "{name} by {limit}");
        }
    }
}

#[test]
fn pages_have_awss_lengths() {
    let (world, key) = full();
    let wanted = [
        vec![100, 21],
        vec![50, 50, 21],
        vec![50, 50, 21],
        vec![50, 50, 21],
        vec![50],
        vec![100, 21],
    ];
    for ((name, max, _, list), wanted) in listings(&world, &key).into_iter().zip(wanted) {
        assert_eq!(walk(&list, None).0, wanted, "{name}");
        list(Some(max), None).unwrap();
        for bad in [0, -1, max + 1] {
            assert_eq!(code(list(Some(bad), None)), "ValidationException", "{name} {bad}");
        }
    }
}

/// A marker is of one listing: elsewhere, and damaged, it is none.
#[test]
fn markers_of_other_listings_are_refused() {
    let (world, key) = full();
    let listings = listings(&world, &key);
    let markers: Vec<_> =
        listings.iter().map(|(_, _, _, list)| list(Some(2), None).unwrap().1.unwrap()).collect();
    for (at, (name, _, _, list)) in listings.iter().enumerate() {
        for (of, marker) in markers.iter().enumerate() {
            let answer = list(None, Some(marker.clone()));
            match of == at {
                true => drop(answer.unwrap()),
                false => assert_eq!(code(answer), "InvalidMarkerException", "{name} {of}"),
            }
        }
        assert_eq!(code(list(None, Some("nonsense".into()))), "InvalidMarkerException", "{name}");
        assert_eq!(code(list(None, Some(String::new()))), "ValidationException", "{name}");
        assert_eq!(code(list(None, Some("m".repeat(1025)))), "ValidationException", "{name}");
    }
    let key_id = key.clone();
    let request = ListKeyPoliciesRequest { key_id, marker: Some("m".into()), limit: None };
    refused(world.root().list_key_policies(&request), "InvalidMarkerException");
}

/// What happens between two pages moves no other entry.
#[test]
fn pages_go_on_after_changes() {
    let (world, key) = full();
    let list = |limit, marker| {
        let key_id = key.clone();
        let request = ListGrantsRequest { key_id, limit, marker, ..Default::default() };
        world.root().list_grants(&request).unwrap()
    };
    let whole: Vec<_> = list(Some(100), None).grants.into_iter().map(|g| g.grant_id).collect();
    let first = list(Some(10), None);
    // The marker's own entry goes away, and one before it.
    for gone in [&whole[9], &whole[3]] {
        world.root().revoke_grant(&revoke(&key, gone)).unwrap();
    }
    let second = list(Some(10), first.next_marker);
    let ids: Vec<_> = second.grants.into_iter().map(|g| g.grant_id).collect();
    assert_eq!(ids, whole[10..20]);
}

/// Filters and pages together; and nothing of other accounts.
#[test]
fn filters_apply_before_pages() {
    let (world, key) = full();
    let special = world.root().create_grant(&grant(&key, &user("v"), &["Encrypt"])).unwrap();
    let base = ListGrantsRequest { key_id: key.clone(), limit: Some(1), ..Default::default() };
    for request in [
        ListGrantsRequest { grantee_principal: Some(user("v")), ..base.clone() },
        ListGrantsRequest { grant_id: Some(special.grant_id.clone()), ..base.clone() },
    ] {
        let listed = world.root().list_grants(&request).unwrap();
        let ids: Vec<_> = listed.grants.iter().map(|g| &g.grant_id).collect();
        assert_eq!((ids, listed.truncated), (vec![&special.grant_id], false));
    }
    let wrong = ListGrantsRequest { grant_id: Some("x".to_owned()), ..base };
    refused(world.root().list_grants(&wrong), "InvalidGrantIdException");
    let request = ListAliasesRequest { key_id: Some(key), limit: Some(1), marker: None };
    let listed = world.root().list_aliases(&request).unwrap();
    assert_eq!((listed.aliases.len(), listed.truncated), (1, false));
    let outsider = world.unlimited(&foreign_user("u"));
    assert_eq!(outsider.list_keys(&ListKeysRequest::default()).unwrap().keys, []);
    assert_eq!(outsider.list_aliases(&ListAliasesRequest::default()).unwrap().aliases, []);
    let retiring_principal = user("retirer");
    let request = ListRetirableGrantsRequest { retiring_principal, ..Default::default() };
    refused(outsider.list_retirable_grants(&request), "AccessDeniedException");
}

/// A principal finds what it may retire, whosever key it is on.
#[test]
fn retirable_grants_span_accounts() {
    let world = World::new();
    let outsider = world.unlimited(&foreign_user("u"));
    let theirs = outsider.create_key(&CreateKeyRequest::default()).unwrap().key_metadata.arn;
    for (session, key) in [(&world.root(), &world.key()), (&outsider, &theirs)] {
        let request = CreateGrantRequest {
            retiring_principal: Some(user("retirer")),
            ..grant(key, &user("u"), &["Decrypt"])
        };
        session.create_grant(&request).unwrap();
    }
    let retiring_principal = user("retirer");
    let request = ListRetirableGrantsRequest { retiring_principal, ..Default::default() };
    let listed = world.root().list_retirable_grants(&request).unwrap().grants;
    let mut accounts: Vec<_> = listed.into_iter().map(|grant| grant.issuing_account).collect();
    accounts.sort();
    assert_eq!(accounts, [root_of(OWN), root_of(OTHER)]);
}

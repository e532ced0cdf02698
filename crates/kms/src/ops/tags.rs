//! Tags of keys.

use std::collections::BTreeMap;

use sealvol_envelope::KmsError;

use super::pages::{Page, PageSize};
use crate::audit::parameters;
use crate::fault;
use crate::kms::Planned;
use crate::model::{
    ListResourceTagsRequest, ListResourceTagsResponse, Nothing, Tag, TagResourceRequest,
    UntagResourceRequest,
};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Session};
use crate::state::Change;
use crate::validate::Checks;

const PAGES: PageSize = PageSize { default: 50, max: 50 };
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

/// What the API model says of tags.
pub(super) fn shape(checks: &mut Checks, tags: &[Tag]) {
    for (number, tag) in tags.iter().enumerate() {
        let number = number + 1;
        checks.length(&format!("tags.{number}.member.tagKey"), &tag.tag_key, 1, KEY_MAX);
        checks.length(&format!("tags.{number}.member.tagValue"), &tag.tag_value, 0, VALUE_MAX);
    }
}

/// The tags of a key with `given` added to them.
///
/// # Errors
/// `TagException`.
pub(super) fn merged(
    tags: &BTreeMap<String, String>,
    given: &[Tag],
    max: usize,
) -> Result<BTreeMap<String, String>, KmsError> {
    let mut merged = tags.clone();
    let mut seen = BTreeMap::new();
    for Tag { tag_key, tag_value } in given {
        if tag_key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(fault::tag("Tags beginning with aws: are reserved"));
        }
        if seen.insert(tag_key, ()).is_some() {
            return Err(fault::tag("Duplicate tag keys"));
        }
        merged.insert(tag_key.clone(), tag_value.clone());
    }
    if merged.len() > max {
        return Err(fault::tag("Too many tags"));
    }
    Ok(merged)
}

impl Session {
    /// `TagResource`: adds tags, or gives them new values.
    ///
    /// # Errors
    /// `ValidationException`, `TagException`, `NotFoundException`, `AccessDeniedException`,
    /// `KMSInvalidStateException`, `KMSInternalException`.
    pub fn tag_resource(&self, request: &TagResourceRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::TagResource;
        self.call(
            operation,
            || parameters::tag_resource(request),
            |trail| {
                let given = request.tags.as_deref().unwrap_or_default();
                let mut checks = Checks::default();
                if request.tags.is_none() {
                    checks.missing("tags");
                }
                shape(&mut checks, given);
                checks.finish()?;
                let names: Vec<&str> = given.iter().map(|tag| tag.tag_key.as_str()).collect();
                let more: [(&'static str, &[&str]); 1] = [("aws:tagkeys", &names)];
                self.change(|state| {
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask { more: &more, ..Ask::to(Action::TagResource) };
                    self.permit(state, named, &ask)?;
                    let record = &named.key.record;
                    self.lasting(record)?;
                    let tags = merged(&record.tags, given, self.kms.settings.tags_per_key_max)?;
                    let change = (tags != record.tags)
                        .then_some(Change::KeyTagsSet { key: record.id, tags });
                    Ok(Planned { change, answer: Nothing })
                })
            },
        )
    }

    /// `UntagResource`: removes tags; those that are not there are ignored.
    ///
    /// # Errors
    /// As [`tag_resource`](Self::tag_resource).
    pub fn untag_resource(&self, request: &UntagResourceRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::UntagResource;
        self.call(
            operation,
            || parameters::untag_resource(request),
            |trail| {
                let given = request.tag_keys.as_deref().unwrap_or_default();
                let mut checks = Checks::default();
                if request.tag_keys.is_none() {
                    checks.missing("tagKeys");
                }
                for (number, key) in given.iter().enumerate() {
                    checks.length(&format!("tagKeys.{}.member", number + 1), key, 1, KEY_MAX);
                }
                checks.finish()?;
                let names: Vec<&str> = given.iter().map(String::as_str).collect();
                let more: [(&'static str, &[&str]); 1] = [("aws:tagkeys", &names)];
                self.change(|state| {
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask { more: &more, ..Ask::to(Action::UntagResource) };
                    self.permit(state, named, &ask)?;
                    let record = &named.key.record;
                    self.lasting(record)?;
                    if names.iter().any(|name| {
                        name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
                    }) {
                        return Err(fault::tag("Tags beginning with aws: are reserved"));
                    }
                    let mut tags = record.tags.clone();
                    tags.retain(|key, _| !given.contains(key));
                    let change = (tags != record.tags)
                        .then_some(Change::KeyTagsSet { key: record.id, tags });
                    Ok(Planned { change, answer: Nothing })
                })
            },
        )
    }

    /// `ListResourceTags`.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidMarkerException`, `NotFoundException`,
    /// `AccessDeniedException`.
    pub fn list_resource_tags(
        &self,
        request: &ListResourceTagsRequest,
    ) -> Result<ListResourceTagsResponse, KmsError> {
        let operation = Operation::ListResourceTags;
        self.call(
            operation,
            || parameters::list_resource_tags(request),
            |trail| {
                let page = Page::parse("tags", PAGES, request.limit, request.marker.as_deref())?;
                self.read(|state| {
                    let action = Action::ListResourceTags;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let left =
                        key.record.tags.iter().filter(|(key, _)| {
                            page.after.as_ref().is_none_or(|after| *key > after)
                        });
                    let cut = page.cut(left.map(|(key, value)| {
                        (key.clone(), Tag { tag_key: key.clone(), tag_value: value.clone() })
                    }));
                    let truncated = cut.next_marker.is_some();
                    Ok(ListResourceTagsResponse {
                        tags: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_merged_and_bounded() {
        let tag = |key: &str| Tag { tag_key: key.into(), tag_value: "v".into() };
        let many = |n: usize| (0..n).map(|n| tag(&format!("k{n}"))).collect::<Vec<_>>();
        assert_eq!(merged(&BTreeMap::new(), &many(50), 50).unwrap().len(), 50);
        let have = merged(&BTreeMap::new(), &many(50), 50).unwrap();
        assert!(merged(&have, &[tag("k0")], 50).is_ok());
        for bad in
            [vec![tag("new")], vec![tag("a"), tag("a")], vec![tag("aws:x")], vec![tag("AWS:x")]]
        {
            assert_eq!(merged(&have, &bad, 50).unwrap_err().code(), "TagException");
        }
    }
}

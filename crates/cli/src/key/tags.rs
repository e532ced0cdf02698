//! Tags.

use sealvol::kms::model::{
    ListResourceTagsRequest, ListResourceTagsResponse, Tag, TagResourceRequest,
    UntagResourceRequest,
};

use super::advice::Told as _;
use super::desk::Desk;
use crate::pairs::parse_pair;

#[derive(Debug, clap::Args)]
pub(super) struct TagArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// The tags
    #[arg(value_name = "NAME=VALUE", value_parser = parse_pair, required = true)]
    tags: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UntagArgs {
    /// Id, ARN or alias of the key
    #[arg(value_name = "KEY")]
    which: String,
    /// The names of the tags
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub(super) fn of_pairs(pairs: &[(String, String)]) -> Vec<Tag> {
    let tag =
        |(name, value): &(String, String)| Tag { tag_key: name.clone(), tag_value: value.clone() };
    pairs.iter().map(tag).collect()
}

pub(super) fn tag(desk: &Desk, args: &TagArgs) -> anyhow::Result<()> {
    let request =
        TagResourceRequest { key_id: desk.key_id(&args.which)?, tags: Some(of_pairs(&args.tags)) };
    desk.session.tag_resource(&request).told(format_args!("tag the key {}", args.which))?;
    desk.done(&format!("tagged {}", args.which))
}

pub(super) fn untag(desk: &Desk, args: &UntagArgs) -> anyhow::Result<()> {
    let request = UntagResourceRequest {
        key_id: desk.key_id(&args.which)?,
        tag_keys: Some(args.names.clone()),
    };
    let untagged = desk.session.untag_resource(&request);
    untagged.told(format_args!("take tags off the key {}", args.which))?;
    desk.done(&format!("untagged {}", args.which))
}

pub(super) fn list(desk: &Desk, which: &str) -> anyhow::Result<()> {
    let mut request =
        ListResourceTagsRequest { key_id: desk.key_id(which)?, limit: Some(50), marker: None };
    let mut tags = Vec::new();
    loop {
        let page = desk.session.list_resource_tags(&request);
        let page = page.told(format_args!("list the tags of {which}"))?;
        tags.extend(page.tags);
        request.marker = page.next_marker;
        if request.marker.is_none() {
            break;
        }
    }
    let all = ListResourceTagsResponse { tags, next_marker: None, truncated: false };
    desk.answer(&all, |all| match all.tags.is_empty() {
        true => "no tags; `sealvol key tag` adds some\n".to_owned(),
        false => {
            all.tags.iter().map(|tag| format!("{}={}\n", tag.tag_key, tag.tag_value)).collect()
        }
    })
}

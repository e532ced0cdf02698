//! Forms of the query protocol: one value for each parameter, and nothing is lost on the way.

use std::fmt::Write;

use sealvol_aws_wire::query::{Limits, ListStyle, Params, Xml};

use crate::memory::bounded;

/// The target's body: a form.
pub fn run(data: &[u8]) {
    // A parameter takes 2 bytes (`a&`) and a hundred of memory.
    let budget = (64 << 10) + 128 * data.len();
    let limits = Limits::default();
    let Ok(params) = bounded(budget, || Params::parse_body(data, limits)) else { return };
    assert!(params.len() <= limits.count);

    let mut form = String::new();
    for (name, value) in params.iter() {
        assert!(name.len() <= limits.name_len && value.len() <= limits.value_len);
        for (text, end) in [(name, '='), (value, '&')] {
            for byte in text.bytes() {
                write!(form, "%{byte:02x}").expect("strings grow");
            }
            form.push(end);
        }
        check_xml(value);
    }
    assert_eq!(Params::parse(&form, limits).as_ref(), Ok(&params));

    for (style, prefix) in [(ListStyle::Member, "Tags.member."), (ListStyle::Flat, "Filter.")] {
        let name = prefix.split('.').next().unwrap_or_default();
        let elements = params.list(name, style);
        let members: usize = elements.iter().map(Params::len).sum();
        assert!(members <= params.iter().filter(|(name, _)| name.starts_with(prefix)).count());
        assert!(params.value_list(name, style).len() <= elements.len());
        assert!(elements.iter().all(|element| !element.is_empty()));
    }
}

/// Whatever the text is, its element is one element.
fn check_xml(text: &str) {
    let mut xml = Xml::new();
    xml.leaf("A", text);
    let xml = xml.finish();
    let inner = xml.strip_prefix("<A>").and_then(|rest| rest.strip_suffix("</A>"));
    let inner = inner.expect("an element has its tags");
    assert!(!inner.contains(['<', '>', '"', '\'', '\r', '\0']));
    for reference in inner.split('&').skip(1) {
        let name = reference.split(';').next();
        assert!(
            name.is_some_and(|name| ["amp", "lt", "gt", "quot", "apos", "#xD"].contains(&name))
        );
    }
}

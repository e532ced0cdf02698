//! Writing XML.

/// XML text under construction. Names are literals of ours and are not escaped; texts are.
#[derive(Debug, Default)]
pub struct Xml {
    text: String,
}

impl Xml {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `<name>`, what `body` writes, `</name>`.
    pub fn element(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        self.tag(name, None, body);
    }

    /// The same in a namespace.
    pub fn element_in(&mut self, name: &str, namespace: &str, body: impl FnOnce(&mut Self)) {
        self.tag(name, Some(namespace), body);
    }

    /// `<name>text</name>`.
    pub fn leaf(&mut self, name: &str, text: &str) {
        self.tag(name, None, |xml| xml.escaped(text));
    }

    /// The same when there is a text, else nothing.
    pub fn leaf_opt(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(name, text);
        }
    }

    /// `<name>`, each item as `<item_name>` with what `body` writes for it, `</name>`.
    pub fn list<T>(
        &mut self,
        name: &str,
        item_name: &str,
        items: impl IntoIterator<Item = T>,
        mut body: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for item in items {
                xml.element(item_name, |xml| body(xml, item));
            }
        });
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    /// `text` as the content of an element.
    pub fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&apos;"),
                // A parser would make a line feed of it.
                '\r' => self.text.push_str("&#xD;"),
                '\t' | '\n' => self.text.push(c),
                // XML 1.0 cannot say these in any way.
                '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => self.text.push('\u{fffd}'),
                _ => self.text.push(c),
            }
        }
    }

    fn tag(&mut self, name: &str, namespace: Option<&str>, body: impl FnOnce(&mut Self)) {
        self.text.push('<');
        self.text.push_str(name);
        if let Some(namespace) = namespace {
            self.text.push_str(" xmlns=\"");
            self.escaped(namespace);
            self.text.push('"');
        }
        self.text.push('>');
        body(self);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut xml = Xml::new();
        xml.leaf("A", "<a href=\"x\">&'\r\n\t\u{1}\u{ffff}\u{e9}</a>");
        let text = "<A>&lt;a href=&quot;x&quot;&gt;&amp;&apos;&#xD;\n\t\u{fffd}\u{fffd}\u{e9}&lt;/a&gt;</A>";
        assert_eq!(xml.finish(), text);
    }

    #[test]
    fn lists_have_an_element_for_each() {
        let mut xml = Xml::new();
        xml.list("Tags", "member", [("a", Some("1")), ("b", None)], |xml, (key, value)| {
            xml.leaf("Key", key);
            xml.leaf_opt("Value", value);
        });
        let text = "<Tags><member><Key>a</Key><Value>1</Value></member><member><Key>b</Key></member></Tags>";
        assert_eq!(xml.finish(), text);
    }
}

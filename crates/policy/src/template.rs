//! Texts with wildcards and policy variables, and how they match.

use std::borrow::Cow;

use crate::context::Request;
use crate::error::PolicyErrorKind;
use crate::key::ConditionKey;

/// Which signs are more than text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    /// `*` and `?`.
    pub(crate) wildcards: bool,
    /// `${...}`.
    pub(crate) variables: bool,
}

/// How letters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Exact,
    /// ASCII letters match in either case.
    Fold,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(Cow<'a, str>),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Many,
    /// Replaced before anything is matched; a value's own `*` and `?` are text.
    Variable {
        key: ConditionKey,
        default: Option<Box<str>>,
    },
}

/// A text with wildcards and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Box<[Part<'static>]>,
    has_variables: bool,
}

impl Template {
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Self, PolicyErrorKind> {
        let bad = || PolicyErrorKind::bad(text, "a text with sound ${...} variables");
        let mut builder = Builder::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let after = rest.get(next.len_utf8()..).unwrap_or_default();
            if syntax.variables && rest.starts_with("${") {
                let (inside, after) =
                    rest.get(2..).and_then(|inside| inside.split_once('}')).ok_or_else(bad)?;
                builder.variable(inside).ok_or_else(bad)?;
                rest = after;
                continue;
            }
            match next {
                '*' if syntax.wildcards => builder.many(),
                '?' if syntax.wildcards => builder.part(Part::One),
                _ => builder.text.push(next),
            }
            rest = after;
        }
        builder.flush();
        Ok(Self { parts: builder.parts.into(), has_variables: builder.has_variables })
    }

    /// Whether it matches; `None` when a variable has no value.
    pub(crate) fn matches(&self, text: &str, case: Case, request: &Request<'_>) -> Option<bool> {
        if self.has_variables {
            Some(match_parts(&self.resolve(request)?, text, case))
        } else {
            Some(match_parts(&self.parts, text, case))
        }
    }

    /// The text of a template without wildcards; `None` when a variable has no value.
    pub(crate) fn text<'a>(&'a self, request: &Request<'a>) -> Option<Cow<'a, str>> {
        match &*self.parts {
            [] => Some(Cow::Borrowed("")),
            [Part::Text(text)] => Some(Cow::Borrowed(text)),
            _ => self.resolve(request)?.into_iter().try_fold(Cow::Borrowed(""), |all, part| {
                let Part::Text(text) = part else { return None };
                Some(if all.is_empty() { text } else { Cow::Owned(format!("{all}{text}")) })
            }),
        }
    }

    /// The parts with values in place of variables.
    pub(crate) fn resolve<'a>(&'a self, request: &Request<'a>) -> Option<Vec<Part<'a>>> {
        let resolved = self.parts.iter().map(|part| match part {
            Part::Text(text) => Some(Part::Text(Cow::Borrowed(&**text))),
            Part::One => Some(Part::One),
            Part::Many => Some(Part::Many),
            Part::Variable { key, default } => {
                let value = request.text(key);
                value.or_else(|| default.as_deref().map(Cow::Borrowed)).map(Part::Text)
            }
        });
        resolved.collect()
    }

    pub(crate) fn parts(&self) -> &[Part<'static>] {
        &self.parts
    }

    pub(crate) const fn has_variables(&self) -> bool {
        self.has_variables
    }
}

#[derive(Default)]
struct Builder {
    parts: Vec<Part<'static>>,
    text: String,
    has_variables: bool,
}

impl Builder {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(Cow::Owned(std::mem::take(&mut self.text))));
        }
    }

    fn part(&mut self, part: Part<'static>) {
        self.flush();
        self.parts.push(part);
    }

    /// Stars in a row are one.
    fn many(&mut self) {
        if !self.text.is_empty() || self.parts.last() != Some(&Part::Many) {
            self.part(Part::Many);
        }
    }

    /// The inside of `${...}`.
    fn variable(&mut self, inside: &str) -> Option<()> {
        if let "*" | "?" | "$" = inside {
            self.text.push_str(inside);
            return Some(());
        }
        let (key, default) = match inside.split_once(',') {
            None => (inside, None),
            Some((key, default)) => {
                let quoted = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
                (key, Some(quoted.into()))
            }
        };
        let key = ConditionKey::parse(key.trim())?;
        self.has_variables = true;
        self.part(Part::Variable { key, default });
        Some(())
    }
}

/// Whether `text` is what `parts` describe. A mismatch gives the last star one character more:
/// earlier stars need never be reconsidered, so that time is at most length times length.
pub(crate) fn match_parts(parts: &[Part<'_>], text: &str, case: Case) -> bool {
    let (mut parts, mut rest) = (parts, text);
    let mut star = None;
    loop {
        let step = match parts.split_first() {
            None => rest.is_empty().then_some((parts, rest)),
            Some((Part::Many, [])) => return true,
            Some((Part::Many, after)) => {
                star = Some((after, rest));
                Some((after, rest))
            }
            Some((Part::One, after)) => skip_char(rest).map(|rest| (after, rest)),
            Some((Part::Text(text), after)) => strip(rest, text, case).map(|rest| (after, rest)),
            Some((Part::Variable { .. }, _)) => None,
        };
        match (step, star) {
            (Some(([], "")), _) => return true,
            (Some((after, left)), _) => (parts, rest) = (after, left),
            (None, None) => return false,
            (None, Some((after, from))) => {
                let Some(from) = skip_char(from) else { return false };
                star = Some((after, from));
                (parts, rest) = (after, from);
            }
        }
    }
}

fn skip_char(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

fn strip<'t>(text: &'t str, prefix: &str, case: Case) -> Option<&'t str> {
    let (head, tail) = text.as_bytes().split_at_checked(prefix.len())?;
    let is_equal = match case {
        Case::Exact => head == prefix.as_bytes(),
        Case::Fold => head.eq_ignore_ascii_case(prefix.as_bytes()),
    };
    if is_equal { text.get(text.len() - tail.len()..) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Identity, MapContext, Principal};

    const ALL: Syntax = Syntax { wildcards: true, variables: true };

    fn wild(pattern: &str, text: &str) -> bool {
        let syntax = Syntax { wildcards: true, variables: false };
        match_parts(Template::parse(pattern, syntax).unwrap().parts(), text, Case::Exact)
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', more @ ..], _) => {
                naive(more, text) || !text.is_empty() && naive(pattern, &text[1..])
            }
            (['?', more @ ..], [_, rest @ ..]) => naive(more, rest),
            ([p, more @ ..], [t, rest @ ..]) => p == t && naive(more, rest),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn wildcards_match_as_the_recursive_definition(
            pattern in "[ab\u{e4}*?]{0,8}", text in "[ab\u{e4}]{0,9}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(wild(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a:$'{},*? ]{0,16}") {
            if let Ok(template) = Template::parse(&text, ALL) {
                prop_assert!(template.parts().len() <= text.len());
            }
        }
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time() {
        let pattern = "*a".repeat(1000) + "b";
        assert!(!wild(&pattern, &"a".repeat(4000)));
    }

    #[test]
    fn variables_take_values_defaults_and_escapes() {
        let arn = "arn:aws:iam::000000000000:user/alice";
        let identity = Identity::new(Principal::parse(arn).unwrap())
            .with_tag("Team", "a")
            .with_tag("n", "al*ce");
        let context = MapContext::default().with("kms:EncryptionContext:Id", "v-1");
        let request = Request { identity: &identity, context: &context };
        let is = |pattern: &str, text: &str| {
            Template::parse(pattern, ALL).unwrap().matches(text, Case::Exact, &request)
        };
        assert_eq!(is("u/${aws:PrincipalTag/n}/*", "u/al*ce/x"), Some(true));
        assert_eq!(
            is("u/${aws:PrincipalTag/n}/*", "u/alice/x"),
            Some(false),
            "a value is no pattern"
        );
        assert_eq!(is("${AWS:principaltag/team}-${aws:username}", "a-alice"), Some(true));
        assert_eq!(is("${kms:EncryptionContext:id}", "v-1"), Some(true));
        assert_eq!(is("${aws:PrincipalTag/x, 'none'}", "none"), Some(true));
        assert_eq!(is("${aws:PrincipalTag/x}", ""), None);
        assert_eq!(is("${*}${?}${$}", "*?$"), Some(true));
        assert_eq!(is("${*}${?}${$}", "ab$"), Some(false));
        for bad in ["${", "${}", "${x}", "${aws:x", "${aws:x, y}", "${aws:x, 'y}"] {
            assert!(Template::parse(bad, ALL).is_err(), "{bad}");
        }
    }
}

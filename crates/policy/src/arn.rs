//! ARNs in conditions: six parts between colons, each matched on its own, so that no wildcard reaches
//! across a colon of the first five.

use std::borrow::Cow;

use crate::context::Request;
use crate::error::PolicyErrorKind;
use crate::template::{Case, Part, Syntax, Template, match_parts};

const PARTS: usize = 6;

/// A pattern of ARNs.
#[derive(Debug, Clone)]
pub(crate) struct ArnPattern {
    template: Template,
    /// Of a template without variables, which does not change from request to request.
    split: Vec<Vec<Part<'static>>>,
}

impl ArnPattern {
    pub(crate) fn parse(text: &str, variables: bool) -> Result<Self, PolicyErrorKind> {
        // AWS wants six parts; a lone star is common all the same and can mean but one thing.
        let text = if text == "*" { "*:*:*:*:*:*" } else { text };
        let template = Template::parse(text, Syntax { wildcards: true, variables })?;
        let split = split(template.parts());
        // A variable may bring the colons.
        if !template.has_variables() && split.len() != PARTS {
            return Err(PolicyErrorKind::bad(text, "an ARN of six parts"));
        }
        Ok(Self { template, split })
    }

    pub(crate) fn matches(&self, text: &str, request: &Request<'_>) -> bool {
        if self.template.has_variables() {
            let parts = self.template.resolve(request);
            parts.is_some_and(|parts| matches(&split(&parts), text))
        } else {
            matches(&self.split, text)
        }
    }
}

fn matches(patterns: &[Vec<Part<'static>>], text: &str) -> bool {
    let mut fields = text.splitn(PARTS, ':');
    patterns.len() == PARTS
        && patterns.iter().all(|pattern| {
            fields.next().is_some_and(|field| match_parts(pattern, field, Case::Exact))
        })
}

/// Cuts a pattern at its first five colons.
fn split(parts: &[Part<'_>]) -> Vec<Vec<Part<'static>>> {
    let mut done = Vec::with_capacity(PARTS);
    let mut now = Vec::new();
    for part in parts {
        match part {
            Part::One => now.push(Part::One),
            Part::Many => now.push(Part::Many),
            Part::Variable { key, default } => {
                now.push(Part::Variable { key: key.clone(), default: default.clone() });
            }
            Part::Text(text) => {
                let mut rest = &**text;
                while done.len() + 1 < PARTS
                    && let Some((field, after)) = rest.split_once(':')
                {
                    now.push(Part::Text(Cow::Owned(field.to_owned())));
                    done.push(std::mem::take(&mut now));
                    rest = after;
                }
                now.push(Part::Text(Cow::Owned(rest.to_owned())));
            }
        }
    }
    done.push(now);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, MapContext, Principal};

    #[test]
    fn wildcards_stay_within_their_part() {
        let arn = "arn:aws:iam::000000000000:user/alice";
        let identity = Identity::new(Principal::parse(arn).unwrap());
        let context = MapContext::default();
        let request = Request { identity: &identity, context: &context };
        let is = |pattern, text| ArnPattern::parse(pattern, true).unwrap().matches(text, &request);
        let cluster = "arn:aws:ecs:us-east-1:111122223333:task/c:x/y";
        assert!(is("arn:aws:ecs:*:111122223333:task/*", cluster));
        assert!(is("arn:*:ecs:*:*:*", cluster));
        assert!(is("*", cluster));
        assert!(!is("arn:aws:ecs:us-east-1:*:task/d*", cluster));
        assert!(!is("arn:aws:*:task/c:x/y:*:*", cluster), "a star does not reach over a colon");
        assert!(!is("*", "no-arn"));
        assert!(is("${aws:PrincipalArn}", arn));
        assert!(is("arn:aws:iam::*:user/${aws:username}", arn));
        assert!(!is("${aws:PrincipalTag/none}", arn));
        for bad in ["", "arn:aws:ecs", "arn:aws:ecs:*:task"] {
            assert!(ArnPattern::parse(bad, true).is_err(), "{bad}");
        }
    }
}

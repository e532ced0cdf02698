//! A policy document: read once, decided upon often.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::Request;
use crate::element::{Hit, NamedPrincipal};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::json::{self, Place};
use crate::limits::Limits;
use crate::operator::{Operator, Qualifier};
use crate::statement::{Effect, Statement, Wanted};

/// What a policy is attached to, which says what elements it must and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// A resource, such as a key: statements name their principals. One without Action or Resource is
    /// accepted, as KMS does, and never applies.
    Resource,
    /// A user, a role, a session, or the boundary of one: statements name actions and resources.
    Identity,
    /// A role, for those who want to assume it: statements name principals and actions.
    Trust,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Resource => "a resource policy",
            Self::Identity => "an identity policy",
            Self::Trust => "a trust policy",
        })
    }
}

/// A policy.
#[derive(Clone)]
pub struct Policy {
    text: Box<str>,
    kind: PolicyKind,
    id: Option<Box<str>>,
    statements: Box<[Statement]>,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong and where. [`PolicyErrorKind::TooLong`] is the one that
    /// KMS answers with `LimitExceededException`; the others are malformed documents.
    pub fn parse(text: &str, kind: PolicyKind, limits: &Limits) -> Result<Self, PolicyError> {
        let whole = |kind| PolicyError { path: String::new(), kind };
        if text.len() > limits.document_bytes {
            let (len, max) = (text.len(), limits.document_bytes);
            return Err(whole(PolicyErrorKind::TooLong { len, max }));
        }
        let node = json::parse(text, limits.depth).map_err(whole)?;
        let top = Place::top(&node);
        let members = top.members()?;
        let member = |name: &str| {
            let found = members.iter().find(|(found, _)| found == name);
            found.map(|(name, node)| top.member(name, node))
        };
        for (name, node) in members {
            if !matches!(name.as_str(), "Version" | "Id" | "Statement") {
                return Err(top.member(name, node).error(PolicyErrorKind::UnknownElement));
            }
        }
        let version = member("Version").map(|place| version(&place)).transpose()?;
        let variables = version.unwrap_or_default() == Version::V2012;
        let id = member("Id").map(|place| place.text()).transpose()?.map(Into::into);
        let statements = member("Statement")
            .ok_or_else(|| top.error(PolicyErrorKind::Missing("Statement")))?
            .each("statements", limits.statements, |place| {
                let statement = Statement::parse(&place, kind, variables, limits)?;
                Ok((statement, place.path()))
            })?;
        let mut sids = HashSet::new();
        for (statement, path) in &statements {
            if kind == PolicyKind::Identity
                && let Some(sid) = statement.sid.as_deref()
                && !sid.is_empty()
                && !sids.insert(sid)
            {
                let path = format!("{path}.Sid");
                return Err(PolicyError { path, kind: PolicyErrorKind::Duplicate });
            }
        }
        let statements = statements.into_iter().map(|(statement, _)| statement).collect();
        Ok(Self { text: text.into(), kind, id, statements })
    }

    /// The document, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it was read as.
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Its `Id`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The principals of its statements, those of `NotPrincipal` included.
    pub fn principals(&self) -> impl Iterator<Item = PrincipalUse<'_>> {
        self.statements.iter().enumerate().flat_map(|(index, statement)| {
            statement.principals.iter().flat_map(move |principals| {
                principals.list.iter().map(move |principal| PrincipalUse {
                    statement: index,
                    effect: statement.effect,
                    negated: principals.negated,
                    principal,
                })
            })
        })
    }

    /// The conditions of its statements.
    pub fn conditions(&self) -> impl Iterator<Item = ConditionUse<'_>> {
        self.statements.iter().enumerate().flat_map(|(index, statement)| {
            statement.conditions.iter().map(move |condition| ConditionUse {
                statement: index,
                effect: statement.effect,
                qualifier: condition.spelled.qualifier,
                operator: condition.spelled.operator,
                if_exists: condition.spelled.if_exists,
                key: condition.key.as_str(),
            })
        })
    }

    /// What the statements say together: the first Deny that applies, or else the Allow that means
    /// the caller most closely.
    pub(crate) fn verdict(&self, request: &Request<'_>, wanted: Wanted<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for (index, statement) in self.statements.iter().enumerate() {
            let hit = statement.applies(request, wanted);
            if hit == Hit::No {
                continue;
            }
            match (statement.effect, verdict) {
                (Effect::Deny, _) => return Verdict::Deny(index),
                (Effect::Allow, Verdict::Allow(known, _)) if known >= hit => {}
                (Effect::Allow, _) => verdict = Verdict::Allow(hit, index),
            }
        }
        verdict
    }

    pub(crate) fn sid(&self, statement: usize) -> Option<&str> {
        self.statements.get(statement)?.sid.as_deref()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("kind", &self.kind).field("text", &self.text).finish()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.text) == (other.kind, &other.text)
    }
}

impl Eq for Policy {}

/// A principal in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrincipalUse<'a> {
    /// The statement's index.
    pub statement: usize,
    /// The statement's effect.
    pub effect: Effect,
    /// Whether it stands in a `NotPrincipal`.
    pub negated: bool,
    /// Whom it names.
    pub principal: &'a NamedPrincipal,
}

/// A condition of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionUse<'a> {
    /// The statement's index.
    pub statement: usize,
    /// The statement's effect.
    pub effect: Effect,
    /// `ForAllValues`, `ForAnyValue`, or neither.
    pub qualifier: Qualifier,
    /// The operator.
    pub operator: Operator,
    /// Whether it ends in `IfExists`.
    pub if_exists: bool,
    /// The key, spelled as [`crate::ConditionKeys::get`] has it.
    pub key: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Silent,
    Allow(Hit, usize),
    Deny(usize),
}

/// The language of the document. Only the newer one has variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Version {
    #[default]
    V2008,
    V2012,
}

fn version(place: &Place<'_>) -> Result<Version, PolicyError> {
    match place.text()? {
        "2012-10-17" => Ok(Version::V2012),
        "2008-10-17" => Ok(Version::V2008),
        other => Err(place.error(PolicyErrorKind::bad(other, "`2012-10-17` or `2008-10-17`"))),
    }
}

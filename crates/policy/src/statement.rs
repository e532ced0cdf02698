//! One statement: its elements, and whether it speaks of a request.

use crate::condition::{self, Condition};
use crate::context::Request;
use crate::element::{Hit, Principals};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::json::Place;
use crate::limits::Limits;
use crate::policy::PolicyKind;
use crate::template::{Case, Syntax, Template};

/// What a statement does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sid: Option<Box<str>>,
    pub(crate) effect: Effect,
    pub(crate) principals: Option<Principals>,
    actions: Patterns,
    resources: Patterns,
    pub(crate) conditions: Box<[Condition]>,
}

/// Actions or resources.
#[derive(Debug, Clone)]
enum Patterns {
    /// The element is absent, and the kind of policy has none: everything matches.
    All,
    /// The element is absent and should not be: nothing matches, the statement is inert.
    Nothing,
    These(Box<[Template]>),
    /// `NotAction`, `NotResource`.
    AllBut(Box<[Template]>),
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
}

impl Statement {
    pub(crate) fn parse(
        place: &Place<'_>,
        kind: PolicyKind,
        variables: bool,
        limits: &Limits,
    ) -> Result<Self, PolicyError> {
        let mut reader = Reader { place, kind, variables, limits, found: Found::default() };
        for (name, node) in place.members()? {
            reader.element(name, &place.member(name, node))?;
        }
        reader.finish()
    }

    /// How closely the statement speaks of the request: not at all, or as its principals do.
    pub(crate) fn applies(&self, request: &Request<'_>, wanted: Wanted<'_>) -> Hit {
        if !self.actions.match_action(wanted.action) {
            return Hit::No;
        }
        let hit = match (&self.principals, self.effect) {
            (None, _) => Hit::Named,
            (Some(principals), Effect::Allow) => principals.closest(request.identity),
            (Some(principals), Effect::Deny) if principals.denies(request.identity) => Hit::Named,
            (Some(_), Effect::Deny) => Hit::No,
        };
        let applies = hit != Hit::No
            && self.resources.match_resource(self.effect, wanted.resource, request)
            && self.conditions.iter().all(|condition| condition.holds(request));
        if applies { hit } else { Hit::No }
    }
}

impl Patterns {
    fn match_action(&self, action: &str) -> bool {
        // Patterns of actions have no variables, and so nothing of the request matters to them.
        let any = |patterns: &[Template]| {
            patterns.iter().any(|one| crate::template::match_parts(one.parts(), action, Case::Fold))
        };
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::These(patterns) => any(patterns),
            Self::AllBut(patterns) => !any(patterns),
        }
    }

    fn match_resource(&self, effect: Effect, resource: &str, request: &Request<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::These(patterns) => {
                patterns.iter().any(|one| one.matches(resource, Case::Exact, request) == Some(true))
            }
            // An exception that cannot be read (its variable has no value) must not widen what an
            // Allow allows, nor narrow what a Deny denies.
            Self::AllBut(patterns) => !patterns.iter().any(|one| {
                one.matches(resource, Case::Exact, request).unwrap_or(effect == Effect::Allow)
            }),
        }
    }
}

#[derive(Default)]
struct Found {
    sid: Option<Box<str>>,
    effect: Option<Effect>,
    principals: Option<Principals>,
    actions: Option<Patterns>,
    resources: Option<Patterns>,
    conditions: Box<[Condition]>,
}

struct Reader<'a> {
    place: &'a Place<'a>,
    kind: PolicyKind,
    variables: bool,
    limits: &'a Limits,
    found: Found,
}

impl Reader<'_> {
    fn element(&mut self, name: &str, place: &Place<'_>) -> Result<(), PolicyError> {
        let misplaced = |is: bool| {
            if is { Err(place.error(PolicyErrorKind::Misplaced(self.kind))) } else { Ok(()) }
        };
        match name {
            "Sid" => self.found.sid = Some(sid(place, self.kind)?.into()),
            "Effect" => self.found.effect = Some(effect(place)?),
            "Principal" | "NotPrincipal" => {
                misplaced(self.kind == PolicyKind::Identity)?;
                if self.found.principals.is_some() {
                    let kind = PolicyErrorKind::Conflict("Principal", "NotPrincipal");
                    return Err(self.place.error(kind));
                }
                let negated = name == "NotPrincipal";
                self.found.principals = Some(Principals::parse(place, negated, self.limits)?);
            }
            "Action" | "NotAction" => {
                if self.found.actions.is_some() {
                    let kind = PolicyErrorKind::Conflict("Action", "NotAction");
                    return Err(self.place.error(kind));
                }
                let list = place.each("actions", self.limits.values, action)?;
                self.found.actions = Some(patterns(name == "NotAction", list));
            }
            "Resource" | "NotResource" => {
                misplaced(self.kind == PolicyKind::Trust)?;
                if self.found.resources.is_some() {
                    let kind = PolicyErrorKind::Conflict("Resource", "NotResource");
                    return Err(self.place.error(kind));
                }
                let syntax = Syntax { wildcards: true, variables: self.variables };
                let list = place.each("resources", self.limits.values, |place| {
                    Template::parse(place.text()?, syntax).map_err(|kind| place.error(kind))
                })?;
                self.found.resources = Some(patterns(name == "NotResource", list));
            }
            "Condition" => {
                self.found.conditions = condition::parse(place, self.variables, self.limits)?;
            }
            _ => return Err(place.error(PolicyErrorKind::UnknownElement)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Statement, PolicyError> {
        let Found { sid, effect, principals, actions, resources, conditions } = self.found;
        let missing = |what| self.place.error(PolicyErrorKind::Missing(what));
        let effect = effect.ok_or_else(|| missing("Effect"))?;
        if self.kind != PolicyKind::Identity {
            let principals = principals.as_ref().ok_or_else(|| missing("Principal"))?;
            if principals.negated && effect == Effect::Allow {
                // AWS: not supported; it would allow everybody else there is.
                let kind = PolicyErrorKind::Conflict("NotPrincipal", "Effect `Allow`");
                return Err(self.place.error(kind));
            }
        }
        let (actions, resources) = match (self.kind, actions, resources) {
            (PolicyKind::Resource, actions, resources) => {
                (actions.unwrap_or(Patterns::Nothing), resources.unwrap_or(Patterns::Nothing))
            }
            (_, None, _) => return Err(missing("Action")),
            (PolicyKind::Identity, _, None) => return Err(missing("Resource")),
            (_, Some(actions), resources) => (actions, resources.unwrap_or(Patterns::All)),
        };
        Ok(Statement { sid, effect, principals, actions, resources, conditions })
    }
}

fn patterns(negated: bool, list: Box<[Template]>) -> Patterns {
    if negated { Patterns::AllBut(list) } else { Patterns::These(list) }
}

fn sid<'a>(place: &Place<'a>, kind: PolicyKind) -> Result<&'a str, PolicyError> {
    let text = place.text()?;
    // Key policies have blanks in theirs ("Enable IAM User Permissions"); IAM allows none.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if kind == PolicyKind::Identity && !is_plain {
        return Err(place.error(PolicyErrorKind::bad(text, "letters and digits")));
    }
    Ok(text)
}

fn effect(place: &Place<'_>) -> Result<Effect, PolicyError> {
    match place.text()? {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(place.error(PolicyErrorKind::bad(other, "`Allow` or `Deny`"))),
    }
}

fn action(place: Place<'_>) -> Result<Template, PolicyError> {
    let text = place.text()?;
    let is_sound = text == "*"
        || text.split_once(':').is_some_and(|(service, name)| {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*?".contains(&byte);
            !service.is_empty()
                && !name.is_empty()
                && service.bytes().chain(name.bytes()).all(is_word)
        });
    if !is_sound {
        return Err(place.error(PolicyErrorKind::bad(text, "`*` or `service:action`")));
    }
    let syntax = Syntax { wildcards: true, variables: false };
    Template::parse(text, syntax).map_err(|kind| place.error(kind))
}

//! Tables for every branch, and all of it against a naive model.

mod conditions;
mod decisions;
mod differential;
mod identities;
#[allow(unreachable_patterns, reason = "the fuzz targets share it, where open enums have no end")]
mod naive;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use super::{Authorizer, Decision};
use crate as mesh;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{
    Condition, HeaderMatch, HeaderMatcher, Metadata, Rbac, RbacAction, RbacPolicy, RbacRules, Rule,
    StringMatcher, ValueMatch,
};

/// A request to look at.
#[derive(Clone, Debug)]
struct Call {
    method: Method,
    authority: String,
    path: String,
    headers: HeaderMap,
    origin: Origin,
    route: Option<Metadata>,
}

impl Call {
    fn new(path: &str) -> Self {
        let (authority, path) = ("shop.local".to_owned(), path.to_owned());
        let headers = HeaderMap::new();
        let (origin, route) = (Origin::default(), None);
        Self { method: Method::GET, authority, path, headers, origin, route }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn from(mut self, change: impl FnOnce(&mut Origin)) -> Self {
        change(&mut self.origin);
        self
    }

    fn head(&self) -> Head<'_> {
        Head::of_parts(&self.method, "http", &self.authority, &self.path, &self.headers)
            .from_origin(&self.origin)
    }

    fn decide<'p>(&self, authorizer: &'p Authorizer, dialect: Dialect) -> Decision<'p> {
        let metadata = &self.origin.metadata;
        let outcome = authorizer.decide(&self.head(), metadata, self.route.as_ref(), dialect);
        outcome.enforced.expect("there are rules")
    }

    /// Whether a condition holds in that dialect.
    fn meets(&self, condition: &Condition, dialect: Dialect) -> bool {
        let rules = rules(RbacAction::Allow, "p", Rule::Is(condition.clone()));
        self.decide(&authorizer(rules), dialect).allowed
    }
}

fn policy(permission: Rule, principal: Rule) -> RbacPolicy {
    RbacPolicy { permissions: vec![permission], principals: vec![principal] }
}

fn rules(action: RbacAction, name: &str, permission: Rule) -> RbacRules {
    RbacRules::new(action, [(name, policy(permission, Rule::Any))])
}

fn authorizer(rules: RbacRules) -> Authorizer {
    Authorizer::new(&Rbac::new(rules)).unwrap()
}

fn path(exact: &str) -> Rule {
    Rule::Is(Condition::UrlPath(StringMatcher::exact(exact)))
}

fn header(name: &str, value: ValueMatch) -> HeaderMatcher {
    let name = match name {
        ":method" => HeaderMatch::Method,
        ":authority" => HeaderMatch::Authority,
        ":path" => HeaderMatch::Path,
        ":scheme" => HeaderMatch::Scheme,
        name => HeaderMatch::Header(name.parse().unwrap()),
    };
    HeaderMatcher { name, value, invert: false, treat_missing_as_empty: false }
}

fn exact(value: &str) -> ValueMatch {
    ValueMatch::String(StringMatcher::exact(value))
}

const BOTH: [Dialect; 2] = [Dialect::Http, Dialect::Grpc];

use std::borrow::Cow;

use crate::resource::{Metadata, Name, Struct, Value};

/// What one set of rules says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision<'p> {
    /// Whether it may pass.
    pub allowed: bool,
    /// The policy that matched; `None` when none did.
    pub policy: Option<&'p Name>,
    /// Whether it shall be logged, where enforced rules say so (`access_log_hint`).
    pub log: Option<bool>,
}

impl Decision<'_> {
    /// Envoy's response code details of a denial. White space in a policy's name becomes `_`, so
    /// that a line of a log keeps its columns.
    pub fn details(&self) -> Cow<'static, str> {
        let Some(policy) = self.policy else {
            return Cow::Borrowed("rbac_access_denied_matched_policy[none]");
        };
        let is_space = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
        let policy = policy.replace(is_space, "_");
        Cow::Owned(format!("rbac_access_denied_matched_policy[{policy}]"))
    }
}

/// What the enforced and the shadow rules of one filter say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<'p> {
    /// By the enforced rules; `None` when there are none.
    pub enforced: Option<Decision<'p>>,
    /// By the shadow rules: what would have happened. `None` when there are none.
    pub shadow: Option<Decision<'p>>,
    pub(super) shadow_prefix: &'p str,
}

/// Under this name filters of this kind note what they decided.
const NAMESPACE: &str = "envoy.filters.http.rbac";
/// What several filters share.
const COMMON: &str = "envoy.common";

impl<'p> Outcome<'p> {
    /// Whether the request goes on.
    pub fn allowed(&self) -> bool {
        self.enforced.is_none_or(|decision| decision.allowed)
    }

    /// The decision that ends the request.
    pub fn denial(&self) -> Option<Decision<'p>> {
        self.enforced.filter(|decision| !decision.allowed)
    }

    /// Notes the decisions as Envoy does: below `envoy.filters.http.rbac` what the shadow and the
    /// enforced rules say and by which policy, and below `envoy.common` the `access_log_hint`.
    pub fn note(&self, metadata: &mut Metadata) {
        let prefix = self.shadow_prefix;
        for (prefix, kind, decision) in
            [(prefix, "shadow", self.shadow), ("", "enforced", self.enforced)]
        {
            let Some(decision) = decision else { continue };
            let result = if decision.allowed { "allowed" } else { "denied" };
            let fields = below(metadata, NAMESPACE);
            let name = |field: &str| Name::from(format!("{prefix}{kind}_{field}"));
            fields.insert(name("engine_result"), Value::String(result.into()));
            if let Some(policy) = decision.policy {
                fields.insert(name("effective_policy_id"), Value::String(policy.clone()));
            }
        }
        if let Some(log) = self.enforced.and_then(|decision| decision.log) {
            below(metadata, COMMON).insert("access_log_hint".into(), Value::Bool(log));
        }
    }
}

fn below<'m>(metadata: &'m mut Metadata, name: &str) -> &'m mut Struct {
    metadata.fields.entry(name.into()).or_default()
}

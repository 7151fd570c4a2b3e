//! Role based access control: who may do what, as configured. Deciding is in [`crate::authz`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{CidrRange, HeaderMatcher, MetadataMatcher, Name, StringMatcher, UriTemplate};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Rbac {
    /// `rules` or `matcher`: what is enforced; `None` for nothing.
    pub rules: Option<RbacRules>,
    /// `shadow_rules` or `shadow_matcher`: what is decided and told, and not enforced.
    pub shadow_rules: Option<RbacRules>,
    /// `shadow_rules_stat_prefix`: goes before the names of what the shadow rules tell.
    pub shadow_prefix: Name,
}

impl Rbac {
    /// Those rules, enforced, and no shadow rules.
    pub fn new(rules: RbacRules) -> Self {
        Self { rules: Some(rules), ..Self::default() }
    }
}

/// What decides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RbacRules {
    /// `envoy.config.rbac.v3.RBAC`: the first policy that matches, in the order of their names,
    /// decides with the others on one action.
    Policies {
        /// What a match means.
        action: RbacAction,
        /// The policies.
        policies: BTreeMap<Name, RbacPolicy>,
    },
    /// `xds.type.matcher.v3.Matcher`: the first match decides with its own action. Without a match
    /// a request is denied.
    Matches(Vec<RbacMatch>),
}

impl RbacRules {
    /// Policies by name with one action.
    pub fn new<N: Into<Name>>(
        action: RbacAction,
        policies: impl IntoIterator<Item = (N, RbacPolicy)>,
    ) -> Self {
        let policies = policies.into_iter().map(|(name, policy)| (name.into(), policy));
        Self::Policies { action, policies: policies.collect() }
    }
}

/// `envoy.config.rbac.v3.RBAC.Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RbacAction {
    /// What matches is allowed, all else denied.
    Allow,
    /// What matches is denied, all else allowed.
    Deny,
    /// All is allowed; what matches shall be logged.
    Log,
}

/// `envoy.config.rbac.v3.Policy`: one of the permissions and one of the principals must match.
#[derive(Clone, Debug)]
pub struct RbacPolicy {
    /// What is done. Without one, nothing matches.
    pub permissions: Vec<Rule>,
    /// Who does it. Without one, nobody matches.
    pub principals: Vec<Rule>,
}

/// One step of a flattened matching tree: a rule and what it means when it holds.
#[derive(Clone, Debug)]
pub struct RbacMatch {
    /// What must hold.
    pub rule: Rule,
    /// `envoy.config.rbac.v3.Action.name`: the policy's name.
    pub name: Name,
    /// What a match means: of this request alone.
    pub action: RbacAction,
}

/// `envoy.config.rbac.v3.Permission` or `Principal`.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `any`.
    Any,
    /// `and_rules`, `and_ids`: all hold.
    And(Vec<Rule>),
    /// `or_rules`, `or_ids`: one holds.
    Or(Vec<Rule>),
    /// `not_rule`, `not_id`: it does not hold.
    Not(Box<Rule>),
    /// One fact of the request.
    Is(Condition),
}

/// A fact that rules ask for. What is not known of a request does not hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Condition {
    /// `header`. In the HTTP dialect one of a repeated header's values must match, in gRPC all of
    /// them joined with commas (gRFC A41).
    Header(HeaderMatcher),
    /// `HttpRequestHeaderMatchInput` of a matching tree: all values of a header, joined.
    JoinedHeader(HeaderMatcher),
    /// `url_path`: the path without query and fragment.
    UrlPath(StringMatcher),
    /// `uri_template`: the path without query and fragment.
    UriTemplate(UriTemplate),
    /// `destination_ip`: the address the connection was accepted on.
    DestinationIp(CidrRange),
    /// `destination_port`, `destination_port_range`.
    DestinationPort(RangeInclusive<u16>),
    /// `requested_server_name`: what the client asked for in TLS (SNI), empty when nothing.
    RequestedServerName(StringMatcher),
    /// `metadata`, `sourced_metadata` of source `DYNAMIC`.
    Metadata(MetadataMatcher),
    /// `sourced_metadata` of source `ROUTE`: what the request's route says of itself.
    RouteMetadata(MetadataMatcher),
    /// Of a matching tree: a text that the connection tells. What it has none of matches nothing.
    Connection(ConnectionInput, StringMatcher),
    /// `authenticated`: a TLS connection, and a name of its certificate if one is asked for.
    Authenticated(Option<StringMatcher>),
    /// `envoy.extensions.rbac.principals.mtls_authenticated.v3.Config`: a certificate that was
    /// verified, and a name in it if one is asked for.
    MtlsAuthenticated(Option<SanMatcher>),
    /// `direct_remote_ip` and `source_ip`: the peer of the connection.
    DirectRemoteIp(CidrRange),
    /// `remote_ip`: the client as far as it is trusted.
    RemoteIp(CidrRange),
    /// `filter_state`: a text that earlier filters or the application keep under that key.
    FilterState {
        /// The key.
        key: Name,
        /// What the text must be.
        value: StringMatcher,
    },
    /// `filter_state` with `address_match`: the text is an address of one of these ranges.
    FilterStateAddress {
        /// The key.
        key: Name,
        /// The ranges.
        ranges: Vec<CidrRange>,
        /// `invert_match`: the address is of none of them.
        invert: bool,
    },
}

/// What a matching tree asks of a connection: `envoy.extensions.matching.common_inputs.network.v3`
/// and `…ssl.v3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionInput {
    /// `DestinationIPInput`: the address the connection was accepted on, without its port.
    DestinationIp,
    /// `DestinationPortInput`: that port, in decimal digits.
    DestinationPort,
    /// `SourceIPInput`: the client as far as it is trusted.
    SourceIp,
    /// `SourcePortInput`: its port.
    SourcePort,
    /// `DirectSourceIPInput`: the peer of the connection.
    DirectSourceIp,
    /// `ServerNameInput`: what the client asked for in TLS (SNI).
    ServerName,
    /// `UriSanInput`: the URI names of the peer's certificate, joined by commas.
    UriSan,
    /// `DnsSanInput`: its DNS names, joined by commas.
    DnsSan,
    /// `SubjectInput`: its subject as RFC 2253 text.
    Subject,
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SanMatcher {
    /// A URI.
    Uri(StringMatcher),
    /// A DNS name. An exact one also meets a certificate's wildcard for its first label.
    Dns(StringMatcher),
}

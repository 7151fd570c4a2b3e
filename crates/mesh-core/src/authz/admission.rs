use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use super::Authorizer;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::Rbac;

/// Who may connect: `envoy.extensions.filters.network.rbac.v3.RBAC` of a filter chain.
///
/// Its rules look at a connection: its addresses, the name asked for and the peer's certificate. What
/// they say of requests is refused where they are decoded; made by code, it finds a `GET` of `/`
/// without headers. Clones count together.
#[derive(Clone, Debug)]
pub struct ConnectionRbac(Arc<Authorizer>);

impl ConnectionRbac {
    /// Compiles rules; `None` when there are none, so that everybody may.
    pub fn new(rules: &Rbac) -> Option<Self> {
        Authorizer::new(rules).map(|authorizer| Self(Arc::new(authorizer)))
    }

    /// Whether a connection may be served. Counts those that may not, and those that shadow rules
    /// would refuse.
    pub fn admits(&self, origin: &Origin) -> bool {
        let (method, uri, headers) = (Method::GET, Uri::from_static("/"), HeaderMap::new());
        let head = Head::new(&method, &uri, &headers).from_origin(origin);
        let outcome = self.0.decide(&head, &origin.metadata, None, Dialect::Http);
        outcome.denial().is_none()
    }

    /// How often a connection was refused, when it came or when its listener changed.
    pub fn denied(&self) -> u64 {
        self.0.denied()
    }

    /// How often the shadow rules would have.
    pub fn shadow_denied(&self) -> u64 {
        self.0.shadow_denied()
    }
}

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::dialect::Dialect;
use crate::head::Head;
use crate::headers::{BodyFormat, Format};
use crate::resilience::{RequestOptions, Timeouts};
use crate::resource::{
    Action, ClusterSpecifier, Forward, HashPolicy, HeaderMutation, HostRewrite, InternalRedirect,
    MetadataMatch, MirrorPolicy, PathRewrite, Redirect, RedirectPath, RetryPolicy, Route,
    RouteConfiguration, RouteLimits, RouteMatch, VirtualHost, WeightedCluster,
};
use crate::route::{
    self, Forwarding, HashContext, Mirror, RuleTarget, header_matches, location, mirrors,
    rewrite_host, rewrite_path,
};

/// The route of requests that must come again over TLS.
pub(super) static TLS_REDIRECT: LazyLock<Route> = LazyLock::new(|| {
    let redirect = Redirect { scheme: Some("https".into()), ..Redirect::new() };
    Route::new(RouteMatch::prefix(""), Action::Redirect(Box::new(redirect)))
});

/// A route that was chosen, with what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct RouteView<'s> {
    /// The listener's name.
    pub listener: &'s str,
    /// The route configuration.
    pub configuration: &'s RouteConfiguration,
    /// The virtual host.
    pub host: &'s VirtualHost,
    /// The route.
    pub route: &'s Route,
    pub(super) target: &'s RuleTarget,
    pub(super) weighted: Option<u32>,
    /// The listener's.
    pub(super) max_stream_duration: Option<Duration>,
}

impl<'s> RouteView<'s> {
    pub(super) fn forward(&self) -> Option<&'s Forward> {
        match &self.route.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    fn weighted(&self) -> Option<&'s WeightedCluster> {
        match (&self.forward()?.cluster, self.weighted) {
            (ClusterSpecifier::Weighted(list), Some(at)) => list.clusters.get(at as usize),
            _ => None,
        }
    }

    /// The weight of the cluster that was chosen, and the sum of all.
    pub(super) fn weight(&self) -> Option<(u32, u64)> {
        let ClusterSpecifier::Weighted(list) = &self.forward()?.cluster else { return None };
        let total = list.clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
        self.weighted().map(|cluster| (cluster.weight, total))
    }

    /// All clusters of a weighted choice with their weights; one that a header names is told by
    /// that.
    pub(super) fn candidates(&self) -> Vec<(String, u32)> {
        let Some(ClusterSpecifier::Weighted(list)) = self.forward().map(|f| &f.cluster) else {
            return Vec::new();
        };
        let one = |cluster: &WeightedCluster| {
            let name = match &cluster.cluster_header {
                Some(header) => format!("the cluster {header:?} names"),
                None => cluster.name.to_string(),
            };
            (name, cluster.weight)
        };
        list.clusters.iter().map(one).collect()
    }

    /// What every request asks of it; `None` when it does not forward.
    pub fn forwarding(&self) -> Option<&'s Forwarding> {
        match self.target {
            RuleTarget::Forward { forwarding, .. } => Some(forwarding),
            RuleTarget::Local => None,
        }
    }

    /// What local rate limits look at.
    pub fn rate_limits(&self) -> RouteLimits<'s> {
        let mut made = RouteLimits::default();
        if let Action::NonForwarding = self.route.action {
            made.host = &self.host.rate_limits;
        }
        if let Some(forward) = self.forward() {
            made.host = &self.host.rate_limits;
            made.route = forward.rate_limits.as_deref().unwrap_or_default();
            made.include_host = forward.include_vh_rate_limits;
        }
        made
    }

    /// The longest time a request may take on this route.
    pub fn timeout(&self, dialect: Dialect) -> Option<Duration> {
        self.forwarding()?.timeout(dialect)
    }

    /// The limits of one request in plain HTTP; `None` on a route that does not forward.
    ///
    /// `options` are what was taken out of `headers`, `policy` is the retry policy with them.
    pub fn timeouts(
        &self,
        policy: Option<&RetryPolicy>,
        headers: &HeaderMap,
        options: Option<&RequestOptions>,
    ) -> Option<Timeouts> {
        let longest = self.max_stream_duration;
        Some(Timeouts::of(self.forward()?, policy, longest, headers, options))
    }

    /// The retry policy: the route's, else the virtual host's.
    pub fn retry_policy(&self) -> Option<&'s RetryPolicy> {
        self.forwarding()?.retry_policy()
    }

    /// The authority that the weighted cluster sends upstream. The route's own rewrite comes after
    /// it, and wins.
    pub fn weighted_host_rewrite(&self) -> Option<&'s HeaderValue> {
        self.weighted()?.host_rewrite.as_ref()
    }

    /// The authority that the route sends upstream; `None` when it leaves it as it is.
    ///
    /// `path_and_query` is the path before it is rewritten.
    pub fn route_host_rewrite(
        &self,
        headers: &HeaderMap,
        path_and_query: &str,
    ) -> Option<HeaderValue> {
        rewrite_host(self.forward()?.host_rewrite.as_ref()?, headers, path_and_query)
    }

    /// The text with commands that the route makes an authority of.
    pub(crate) fn host_format(&self) -> Option<&'s Format> {
        match self.forward()?.host_rewrite.as_ref()? {
            HostRewrite::Format(format) => Some(format),
            _ => None,
        }
    }

    /// The authority to send upstream instead of the request's.
    pub fn host_rewrite(&self, headers: &HeaderMap, path_and_query: &str) -> Option<HeaderValue> {
        let of_route = self.route_host_rewrite(headers, path_and_query);
        of_route.or_else(|| self.weighted_host_rewrite().cloned())
    }

    /// Whether a rewritten authority is told in `x-forwarded-host`.
    pub fn appends_x_forwarded_host(&self) -> bool {
        self.forward().is_some_and(|forward| forward.append_x_forwarded_host)
    }

    /// The path with its query to send upstream; `None` when it stays.
    pub fn path_rewrite(&self, path_and_query: &str) -> Option<String> {
        let rewrite = self.forward()?.path_rewrite.as_ref()?;
        rewrite_path(rewrite, &self.route.matcher, path_and_query)
    }

    /// The text with commands that the route makes a path of.
    pub(crate) fn path_format(&self) -> Option<&'s Format> {
        match self.forward()?.path_rewrite.as_ref()? {
            PathRewrite::Format(format) => Some(format),
            _ => None,
        }
    }

    /// The text with commands that a redirect makes a path of.
    pub(crate) fn redirect_format(&self) -> Option<&'s Format> {
        match &self.route.action {
            Action::Redirect(redirect) => match &redirect.path {
                RedirectPath::Format(format) => Some(format),
                _ => None,
            },
            _ => None,
        }
    }

    /// How the body of a direct response is written.
    pub(crate) fn body_format(&self) -> Option<&'s BodyFormat> {
        match &self.route.action {
            Action::DirectResponse(response) => response.body_format.as_deref(),
            _ => None,
        }
    }

    /// The status of a request whose cluster does not exist.
    pub fn cluster_not_found_response_code(&self) -> StatusCode {
        let of_route = self.forward().map(|forward| forward.cluster_not_found_response_code);
        of_route.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer of a [`Decision::Respond`](super::Decision::Respond) that is not a redirect.
    pub fn direct_response(&self) -> Option<(StatusCode, &'s Bytes)> {
        match &self.route.action {
            Action::DirectResponse(response) => Some((response.status, &response.body)),
            _ => None,
        }
    }

    /// The status and the `location` of a [`Decision::Respond`](super::Decision::Respond) that is a
    /// redirect. `made` is what a path with commands became, empty where there is none.
    pub fn redirect(&self, head: &Head<'_>, made: &str) -> Option<(StatusCode, String)> {
        match &self.route.action {
            Action::Redirect(redirect) => {
                let location = if self.is_tls_redirect() {
                    // The port stays, as in Envoy, although the scheme has another.
                    format!("https://{}{}", head.host(), head.path_and_query)
                } else {
                    location(redirect, &self.route.matcher, head, made)
                };
                Some((redirect.response_code, location))
            }
            _ => None,
        }
    }

    /// Whether this stands for the redirect that the virtual host asks for before any of its
    /// routes. It changes no headers.
    pub fn is_tls_redirect(&self) -> bool {
        std::ptr::eq(self.route, &*TLS_REDIRECT)
    }

    /// Where copies go: the route's policies, else the virtual host's, else the configuration's.
    pub fn mirror_policies(&self) -> &'s [MirrorPolicy] {
        let of_route = self.forward().map_or(&[][..], |f| &f.request_mirror_policies);
        let of_host = &self.host.request_mirror_policies[..];
        let levels = [of_route, of_host, &self.configuration.request_mirror_policies];
        levels.into_iter().find(|policies| !policies.is_empty()).unwrap_or_default()
    }

    /// The copies of this request that are sent. `random` is the number its route was chosen with.
    pub fn mirrors<'h>(&self, head: &Head<'h>, random: u64) -> impl Iterator<Item = Mirror<'h>>
    where
        's: 'h,
    {
        mirrors(self.mirror_policies(), head, random)
    }

    /// What consistent hashing looks at.
    pub fn hash_policies(&self) -> &'s [HashPolicy] {
        self.forward().map_or(&[], |forward| &forward.hash_policy)
    }

    /// Which redirects of the upstream are followed here.
    pub fn internal_redirect(&self) -> Option<&'s InternalRedirect> {
        self.forward()?.internal_redirect.as_deref()
    }

    /// What is asked of an endpoint: by the weighted cluster that was chosen, else by the route.
    pub fn metadata_match(&self) -> Option<&'s MetadataMatch> {
        let own = self.weighted().and_then(|cluster| cluster.metadata_match.as_deref());
        own.or_else(|| self.forward()?.metadata_match.as_deref())
    }

    /// The request's hash; see [`route::hash`](crate::route::hash()).
    pub fn hash(
        &self,
        head: &Head<'_>,
        context: &HashContext,
        set_cookie: impl FnMut(HeaderValue),
    ) -> Option<u64> {
        route::hash(self.hash_policies(), head, context, set_cookie)
    }

    /// The virtual cluster: the first of the host's whose headers all match, else `other` if it has
    /// any at all.
    pub fn virtual_cluster(&self, head: &Head<'_>, dialect: Dialect) -> Option<&'s str> {
        let clusters = &self.host.virtual_clusters;
        let found = clusters.iter().find(|cluster| {
            cluster.headers.iter().all(|header| header_matches(header, head, dialect))
        });
        found.map(|cluster| &*cluster.name).or((!clusters.is_empty()).then_some("other"))
    }

    /// The changes of request headers of all levels, in the order they are made: weighted cluster
    /// (always the first place), route, virtual host, route configuration, so that the last one
    /// wins where they overwrite (Envoy); the last three the other way round where the
    /// configuration says so.
    pub fn request_headers(&self) -> [Option<&'s HeaderMutation>; 4] {
        let weighted = self.weighted().map(|cluster| &cluster.request_headers);
        let route = self.route.request_headers.as_deref();
        let (host, configuration) = (self.host, self.configuration);
        self.ordered([
            weighted,
            route,
            Some(&host.request_headers),
            Some(&configuration.request_headers),
        ])
    }

    /// The changes of response headers, in the same order.
    pub fn response_headers(&self) -> [Option<&'s HeaderMutation>; 4] {
        let weighted = self.weighted().map(|cluster| &cluster.response_headers);
        let route = self.route.response_headers.as_deref();
        let (host, configuration) = (self.host, self.configuration);
        self.ordered([
            weighted,
            route,
            Some(&host.response_headers),
            Some(&configuration.response_headers),
        ])
    }

    /// Whether anything is made of requests or responses on this route.
    pub fn changes_messages(&self) -> bool {
        self.host.include_request_attempt_count
            || self.request_headers().into_iter().flatten().any(|level| !level.is_empty())
            || self.changes_response()
    }

    /// Whether anything is made of responses on this route.
    pub fn changes_response(&self) -> bool {
        self.host.include_attempt_count_in_response
            || self.response_headers().into_iter().flatten().any(|level| !level.is_empty())
    }

    fn ordered(
        &self,
        mut levels: [Option<&'s HeaderMutation>; 4],
    ) -> [Option<&'s HeaderMutation>; 4] {
        if self.is_tls_redirect() {
            return [None; 4];
        }
        if self.configuration.most_specific_header_mutations_wins {
            levels[1..].reverse();
        }
        levels
    }

    /// Whether headers of requests or responses are changed at any level.
    pub fn changes_headers(&self) -> bool {
        self.forwarding().is_some_and(Forwarding::changes_headers)
    }
}

//! Local rate limits: buckets of tokens, and what of a request chooses among them.
//!
//! Buckets are part of the configuration that asks for them, so that all who share it share the
//! tokens, and a changed configuration begins with full ones, as in Envoy.

mod action;
mod bucket;
mod dynamic;
#[cfg(test)]
mod tests;

pub use action::{Entry as DescriptorEntry, RateLimit, RateLimitAction};
pub use bucket::TokenBucket;
pub use dynamic::DynamicBuckets;

use http::StatusCode;

use super::{FractionalPercent, HeaderMutation, Name};

/// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
#[derive(Debug)]
#[non_exhaustive]
pub struct LocalRateLimit {
    /// The status of a refused request: 429 when unset or below 400.
    pub status: StatusCode,
    /// The bucket of requests without a descriptor; `None` for no limit.
    pub token_bucket: Option<TokenBucket>,
    /// Buckets of requests with these descriptors.
    pub descriptors: Vec<LimitDescriptor>,
    /// The share of requests that are counted: none when unset.
    pub filter_enabled: FractionalPercent,
    /// The share of requests over the limit that are refused: none when unset.
    pub filter_enforced: FractionalPercent,
    /// Changes of a refusal's headers.
    pub response_headers_to_add: HeaderMutation,
    /// Changes of a request's headers that is over the limit and goes on.
    pub request_headers_to_add_when_not_enforced: HeaderMutation,
    /// Whether responses tell the limit in `x-ratelimit-…` headers.
    pub x_ratelimit_headers: bool,
    /// Whether requests with a descriptor take a token of `token_bucket` too: true when unset.
    pub always_consume_default_token_bucket: bool,
    /// Whether gRPC callers see RESOURCE_EXHAUSTED instead of UNAVAILABLE.
    pub rate_limited_as_resource_exhausted: bool,
    /// What of a request makes its descriptors; when empty, what its route says does.
    pub rate_limits: Vec<RateLimit>,
    /// Which of those of routes count.
    pub stage: u32,
    /// Whether those of the virtual host count beside the route's.
    pub vh_rate_limits: VhRateLimits,
}

/// `envoy.extensions.common.ratelimit.v3.VhRateLimitsOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VhRateLimits {
    /// Only where the route has none.
    #[default]
    Override,
    /// They do.
    Include,
    /// They do not.
    Ignore,
}

/// The rate limits of a request's route and of what surrounds it.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RouteLimits<'a> {
    /// The route's.
    pub route: &'a [RateLimit],
    /// The virtual host's.
    pub host: &'a [RateLimit],
    /// Whether the route asks for both (`include_vh_rate_limits`).
    pub include_host: bool,
}

impl<'a> RouteLimits<'a> {
    /// Those that count for a filter, in order.
    pub fn of(&self, filter: &'a LocalRateLimit) -> impl Iterator<Item = &'a RateLimit> {
        let own = !filter.rate_limits.is_empty();
        let host = match filter.vh_rate_limits {
            _ if self.include_host => self.host,
            VhRateLimits::Include => self.host,
            VhRateLimits::Override if self.route.is_empty() => self.host,
            VhRateLimits::Override | VhRateLimits::Ignore => &[],
        };
        let (first, second) =
            if own { (&filter.rate_limits[..], &[][..]) } else { (self.route, host) };
        let stage = filter.stage;
        let all = first.iter().chain(second);
        all.filter(move |limit| own || (limit.stage == stage && !limit.disabled))
    }
}

impl LocalRateLimit {
    /// A filter that limits nothing.
    pub fn new() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            token_bucket: None,
            descriptors: Vec::new(),
            filter_enabled: FractionalPercent::NONE,
            filter_enforced: FractionalPercent::NONE,
            response_headers_to_add: HeaderMutation::default(),
            request_headers_to_add_when_not_enforced: HeaderMutation::default(),
            x_ratelimit_headers: false,
            always_consume_default_token_bucket: true,
            rate_limited_as_resource_exhausted: false,
            rate_limits: Vec::new(),
            stage: 0,
            vh_rate_limits: VhRateLimits::default(),
        }
    }

    /// Whether it never does anything.
    pub fn is_idle(&self) -> bool {
        self.filter_enabled.numerator == 0
            || (self.token_bucket.is_none() && self.descriptors.is_empty())
    }
}

impl Default for LocalRateLimit {
    fn default() -> Self {
        Self::new()
    }
}

/// `envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor`.
#[derive(Debug)]
pub struct LimitDescriptor {
    /// Keys with their values, in order; an empty value stands for any.
    pub entries: Vec<(Name, Name)>,
    /// Its buckets.
    pub buckets: DescriptorBuckets,
    /// Whether a request over the limit goes on all the same.
    pub shadow_mode: bool,
}

/// The buckets of one descriptor.
#[derive(Debug)]
pub enum DescriptorBuckets {
    /// One, for a descriptor that names all values.
    One(TokenBucket),
    /// One for each set of values that comes along, for a descriptor that leaves some open.
    PerValue(DynamicBuckets),
}

impl LimitDescriptor {
    /// Whether the entries of a request are these.
    pub fn takes(&self, entries: &[DescriptorEntry<'_>]) -> bool {
        self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(|((key, want), entry)| {
                **key == *entry.key && (want.is_empty() || **want == *entry.value)
            })
    }

    /// The bucket of those entries.
    pub fn bucket(&self, entries: &[DescriptorEntry<'_>]) -> &TokenBucket {
        match &self.buckets {
            DescriptorBuckets::One(bucket) => bucket,
            DescriptorBuckets::PerValue(buckets) => buckets.of(entries),
        }
    }
}

//! The local rate limit filter: refuses what there is no token for.

use std::time::{Duration, Instant};

use http::HeaderValue;
use smallvec::SmallVec;

use super::{Context, Request, Response, Verdict};
use crate::draws::Draws;
use crate::exchange::{Reply, ResponseFlags};
use crate::head::Head;
use crate::resource::{DescriptorEntry, LimitDescriptor, LocalRateLimit, TokenBucket};

/// Keeps the draws apart from those of routes and other filters, which come of the same number.
const SALT: u64 = 0x7261_7465_0000_0002;

/// gRPC's RESOURCE_EXHAUSTED.
const RESOURCE_EXHAUSTED: u16 = 8;

pub(super) fn request(
    limit: &LocalRateLimit,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let mut draws = Draws::new(context.random ^ SALT);
    if !limit.filter_enabled.takes(draws.mixed()) || admits(limit, &request.head(), context) {
        return Verdict::Continue;
    }
    if !limit.filter_enforced.takes(draws.mixed()) {
        let added = &limit.request_headers_to_add_when_not_enforced;
        return match added.change_request(request, context) {
            Ok(()) => Verdict::Continue,
            Err(invalid) => Verdict::Reply(Box::new(invalid.reply())),
        };
    }
    let mut reply = Reply::new(limit.status, "local_rate_limited")
        .with_text("local_rate_limited")
        .with_flags(ResponseFlags::RATE_LIMITED);
    let mut response = Response::new(reply.status, &mut reply.headers);
    response.request = Some(request.head());
    limit.response_headers_to_add.change_response(&mut response, context);
    if limit.rate_limited_as_resource_exhausted {
        reply = reply.with_grpc_status(RESOURCE_EXHAUSTED);
    }
    Verdict::Reply(Box::new(reply))
}

/// Takes the tokens of a request; false when one is missing.
fn admits(limit: &LocalRateLimit, head: &Head<'_>, context: &Context<'_>) -> bool {
    let matched = matched(limit, head, context);
    // One that refuses leaves the tokens of those after it alone.
    let admitted = matched.iter().all(|(it, bucket)| bucket.take(context.now) || it.shadow_mode);
    if !admitted || (!matched.is_empty() && !limit.always_consume_default_token_bucket) {
        return admitted;
    }
    limit.token_bucket.as_ref().is_none_or(|bucket| bucket.take(context.now))
}

type Matched<'l> = SmallVec<[(&'l LimitDescriptor, &'l TokenBucket); 4]>;

/// The buckets of a request's descriptors, the one that fills slowest first.
fn matched<'l>(limit: &'l LocalRateLimit, head: &Head<'_>, context: &Context<'_>) -> Matched<'l> {
    let mut made = Matched::new();
    if !limit.descriptors.is_empty() {
        let of_request = context.limits.of(limit);
        for entries in of_request.filter_map(|it| it.entries(head, context.names.cluster)) {
            if let Some(descriptor) = best(&limit.descriptors, &entries) {
                made.push((descriptor, descriptor.bucket(&entries)));
            }
        }
    }
    made.sort_by(|(_, a), (_, b)| a.per_second().total_cmp(&b.per_second()));
    made
}

/// The descriptor that names all values, else the first one that leaves some open.
fn best<'l>(
    descriptors: &'l [LimitDescriptor],
    entries: &[DescriptorEntry<'_>],
) -> Option<&'l LimitDescriptor> {
    let open =
        |descriptor: &LimitDescriptor| descriptor.entries.iter().any(|(_, value)| value.is_empty());
    let taken = || descriptors.iter().filter(|descriptor| descriptor.takes(entries));
    taken().find(|descriptor| !open(descriptor)).or_else(|| taken().next())
}

/// Tells the limit that was looked at first, or the one that refused the request.
pub(super) fn response(limit: &LocalRateLimit, response: &mut Response<'_>, context: &Context<'_>) {
    let mut draws = Draws::new(context.random ^ SALT);
    if !limit.x_ratelimit_headers || !limit.filter_enabled.takes(draws.mixed()) {
        return;
    }
    let refused = response.flags.contains(ResponseFlags::RATE_LIMITED);
    let told = |bucket: &&TokenBucket| !refused || bucket.remaining(context.now) == 0;
    let mut found = None;
    if let Some(head) = &response.request {
        let buckets = matched(limit, head, context);
        found = buckets.iter().map(|(_, bucket)| *bucket).find(told);
    }
    if let Some(bucket) = found.or(limit.token_bucket.as_ref()) {
        tell(bucket, response, context.now);
    }
}

fn tell(bucket: &TokenBucket, response: &mut Response<'_>, now: Instant) {
    let reset = bucket.until_token(now);
    let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > ROUNDING.subsec_nanos());
    let told = [
        ("x-ratelimit-limit", u64::from(bucket.max_tokens())),
        ("x-ratelimit-remaining", u64::from(bucket.remaining(now))),
        ("x-ratelimit-reset", reset),
    ];
    for (name, value) in told {
        response.headers.insert(name, HeaderValue::from(value));
    }
}

/// What sums of doubles may be off by: no second more for that.
const ROUNDING: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests;

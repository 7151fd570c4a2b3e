//! The filter that refuses what is more at once than latencies allow:
//! `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.

use super::{Context, Request, Response, Verdict};
use crate::exchange::Reply;
use crate::resource::AdaptiveConcurrency;

/// What an answer of this filter says of its cause.
const REACHED: &str = "reached_concurrency_limit";

pub(super) fn request(
    filter: &AdaptiveConcurrency,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    match filter.admit(context.now) {
        Some(admitted) => {
            request.held.push(admitted);
            Verdict::Continue
        }
        None => {
            let reply = Reply::new(filter.limit_exceeded_status, REACHED);
            Verdict::Reply(Box::new(reply.with_text("reached concurrency limit")))
        }
    }
}

pub(super) fn response(
    filter: &AdaptiveConcurrency,
    response: &Response<'_>,
    context: &Context<'_>,
) {
    // What was refused here took no time.
    if let (Some(began), true) = (context.began, response.details != REACHED) {
        filter.record(began, context.now, context.random);
    }
}

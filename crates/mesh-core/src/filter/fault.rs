//! The fault filter: delays requests and aborts them.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Context, Request, Verdict};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::exchange::{Reply, ResponseFlags, grpc_status};
use crate::resource::{AbortKind, DelayKind, FractionalPercent, HttpFault};
use crate::route::header_matches;

const DELAY: &str = "x-envoy-fault-delay-request";
const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
const ABORT: &str = "x-envoy-fault-abort-request";
const GRPC_ABORT: &str = "x-envoy-fault-abort-grpc-request";
const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
const DOWNSTREAM_NODE: &str = "x-envoy-downstream-service-node";

/// Keeps the draws apart from those of routes and other filters, which come of the same number.
const SALT: u64 = 0x6661_756c_7400_0001;

/// Delay and abort, each by a draw of its own.
pub(super) fn request(
    fault: &HttpFault,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let room = fault.active.has_room(fault.max_active_faults);
    if !room || !is_meant(fault, request, context) {
        return Verdict::Continue;
    }
    let mut draws = Draws::new(context.random ^ SALT);
    if let Some(after) = delay(fault, request.headers, draws.mixed())
        && let Some(active) = fault.active.begin(fault.max_active_faults)
    {
        return Verdict::Delay { after, next: 0, active: Some(active) };
    }
    let mut verdict = abort(fault, request.headers, context, draws.mixed(), ResponseFlags::NONE);
    // In Envoy an abort is active as long as its stream, beyond the limit if it comes to that; one
    // that follows a delay is the same fault. gRPC counts delays alone (gRFC A33).
    if let (Verdict::Reply(reply), Dialect::Http) = (&mut verdict, context.dialect) {
        reply.fault = fault.active.begin(None).map(Arc::new);
    }
    verdict
}

/// What follows a delay: perhaps an abort.
pub(super) fn after_delay(
    fault: &HttpFault,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let mut draws = Draws::new(context.random ^ SALT);
    draws.mixed();
    abort(fault, request.headers, context, draws.mixed(), ResponseFlags::DELAY_INJECTED)
}

fn is_meant(fault: &HttpFault, request: &Request<'_>, context: &Context<'_>) -> bool {
    let head = request.head();
    if !fault.headers.iter().all(|matcher| header_matches(matcher, &head, context.dialect)) {
        return false;
    }
    // gRFC A33 leaves these two out.
    if context.dialect == Dialect::Grpc {
        return true;
    }
    if fault.upstream_cluster.as_ref().is_some_and(|name| **name != *context.names.cluster) {
        return false;
    }
    let node = || head.headers.get(DOWNSTREAM_NODE).map(|node| node.as_bytes());
    fault.downstream_nodes.is_empty()
        || node().is_some_and(|node| fault.downstream_nodes.iter().any(|n| n.as_bytes() == node))
}

fn delay(fault: &HttpFault, headers: &HeaderMap, random: u64) -> Option<Duration> {
    let delay = fault.delay?;
    let (after, percentage) = match delay.kind {
        DelayKind::Fixed(after) => (after, delay.percentage),
        DelayKind::Header => {
            let millis = number(headers, DELAY)?;
            (Duration::from_millis(millis), lowered(delay.percentage, headers, DELAY_PERCENTAGE))
        }
    };
    (!after.is_zero() && percentage.takes(random)).then_some(after)
}

fn abort(
    fault: &HttpFault,
    headers: &HeaderMap,
    context: &Context<'_>,
    random: u64,
    flags: ResponseFlags,
) -> Verdict {
    let Some(abort) = fault.abort else { return Verdict::Continue };
    let percentage = match abort.kind {
        AbortKind::Header => lowered(abort.percentage, headers, ABORT_PERCENTAGE),
        AbortKind::HttpStatus(_) | AbortKind::GrpcStatus(_) => abort.percentage,
    };
    if !percentage.takes(random) {
        return Verdict::Continue;
    }
    let reply = match abort.kind {
        AbortKind::HttpStatus(status) => with_status(status, context.dialect),
        AbortKind::GrpcStatus(status) => with_grpc_status(status),
        AbortKind::Header => {
            let status = number(headers, ABORT).filter(|status| (200..600).contains(status));
            let status = status.and_then(|status| StatusCode::from_u16(status as u16).ok());
            let grpc = || number(headers, GRPC_ABORT).and_then(|status| u16::try_from(status).ok());
            match (status, grpc()) {
                (Some(status), _) => with_status(status, context.dialect),
                (None, Some(status)) => with_grpc_status(status),
                (None, None) => return Verdict::Continue,
            }
        }
    };
    Verdict::Reply(Box::new(reply.with_flags(flags | ResponseFlags::FAULT_INJECTED)))
}

/// gRPC callers see the status that follows from the HTTP one (gRFC A33).
fn with_status(status: StatusCode, dialect: Dialect) -> Reply {
    let reply = Reply::new(status, "fault_filter_abort").with_text("fault filter abort");
    match dialect {
        Dialect::Http => reply,
        Dialect::Grpc => reply.with_grpc_status(grpc_status(status)),
    }
}

fn with_grpc_status(status: u16) -> Reply {
    Reply::new(StatusCode::OK, "fault_filter_abort")
        .with_text("fault filter abort")
        .with_grpc_status(status)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The configured share, or a smaller one of the same denominator from a header.
fn lowered(configured: FractionalPercent, headers: &HeaderMap, name: &str) -> FractionalPercent {
    let asked = number(headers, name).and_then(|numerator| u32::try_from(numerator).ok());
    let numerator = asked.map_or(configured.numerator, |asked| asked.min(configured.numerator));
    FractionalPercent { numerator, ..configured }
}

#[cfg(test)]
mod tests;

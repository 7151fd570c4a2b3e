//! Changes of answers that are made here, whatever made them.
//!
//! The order is Envoy's (`LocalReplyImpl::rewrite`): the first mapper that takes the answer changes
//! body, headers and status, in this order; then the body is written in its format.

use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::run::is_grpc;
use super::{Reply, grpc_status};
use crate::filter::{Context, Response};
use crate::head::Head;
use crate::headers::{BodyFormat, BodyTemplate, Facts, ResponseFacts};
use crate::resource::{LocalReplyConfig, ReplyFilter, ResponseMapper};
use crate::route::header_matches;

impl LocalReplyConfig {
    /// Changes an answer to a request, whose head is given where it is known.
    pub(super) fn rewrite(
        &self,
        reply: &mut Reply,
        request: Option<Head<'_>>,
        context: &Context<'_>,
    ) {
        let (kind, body) = (reply.headers.get(CONTENT_TYPE).cloned(), reply.body.clone());
        let mapper = self
            .mappers
            .iter()
            .find(|mapper| mapper.filter.holds(reply, request.as_ref(), context));
        if let Some(mapper) = mapper {
            mapper.change(reply, request, context);
        }
        let own = mapper.and_then(|mapper| mapper.body_format_override.as_ref());
        let mut content_type = HeaderValue::from_static("text/plain");
        if let Some(format) = own.or(self.body_format.as_ref()) {
            content_type = write(format, reply, request, context);
            // A message ends without a line of its own.
            let is_grpc = request.is_some_and(|head| is_grpc(head.headers));
            if is_grpc && matches!(format.template, BodyTemplate::Json(_)) {
                reply.body.truncate(reply.body.len().saturating_sub(1));
            }
        }
        // What a mapper says of the type counts.
        let is_told = reply.headers.get(CONTENT_TYPE) != kind.as_ref();
        let is_due = kind.is_none() || reply.body != body;
        if !reply.body.is_empty() && !is_told && is_due {
            reply.headers.insert(CONTENT_TYPE, content_type);
        }
    }
}

/// Writes the body, and says what it is.
fn write(
    format: &BodyFormat,
    reply: &mut Reply,
    request: Option<Head<'_>>,
    context: &Context<'_>,
) -> HeaderValue {
    reply.body = made(format, reply, request, context);
    format.content_type()
}

/// The body of an answer, in a format.
fn made(
    format: &BodyFormat,
    reply: &Reply,
    request: Option<Head<'_>>,
    context: &Context<'_>,
) -> bytes::Bytes {
    let response = ResponseFacts {
        status: Some(reply.status),
        headers: &reply.headers,
        flags: reply.flags,
        details: &reply.details,
        body: &reply.body,
    };
    let version = http::Version::HTTP_11;
    format.write(&Facts { request, version, response: Some(response), context })
}

impl ResponseMapper {
    fn change(&self, reply: &mut Reply, request: Option<Head<'_>>, context: &Context<'_>) {
        if let Some(body) = &self.body {
            reply.body = body.clone();
        }
        if !self.headers_to_add.is_empty() {
            let mut response = Response::new(reply.status, &mut reply.headers);
            (response.flags, response.details) = (reply.flags, &reply.details);
            response.request = request;
            self.headers_to_add.change_response(&mut response, context);
        }
        reply.status = self.status_code.unwrap_or(reply.status);
    }
}

impl ReplyFilter {
    fn holds(&self, reply: &Reply, request: Option<&Head<'_>>, context: &Context<'_>) -> bool {
        match self {
            Self::Constant(always) => *always,
            Self::StatusCode(comparison, value) => {
                comparison.holds(u32::from(reply.status.as_u16()), *value)
            }
            Self::And(all) => all.iter().all(|one| one.holds(reply, request, context)),
            Self::Or(any) => any.iter().any(|one| one.holds(reply, request, context)),
            Self::Header(matcher) => {
                request.is_some_and(|head| header_matches(matcher, head, context.dialect))
            }
            Self::ResponseFlags(any) if any.is_empty() => !reply.flags.is_empty(),
            Self::ResponseFlags(any) => any.iter().any(|flag| reply.flags.contains(*flag)),
            Self::GrpcStatus { statuses, exclude } => {
                let status = reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status));
                statuses.contains(&status) != *exclude
            }
            Self::Share(share) => share.takes(context.random),
            Self::Metadata { matcher, if_missing } => {
                let metadata = request.map(|head| &head.origin.metadata);
                let path = || matcher.path.iter().map(|key| &**key);
                let is_there =
                    metadata.is_some_and(|all| all.get(&matcher.filter, path()).is_some());
                match metadata.filter(|_| is_there) {
                    Some(metadata) => matcher.matches(metadata),
                    None => *if_missing,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

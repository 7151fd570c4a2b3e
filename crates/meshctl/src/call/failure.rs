use std::error::Error as StdError;

use futures_util::FutureExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use mesh_tower::Record;

use crate::answer::{Answer, Failure, Way};
use crate::error::chain;

/// What a failure is called that the mesh has no word for: an answer that broke off.
const BODY: &str = "body";

/// The answer that stands for an error: the status and body that a proxy would have sent.
pub(crate) fn answer(error: &(dyn StdError + 'static), way: Way) -> Answer {
    let failure = Some(failed(error));
    let Some(mesh) = mesh_error(error) else {
        return Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            way,
            failure,
            ..Answer::default()
        };
    };
    let (head, body) = mesh.to_response().into_parts();
    // The body of such an answer is in memory: it is there at once.
    let body = body.collect().now_or_never().and_then(Result::ok);
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Answer { status: head.status, headers: head.headers, body, way, failure, ..Answer::default() }
}

/// An error as scripts and people see it.
pub(crate) fn failed(error: &(dyn StdError + 'static)) -> Failure {
    match mesh_error(error) {
        // What is around it, such as a gRPC status, repeats its text in words of its own.
        Some(error) => Failure { kind: error.kind().as_str().to_owned(), text: chain(error) },
        None => Failure { kind: BODY.to_owned(), text: chain(error) },
    }
}

/// What the mesh says of a request's way.
pub(crate) fn way(record: &Record) -> Way {
    Way {
        route: record.route(),
        cluster: record.cluster(),
        endpoint: record.endpoint(),
        attempts: record.attempts(),
        flags: record.flags(),
        details: record.details(),
    }
}

/// The mesh's own error, wherever in the chain it is.
pub(super) fn mesh_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a mesh_tower::Error> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        link = error.source();
    }
    None
}

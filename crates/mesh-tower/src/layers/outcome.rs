use std::io;

use http::{HeaderMap, Response, StatusCode};
use mesh_core::cluster::outlier::Observed;
use mesh_core::resilience::Outcome;

use crate::body::{BodyError, BoxError};
use crate::error::{Error, ErrorKind};

/// What an error of any client counts as.
pub(crate) fn of_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Outcome {
    let mut link: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<Error>() {
            return of_own(error.kind());
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Outcome::ConnectFailure;
        }
        // While a response is awaited it is the request's body that fails with one of ours.
        if error.is::<BodyError>() {
            return Outcome::Local;
        }
        link = error.source();
    }
    Outcome::Reset { sent: true }
}

fn of_own(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::Connect => Outcome::ConnectFailure,
        ErrorKind::Reset => Outcome::Reset { sent: true },
        ErrorKind::Overloaded => Outcome::Dropped,
        ErrorKind::Deadline => Outcome::PerTryTimeout,
        _ => Outcome::Local,
    }
}

/// What an attempt tells outlier detection; nothing, where it says nothing of the endpoint.
pub(super) fn observed<B>(result: &Result<Response<B>, BoxError>) -> Option<Observed> {
    match result {
        Ok(response) => Some(of_answer(response.status(), response.headers())),
        Err(error) => Observed::of(of_error(&**error)),
    }
}

fn of_answer(status: StatusCode, headers: &HeaderMap) -> Observed {
    let grpc = headers.get("grpc-status").filter(|_| Outcome::states_grpc(headers));
    match grpc.and_then(|status| status.to_str().ok()?.parse().ok()) {
        Some(status) => Observed::Call { status },
        None => Observed::Status(status),
    }
}

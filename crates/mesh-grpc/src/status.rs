use http::{Response, StatusCode, header};
use mesh_tower::{BoxError, Error, ErrorKind};
use tonic::{Code, Status};

/// The status of a request that failed on the way: gRFC A54's rule that configuration and
/// connectivity are UNAVAILABLE, DEADLINE_EXCEEDED when the time was over, and the status of the
/// HTTP/2 error code when the server reset the stream. The message is the error's text with its
/// chain of reasons.
pub fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Deadline => Code::DeadlineExceeded,
        ErrorKind::Config => Code::FailedPrecondition,
        ErrorKind::Reset => error.http2_code().map_or(Code::Unavailable, of_reset),
        _ => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

/// The status of an answer that is not gRPC's, as a proxy or a route's direct response gives it
/// (gRPC's `http-grpc-status-mapping.md`). Its body is text: to read it as messages would hide
/// that the service is unavailable behind a protocol error.
pub(crate) fn of_answer<B>(answer: &Response<B>) -> Option<Status> {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if answer.status() == StatusCode::OK || is_grpc || answer.headers().contains_key(GRPC_STATUS) {
        return None;
    }
    let code = match answer.status().as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Some(Status::new(code, format!("answered without a grpc status: http {}", answer.status())))
}

const GRPC_STATUS: &str = "grpc-status";

/// The status of a response body that broke.
pub(crate) fn of_body_error(error: BoxError) -> Status {
    match error.downcast::<Error>() {
        Ok(error) => status(&error),
        Err(error) => {
            let body = error.downcast_ref::<mesh_tower::body::BodyError>();
            let code = body.and_then(|body| body.http2_code()).map_or(Code::Unavailable, of_reset);
            Status::new(code, error.to_string())
        }
    }
}

/// The status for an HTTP/2 error code (gRPC over HTTP/2, "Errors").
fn of_reset(code: u32) -> Code {
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    const ENHANCE_YOUR_CALM: u32 = 11;
    const INADEQUATE_SECURITY: u32 = 12;
    match code {
        REFUSED_STREAM => Code::Unavailable,
        CANCEL => Code::Cancelled,
        ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_http_statuses_of_answers_that_are_not_grpc() {
        let table = [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (500, Code::Unknown),
            (503, Code::Unavailable),
        ];
        for (http, code) in table {
            let answer = Response::builder().status(http).body(()).unwrap();
            assert_eq!(of_answer(&answer).unwrap().code(), code, "HTTP status {http}");
        }
    }

    #[test]
    fn leaves_answers_of_grpc_alone() {
        let answer = |http: u16, name: &str, value: &str| {
            let answer = Response::builder().status(http).header(name, value);
            of_answer(&answer.body(()).unwrap())
        };
        assert!(answer(200, "content-type", "text/plain").is_none());
        assert!(answer(503, "content-type", "application/grpc+proto").is_none());
        assert!(answer(503, "grpc-status", "14").is_none());
        assert!(answer(503, "content-type", "text/plain").is_some());
    }

    #[test]
    fn maps_http2_error_codes_as_grpc_says() {
        let table = [
            (0, Code::Internal),
            (2, Code::Internal),
            (7, Code::Unavailable),
            (8, Code::Cancelled),
            (11, Code::ResourceExhausted),
            (12, Code::PermissionDenied),
        ];
        for (reset, code) in table {
            assert_eq!(of_reset(reset), code, "HTTP/2 code {reset}");
        }
    }
}

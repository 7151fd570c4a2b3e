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

//! How the HTTP examples ask, whatever client the mesh is around.

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_tower::BoxError;
use tower::{Service, ServiceExt as _};

/// Asks for that user: the status, and the text of the answer.
pub(crate) async fn ask<S, B>(client: &S, user: &str) -> Result<(StatusCode, String), BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let request = Request::get("http://reviews:9080/").header("end-user", user);
    let answer = client.clone().oneshot(request.body(Empty::new())?).await.map_err(Into::into)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok((head.status, String::from_utf8(body.to_vec())?))
}

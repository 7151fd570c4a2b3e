//! reqwest under the mesh's decisions: one `reqwest::Client` per endpoint.
//!
//! It ends by itself, with an error when an answer is not what the rules say.

mod asking;
mod reviews;

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyDataStream;
use mesh_tower::client::Endpoint;
use mesh_tower::{Body, BoxError, ClientLayer};
use tower::service_fn;

use asking::ask;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let test = reviews::mesh().await;
    let client = ClientLayer::new(test.mesh(), "reviews:9080")?.layer(|endpoint: &Endpoint| {
        // The request's host leads to this endpoint, and stays what the server is told.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve("reviews", endpoint.address())
            .build()
            .expect("it needs nothing that could be missing");
        // An endpoint's own port counts, and not that of its service.
        let port = endpoint.address().port();
        service_fn(move |request| send(client.clone(), port, request))
    });
    let expected = |version| (StatusCode::OK, format!("{version} HTTP/1.1 reviews:9080"));
    assert_eq!(ask(&client, "jason").await?, expected("v2"));
    assert_eq!(ask(&client, "anna").await?, expected("v1"));
    test.endpoints("reviews:9080")[0].kill().await;
    for _ in 0..20 {
        assert_eq!(ask(&client, "anna").await?, expected("v1"));
    }
    println!("reqwest: routed by header, and no request lost with an endpoint");
    Ok(())
}

type Sent = Pin<Box<dyn Future<Output = reqwest::Result<Response<reqwest::Body>>> + Send>>;

fn send(client: reqwest::Client, port: u16, request: Request<Body>) -> Sent {
    Box::pin(async move {
        let (mut head, body) = request.into_parts();
        let body = match body.is_end_stream() {
            true => reqwest::Body::default(),
            false => reqwest::Body::wrap_stream(BodyDataStream::new(body)),
        };
        let host = head.uri.authority().expect("a request of the mesh has one").to_string();
        head.headers.insert("host", host.parse().expect("what was an authority is a header"));
        let mut request = reqwest::Request::try_from(Request::from_parts(head, body))?;
        request.url_mut().set_port(Some(port)).expect("a URL with a host has room for a port");
        Ok(client.execute(request).await?.into())
    })
}

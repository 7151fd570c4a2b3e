//! hyper-util's own client under the mesh's decisions, on HTTP/1.1 and on HTTP/2.
//!
//! One client per endpoint: its pool then holds connections to that endpoint alone. The authority
//! on the wire is the request's, not the endpoint's. It ends by itself, with an error when an
//! answer is not what the rules say.

mod asking;
mod reviews;

use std::io;
use std::net::SocketAddr;

use http::StatusCode;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_tower::client::Endpoint;
use mesh_tower::{Body, BoxError, ClientLayer};
use tokio::net::TcpStream;
use tower::service_fn;

use asking::ask;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let test = reviews::mesh().await;
    for (is_http2, protocol) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
        let layer = ClientLayer::new(test.mesh(), "reviews:9080")?;
        let client = layer.layer(move |endpoint: &Endpoint| {
            // Whatever the request's authority is: this client's connections lead to its endpoint.
            let address = endpoint.address();
            let connector = service_fn(move |_: http::Uri| Box::pin(connect(address)));
            legacy::Client::builder(TokioExecutor::new())
                .http2_only(is_http2)
                .build::<_, Body>(connector)
        });
        let expected = |version| (StatusCode::OK, format!("{version} {protocol} reviews:9080"));
        assert_eq!(ask(&client, "jason").await?, expected("v2"));
        assert_eq!(ask(&client, "anna").await?, expected("v1"));
        // Half of these would meet the endpoint that is gone, and go to the other one instead.
        test.endpoints("reviews:9080")[0].kill().await;
        for _ in 0..20 {
            assert_eq!(ask(&client, "anna").await?, expected("v1"));
        }
        test.endpoints("reviews:9080")[0].heal().await;
        println!("{protocol}: routed by header, and no request lost with an endpoint");
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> io::Result<TokioIo<TcpStream>> {
    Ok(TokioIo::new(TcpStream::connect(address).await?))
}

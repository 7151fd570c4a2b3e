//! A server in a thread of its own, which answers with as many bytes as it got.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::Version;

/// Starts it; it ends with the program.
pub(crate) fn start(version: Version) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.set_nonblocking(true).expect("a socket can be told so");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(serve(listener, version));
    });
    address
}

async fn serve(listener: std::net::TcpListener, version: Version) {
    let listener = TcpListener::from_std(listener).expect("in a runtime");
    while let Ok((stream, _)) = listener.accept().await {
        // Without it answers only come later.
        let _set = stream.set_nodelay(true);
        let (stream, service) = (TokioIo::new(stream), service_fn(echo));
        // How a connection ends is the client's to notice.
        tokio::spawn(async move {
            let _ended = match version {
                Version::Http1 => http1::Builder::new().serve_connection(stream, service).await,
                Version::Http2 => {
                    let builder = http2::Builder::new(TokioExecutor::new());
                    builder.serve_connection(stream, service).await
                }
            };
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes());
    Ok(Response::new(Full::new(body.unwrap_or_default())))
}

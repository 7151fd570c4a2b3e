//! The gRPC side: `mesh.echo.v1.Echo` and server reflection.

use std::convert::Infallible;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status, Streaming};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use super::steering::{Invalid, Steering};
use super::{Connection, Settings, plain};
use crate::proto::echo_server::{self, EchoServer};
use crate::proto::{EchoReply, EchoRequest, FILE_DESCRIPTOR_SET, Header, Peer};

/// Replies one call of `ServerStream` may ask for, as the protocol file promises.
const MAX_REPLIES: u32 = 1_000;

/// Largest padding of a reply, which is held in memory: four times the size that gRPC accepts by
/// default, so that this limit can be tested.
const MAX_PADDING_BYTES: u64 = 16 << 20;

/// Messages buffered for reflection live only as long as the call, so no limit is ours to set.
type Reflection = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Everything gRPC calls may reach.
#[derive(Clone, Debug)]
pub(super) struct Services {
    echo: EchoServer<Replies>,
    reflection: Reflection,
    reflection_v1alpha: Reflection,
}

impl Services {
    pub(super) fn new(settings: &Settings) -> Self {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        };
        const VALID: &str = "the committed descriptors are valid";
        Self {
            echo: EchoServer::new(Replies {
                name: settings.name.clone(),
                version: settings.version.clone().unwrap_or_default(),
            }),
            reflection: BoxCloneSyncService::new(builder().build_v1().expect(VALID)),
            reflection_v1alpha: BoxCloneSyncService::new(builder().build_v1alpha().expect(VALID)),
        }
    }

    pub(super) async fn call(
        &self,
        mut request: Request<Body>,
        steering: &Steering,
    ) -> Response<Body> {
        let seen = match Seen::new(&request, steering) {
            Ok(seen) => seen,
            Err(invalid) => return refuse(&invalid),
        };
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let answer = match service {
            "mesh.echo.v1.Echo" => {
                request.extensions_mut().insert(seen);
                self.echo.clone().oneshot(request).await
            }
            "grpc.reflection.v1.ServerReflection" => self.reflection.clone().oneshot(request).await,
            "grpc.reflection.v1alpha.ServerReflection" => {
                self.reflection_v1alpha.clone().oneshot(request).await
            }
            unknown => {
                let text = format!("unknown service {unknown}");
                Ok(Status::unimplemented(text).into_http())
            }
        };
        answer.unwrap_or_else(|never| match never {})
    }
}

/// Whether the request speaks gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to a steering header that cannot be read.
pub(super) fn refuse(invalid: &Invalid) -> Response<Body> {
    Status::invalid_argument(invalid.to_string()).into_http()
}

/// What of a call the service itself would not see: its head, and how it is steered.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    authority: String,
    headers: Vec<Header>,
    peer: Option<Peer>,
    status: Option<Code>,
    padding_bytes: usize,
}

impl Seen {
    fn new(request: &Request<Body>, steering: &Steering) -> Result<Self, Invalid> {
        let padding_bytes = steering.body_bytes.unwrap_or(0);
        if padding_bytes > MAX_PADDING_BYTES {
            return Err(Invalid("x-echo-body-bytes"));
        }
        let headers = plain::headers(request.headers()).into_iter();
        let peer = Connection::peer(request.extensions());
        Ok(Self {
            path: request.uri().path().to_owned(),
            authority: plain::authority(request.uri(), request.headers()).unwrap_or_default(),
            headers: headers.map(|(name, value)| Header { name, value }).collect(),
            peer: peer
                .map(|address| Peer { address: address.to_string(), spiffe_id: String::new() }),
            status: steering.grpc_status.map(|code| Code::from(i32::from(code))),
            padding_bytes: padding_bytes as usize,
        })
    }

    /// The status the call was told to end with, unless that is OK.
    fn failure(&self) -> Option<Status> {
        let code = self.status.filter(|code| *code != Code::Ok)?;
        Some(Status::new(code, "as x-echo-grpc-status asked"))
    }
}

/// The service's implementation.
#[derive(Clone, Debug)]
struct Replies {
    name: String,
    version: String,
}

impl Replies {
    fn reply(&self, seen: &Seen, request: EchoRequest, index: u32, received: u32) -> EchoReply {
        EchoReply {
            name: self.name.clone(),
            version: self.version.clone(),
            message: request.message,
            index,
            received,
            path: seen.path.clone(),
            authority: seen.authority.clone(),
            headers: seen.headers.clone(),
            peer: seen.peer.clone(),
            padding: vec![b' '; seen.padding_bytes],
        }
    }
}

type ReplyStream = Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

#[tonic::async_trait]
impl echo_server::Echo for Replies {
    async fn unary(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<EchoReply>, Status> {
        let (seen, request) = split(request)?;
        match seen.failure() {
            Some(status) => Err(status),
            None => Ok(self.reply(&seen, request, 0, 1).into()),
        }
    }

    type ServerStreamStream = ReplyStream;

    async fn server_stream(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<ReplyStream>, Status> {
        let (seen, request) = split(request)?;
        let count = request.count.max(1);
        if count > MAX_REPLIES {
            return Err(Status::invalid_argument(format!("count is over {MAX_REPLIES}")));
        }
        let end = stream::iter(seen.failure().map(Err));
        let service = self.clone();
        let replies = (0..count).map(move |i| Ok(service.reply(&seen, request.clone(), i, 1)));
        Ok(tonic::Response::new(stream::iter(replies).chain(end).boxed()))
    }

    async fn client_stream(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<EchoReply>, Status> {
        let (seen, mut requests) = split(request)?;
        let mut last = EchoRequest::default();
        let mut received = 0;
        while let Some(request) = requests.message().await? {
            last = request;
            received += 1;
        }
        match seen.failure() {
            Some(status) => Err(status),
            None => Ok(self.reply(&seen, last, 0, received).into()),
        }
    }

    type BidiStream = ReplyStream;

    async fn bidi(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<ReplyStream>, Status> {
        let (seen, requests) = split(request)?;
        let end = stream::iter(seen.failure().map(Err));
        let service = self.clone();
        let replies = requests.enumerate().map(move |(index, request)| {
            let index = index as u32;
            Ok(service.reply(&seen, request?, index, index + 1))
        });
        Ok(tonic::Response::new(replies.chain(end).boxed()))
    }
}

fn split<T>(request: tonic::Request<T>) -> Result<(Seen, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let seen = extensions.remove().ok_or_else(|| Status::internal("the call has no head"))?;
    Ok((seen, message))
}

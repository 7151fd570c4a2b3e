//! Runs the built binary and talks to it.

use std::net::SocketAddr;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// Far more than anything here takes; reached only when something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The binary, with nothing of this process' mesh in its environment.
pub(crate) fn meshctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
    command
        .args(arguments)
        .env_remove("GRPC_XDS_BOOTSTRAP")
        .env_remove("GRPC_XDS_BOOTSTRAP_CONFIG")
        .env_remove("MESH")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    output(meshctl(arguments)).await
}

/// Runs a prepared command to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    tokio::time::timeout(DEADLINE, command.output()).await.expect("the command hangs").unwrap()
}

/// Each line of standard output as JSON.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server that printed its ready line. Killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) ready: Value,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::spawn(meshctl(arguments)).await
    }

    pub(crate) async fn spawn(command: Command) -> Self {
        let server = Self::spawn_any(command).await;
        assert_eq!(server.ready["ready"], true);
        server
    }

    /// A command whose first line of JSON says that it is under way.
    pub(crate) async fn spawn_any(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, stdout.next_line())
            .await
            .expect("no ready line in time")
            .unwrap()
            .expect("the server ended before it was ready");
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { child, ready, stdout }
    }

    /// An address of the ready line.
    pub(crate) fn address(&self, field: &str) -> SocketAddr {
        self.ready[field].as_str().unwrap().parse().unwrap()
    }

    /// Sends a signal, named as `kill` takes it.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("the server has not ended").to_string();
        let status = Command::new("kill").args([signal, &id]).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("does not end").unwrap()
    }

    /// What else it printed, after its end.
    pub(crate) async fn rest(mut self) -> String {
        self.wait().await;
        let mut text = String::new();
        self.stdout.into_inner().read_to_string(&mut text).await.unwrap();
        text
    }
}

/// A connection that takes requests of either protocol.
pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub(crate) async fn http2(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Bytes>> {
        let answer = async {
            let response = match self {
                Self::Http1(sender) => sender.send_request(request).await?,
                Self::Http2(sender) => sender.send_request(request).await?,
            };
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(DEADLINE, answer).await.expect("no answer in time")
    }
}

/// A connection for a generated gRPC client.
pub(crate) async fn grpc(
    address: SocketAddr,
) -> impl tower::Service<
    Request<tonic::body::Body>,
    Response = Response<hyper::body::Incoming>,
    Error = hyper::Error,
    Future: Send,
> + Clone {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    tower::service_fn(move |request| sender.clone().send_request(request))
}

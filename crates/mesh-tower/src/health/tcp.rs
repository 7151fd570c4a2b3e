use std::io;

use bytes::BytesMut;
use mesh_core::cluster::Checked;
use mesh_core::resource::TcpHealthCheck;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Found, MAX_BODY_BYTES, holds};
use crate::connection::Connections;

/// One check by a connection. Whatever is wrong counts as no answer, as in Envoy: what is expected
/// might still have come.
pub(super) async fn check(spec: &TcpHealthCheck, connections: &Connections) -> Found {
    match exchange(spec, connections).await {
        Ok(()) => (Checked::Good, "connected".to_owned()),
        Err(error) => (Checked::Unanswered, error.to_string()),
    }
}

async fn exchange(spec: &TcpHealthCheck, connections: &Connections) -> io::Result<()> {
    let mut stream = connections.raw().await?;
    stream.write_all(&spec.send).await?;
    stream.flush().await?;
    let mut read = BytesMut::new();
    while !holds(&read, &spec.receive) {
        let ended = stream.read_buf(&mut read).await? == 0;
        if ended || read.len() > MAX_BODY_BYTES {
            return Err(io::Error::other("the answer is not as expected"));
        }
    }
    Ok(())
}

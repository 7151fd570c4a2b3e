use std::io;
use std::time::Duration;

use mesh_core::resource::TcpKeepalive as AskedKeepalive;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Prepares a connection, on either side.
///
/// A peer whose machine or network is gone says nothing, and an HTTP/1.1 or HTTP/2 connection to it
/// would look open for a quarter of an hour. The system probes for that here. HTTP/2's own pings
/// would do for HTTP/2 alone, and cost over 400 instructions on each request, since hyper then
/// notes the time of every frame; what they see beyond this, a process that stands still, deadlines
/// see too.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    // Requests and responses are whole messages; waiting for more to send only delays them.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&probes)?;
    // Where there is no such setting, what was sent is given up after the system's own
    // retransmissions.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(GIVE_UP_AFTER))?;
    Ok(())
}

/// Has the system probe as a cluster asks for it.
pub(super) fn keep_alive(stream: &TcpStream, asked: &AskedKeepalive) -> io::Result<()> {
    let mut probes = TcpKeepalive::new();
    if let Some(time) = asked.time {
        probes = probes.with_time(time);
    }
    if let Some(interval) = asked.interval {
        probes = probes.with_interval(interval);
    }
    if let Some(retries) = asked.probes {
        probes = probes.with_retries(retries);
    }
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// After how long a silence, as for the connection to the control plane. Also under the minutes
/// after which firewalls and address translators forget a connection.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// Between probes that are not answered.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How long what was sent, a probe too, may stay without an acknowledgement.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GIVE_UP_AFTER: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn probes_a_silent_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(GIVE_UP_AFTER));
    }
}

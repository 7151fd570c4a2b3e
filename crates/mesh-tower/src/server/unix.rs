use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::net::{UnixListener, UnixStream};

use super::accept::Listens;

/// A listening Unix domain socket. Its drop takes the file away.
#[derive(Debug)]
pub(super) struct Unix {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file; `None` of an abstract name, which has none.
    file: Option<(u64, u64)>,
}

impl Unix {
    /// Listens at `path`. A name that begins with `@` is abstract, as at endpoints.
    ///
    /// A file that a server left behind which has ended is replaced; one of a server that runs, or
    /// that is no socket, is not.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
            let listener = abstractly(name)?;
            return Ok(Self { listener, path: path.to_owned(), file: None });
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = Some(identity(path)?);
        Ok(Self { listener, path: path.to_owned(), file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Listens for Unix {
    type Stream = UnixStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.listener.poll_accept(cx).map_ok(|(stream, _)| stream)
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        // Another server may have put its own in its place.
        if self.file.is_some() && self.file == identity(&self.path).ok() {
            // It may be gone already.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file is at a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Whether it is a socket on which nobody listens.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

#[cfg(target_os = "linux")]
fn abstractly(name: &str) -> io::Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

#[cfg(not(target_os = "linux"))]
fn abstractly(_: &str) -> io::Result<UnixListener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract names are Linux's alone"))
}

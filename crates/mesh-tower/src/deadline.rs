//! A caller's deadline, passed on to the calls that are made while its request is handled.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request};
use mesh_core::resilience::grpc_timeout;

tokio::task_local! {
    /// When the request that is being handled must be over.
    static INHERITED: Instant;
}

/// Whether a request was ever handled here that had a deadline. Until then, and so in programs that
/// are clients alone, none is looked for. Relaxed: who runs within a deadline came by what sets this.
static EVER: AtomicBool = AtomicBool::new(false);

/// When a request must be over, as a request extension: the caller's deadline.
///
/// The route's own limit still counts where it is earlier. Requests that a
/// [`Server`](crate::Server) handles carry the one their client told, and calls made while handling
/// them are over by then: a child never outlives its parent. A task that a handler spawns inherits
/// nothing; give it [`Deadline::inherited`] and [`Deadline::scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// gRPC's header for the time that is left.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Envoy's header for the time that an attempt may take, in milliseconds.
pub(crate) const EXPECTED_TIMEOUT: HeaderName =
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

impl Deadline {
    /// The deadline of the request that the current task handles; `None` outside of handlers and
    /// where the client told none.
    #[inline]
    pub fn inherited() -> Option<Self> {
        if !EVER.load(Ordering::Relaxed) {
            return None;
        }
        INHERITED.try_with(|deadline| Self(*deadline)).ok()
    }

    /// Runs `future` as if the request it belongs to had this deadline.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        note_one();
        INHERITED.scope(self.0, future)
    }

    /// The deadline that comes with a request from outside: the earliest of what its extensions
    /// and headers say.
    pub(crate) fn told<B>(request: &Request<B>, now: impl Fn() -> Instant) -> Option<Self> {
        let given = request.extensions().get::<Self>().copied();
        let headers = request.headers();
        if headers.is_empty() {
            return given;
        }
        let grpc = headers.get(GRPC_TIMEOUT).and_then(grpc_timeout::parse);
        let http = headers.get(EXPECTED_TIMEOUT).and_then(millis);
        let left = [grpc, http].into_iter().flatten().min();
        let told = left.and_then(|left| now().checked_add(left)).map(Self);
        [given, told].into_iter().flatten().min()
    }

    /// Runs `poll` with this deadline inherited.
    pub(crate) fn within<T>(deadline: Option<Self>, poll: impl FnOnce() -> T) -> T {
        match deadline {
            Some(Self(deadline)) => {
                note_one();
                INHERITED.sync_scope(deadline, poll)
            }
            None => poll(),
        }
    }

    /// Makes this the deadline of a request, unless the request's own is earlier.
    #[cold]
    pub(crate) fn bound<B>(self, request: &mut Request<B>, now: impl Fn() -> Instant) {
        let extensions = request.extensions();
        let headers = request.headers();
        let asked = || headers.get(GRPC_TIMEOUT).and_then(grpc_timeout::parse);
        let own = extensions.get().copied();
        let own = own.or_else(|| Some(Self(now().checked_add(asked()?)?)));
        if own.is_some_and(|own| own <= self) {
            return;
        }
        request.headers_mut().remove(GRPC_TIMEOUT);
        request.extensions_mut().insert(self);
    }
}

/// Written once: all threads read it.
fn note_one() {
    if !EVER.load(Ordering::Relaxed) {
        EVER.store(true, Ordering::Relaxed);
    }
}

fn millis(value: &HeaderValue) -> Option<Duration> {
    Some(Duration::from_millis(value.to_str().ok()?.parse().ok()?))
}

/// What a server is told of the time that is left in plain HTTP: whole milliseconds, at least one.
pub(crate) fn expected_timeout(left: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn earliest_of_what_a_request_says_counts() {
        let now = Instant::now();
        let told = |headers: &[(&str, &str)], own: Option<Duration>| {
            let mut request = Request::new(());
            for (name, value) in headers {
                let name = HeaderName::try_from(*name).unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            if let Some(own) = own {
                request.extensions_mut().insert(Deadline(now + own));
            }
            Deadline::told(&request, || now).map(|deadline| deadline.0 - now)
        };
        let (grpc, http) = ("grpc-timeout", "x-envoy-expected-rq-timeout-ms");
        assert_eq!(told(&[], None), None);
        assert_eq!(told(&[(grpc, "30m")], None), Some(30 * MS));
        assert_eq!(told(&[(http, "40")], None), Some(40 * MS));
        assert_eq!(told(&[(grpc, "30m"), (http, "40")], None), Some(30 * MS));
        assert_eq!(told(&[(grpc, "30m"), (http, "20")], Some(10 * MS)), Some(10 * MS));
        assert_eq!(told(&[], Some(10 * MS)), Some(10 * MS));
        for bad in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(told(&[(grpc, bad), (http, bad)], None), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn inherited_deadline_bounds_a_request_and_never_extends_it() {
        let now = Instant::now();
        let parent = Deadline(now + 100 * MS);
        let bounded = |own: Option<Duration>, header: Option<&'static str>| {
            let mut request = Request::new(());
            if let Some(own) = own {
                request.extensions_mut().insert(Deadline(now + own));
            }
            if let Some(header) = header {
                request.headers_mut().insert(GRPC_TIMEOUT, HeaderValue::from_static(header));
            }
            parent.bound(&mut request, || now);
            let own = request.extensions().get::<Deadline>().map(|deadline| deadline.0 - now);
            (own, request.headers().contains_key(GRPC_TIMEOUT))
        };
        assert_eq!(bounded(None, None), (Some(100 * MS), false));
        assert_eq!(bounded(Some(20 * MS), None), (Some(20 * MS), false));
        assert_eq!(bounded(Some(200 * MS), None), (Some(100 * MS), false));
        assert_eq!(bounded(None, Some("20m")), (None, true));
        assert_eq!(bounded(None, Some("200m")), (Some(100 * MS), false));

        assert_eq!(Deadline::inherited(), None);
        parent.scope(async { assert_eq!(Deadline::inherited(), Some(parent)) }).await;
        assert_eq!(Deadline::within(Some(parent), Deadline::inherited), Some(parent));
        assert_eq!(Deadline::inherited(), None);
    }
}

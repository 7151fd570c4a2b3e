use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Attach, RootIndex, RouteRef, Snapshot};
use crate::filter::Chain;
use crate::resource::{CanonicalOptions, DownstreamOptions, LocalReplyConfig};

impl<A: Attach> Snapshot<A> {
    /// The filters a request of `root` goes through; `None` when none does anything.
    ///
    /// They run for every request, also for one that is answered by its route and for one that no
    /// route takes (`route` is `None`), before that is said.
    ///
    /// # Panics
    /// When `root` or `route` is of another Snapshot and out of range here.
    #[inline]
    pub fn filters(&self, root: RootIndex, route: Option<RouteRef>) -> Option<&Chain> {
        let chains = self.program(root).chains.as_ref()?;
        chains.of(route.map(|route| route.place()))
    }

    /// What is made of a request of `root` before anything looks at it; `None` when nothing is
    /// known of it.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    #[inline]
    pub fn canonical(&self, root: RootIndex) -> Option<&CanonicalOptions> {
        let listener = self.program(root).root.listener.value.as_ref()?;
        Some(&listener.api_listener.canonical)
    }

    /// Who the client of a request of `root` is; `None` when nothing is known of it.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    pub fn downstream(&self, root: RootIndex) -> Option<&DownstreamOptions> {
        let listener = self.program(root).root.listener.value.as_ref()?;
        Some(&listener.api_listener.downstream)
    }

    /// What requests and answers of `root` name in `via`.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    pub fn via(&self, root: RootIndex) -> Option<&HeaderValue> {
        self.program(root).root.listener.value.as_ref()?.api_listener.via.as_ref()
    }

    /// What becomes of answers to requests of `root` that are made here.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    pub fn local_reply(&self, root: RootIndex) -> Option<&LocalReplyConfig> {
        self.program(root).root.listener.value.as_ref()?.api_listener.local_reply.as_deref()
    }

    /// How long a connection may be silent that `root` passes on; `None` for as long as it lasts, and
    /// where requests are served.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    pub fn tcp_idle_timeout(&self, root: RootIndex) -> Option<Duration> {
        let listener = self.program(root).root.listener.value.as_ref()?;
        let idle = listener.api_listener.clients.idle_timeout.filter(|idle| !idle.is_zero());
        idle.filter(|_| listener.is_tcp)
    }

    /// The headers that no client from outside may send for `root`.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    pub fn internal_only_headers(&self, root: RootIndex) -> &[HeaderName] {
        let routes = self.program(root).root.routes.value.as_ref();
        routes.map_or(&[], |routes| &routes.internal_only_headers)
    }

    /// Whether requests of `root` go straight to their routes: no filter runs, and nothing is made
    /// of a request of the application itself beforehand.
    ///
    /// # Panics
    /// As [`filters`](Self::filters).
    #[inline(always)]
    pub fn is_plain(&self, root: RootIndex) -> bool {
        self.program(root).plain
    }
}

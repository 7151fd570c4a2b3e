use http::HeaderName;

use super::{Attach, RootIndex, RouteRef, Snapshot};
use crate::filter::Chain;
use crate::resource::CanonicalOptions;

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

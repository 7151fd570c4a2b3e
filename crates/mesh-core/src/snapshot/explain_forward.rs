//! What becomes of a request that goes to a cluster: its limits, its retries, its copies.

use std::fmt;
use std::time::Duration;

use super::{Attach, RouteView, Snapshot};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resilience::{RequestOptions, Timeouts};
use crate::resource::{HeaderMatch, MirrorCluster, MirrorPolicy, RetryPolicy};

/// How a route forwards a request, with what the request's own `x-envoy-*` headers ask for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ForwardExplanation {
    /// The limits. In gRPC the total one alone, which is that of the call.
    pub timeouts: Timeouts,
    /// When the request is tried again; `None` for never.
    pub retry: Option<RetryExplanation>,
    /// Where copies go.
    pub mirrors: Vec<MirrorExplanation>,
}

/// A retry policy as a [`ForwardExplanation`] shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryExplanation {
    /// The words of `retry_on`.
    pub retry_on: Vec<&'static str>,
    /// The statuses that are tried again by `retriable-status-codes`.
    pub statuses: Vec<u16>,
    /// How many attempts there may be after the first.
    pub num_retries: u32,
    /// The base and the cap of the wait before each.
    pub back_off: (Duration, Duration),
}

/// A mirror as a [`ForwardExplanation`] shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MirrorExplanation {
    /// The cluster's name, or the request header that names it.
    pub cluster: String,
    /// The share of requests that is copied, in per cent.
    pub percent: f64,
}

impl<A: Attach> Snapshot<A> {
    pub(super) fn explain_forward(
        view: &RouteView<'_>,
        head: &Head<'_>,
        dialect: Dialect,
    ) -> ForwardExplanation {
        let mut headers = head.headers.clone();
        let options = match dialect {
            Dialect::Http => RequestOptions::take(&mut headers),
            Dialect::Grpc => None,
        };
        let options = options.as_deref();
        let asked = options.and_then(|options| options.retry_policy(view.retry_policy()));
        let policy = asked.as_ref().or(view.retry_policy());
        let timeouts = match dialect {
            Dialect::Http => view.timeouts(policy, &headers, options).unwrap_or_default(),
            Dialect::Grpc => Timeouts { total: view.timeout(dialect), ..Timeouts::default() },
        };
        ForwardExplanation {
            timeouts,
            retry: policy.and_then(RetryExplanation::of),
            mirrors: view.mirror_policies().iter().map(MirrorExplanation::of).collect(),
        }
    }
}

impl RetryExplanation {
    fn of(policy: &RetryPolicy) -> Option<Self> {
        let never = policy.conditions.is_empty() || policy.num_retries == 0;
        (!never).then(|| Self {
            retry_on: policy.conditions.names().collect(),
            statuses: policy.retriable_status_codes.iter().map(|code| code.as_u16()).collect(),
            num_retries: policy.num_retries,
            back_off: (policy.base_interval, policy.max_interval),
        })
    }
}

impl MirrorExplanation {
    fn of(policy: &MirrorPolicy) -> Self {
        let cluster = match &policy.cluster {
            MirrorCluster::Cluster(name) => name.to_string(),
            MirrorCluster::Header(HeaderMatch::Header(name)) => format!("what {name} names"),
            MirrorCluster::Header(other) => format!("what {other:?} names"),
        };
        let percent = policy.runtime_fraction.map_or(100.0, |share| f64::from(share) / 10_000.0);
        Self { cluster, percent: percent.min(100.0) }
    }
}

impl fmt::Display for ForwardExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timeouts { total, per_try, per_try_idle, idle, stream, .. } = self.timeouts;
        match total {
            Some(total) => writeln!(f, "timeout              {total:?}")?,
            None => writeln!(f, "timeout              none")?,
        }
        for (what, limit) in [
            ("of an attempt", per_try),
            ("of its silence", per_try_idle),
            ("of silence", idle),
            ("of the stream", stream),
        ] {
            if let Some(limit) = limit {
                writeln!(f, "  {what:<18} {limit:?}")?;
            }
        }
        if let Some(RetryExplanation { retry_on, statuses, num_retries, back_off }) = &self.retry {
            let statuses: String = statuses.iter().map(|status| format!(",{status}")).collect();
            let (base, max) = back_off;
            let on = retry_on.join(",");
            writeln!(f, "retries              {num_retries} on {on}{statuses}")?;
            writeln!(f, "  {:<18} up to {base:?}, at last up to {max:?}", "wait")?;
        }
        for MirrorExplanation { cluster, percent } in &self.mirrors {
            writeln!(f, "copies               {percent} % to {cluster}")?;
        }
        Ok(())
    }
}

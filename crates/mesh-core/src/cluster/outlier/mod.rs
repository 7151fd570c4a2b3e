//! Outlier detection: endpoints are taken out for what their answers were.
//!
//! Each endpoint has a [`Record`] per dialect. A request notes in it how it ended, which costs a
//! few relaxed atomics; when that makes failures in a row too many, the endpoint is ejected at once.
//! Once per interval a [`Detector`] sweeps over all records: it compares success rates and failure
//! percentages, and lets endpoints return whose time is over.
//!
//! HTTP follows Envoy: the share of endpoints that are out includes the one that is to go, so that
//! 10 % of three is none. gRPC follows gRFC A50: failures in a row do not count, and the first one
//! may always go.

mod detector;
mod record;
mod sweep;
#[cfg(test)]
mod tests;

pub use detector::Detector;
pub use record::{Observed, Record};

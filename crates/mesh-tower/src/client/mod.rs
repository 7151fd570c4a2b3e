//! Clients: requests through the mesh.
//!
//! One request, whatever the client: take a Snapshot, route, change headers, then attempts until
//! one counts. The whole of it is one future written by hand, over what sends an attempt: the
//! mesh's own connections for [`Channel`], users' own clients for [`ClientLayer`].

mod any;
mod asked;
mod begin;
mod body;
mod call;
mod changes;
mod channel;
mod connector;
mod copy;
mod endpoint;
mod express;
mod failing;
mod flight;
mod hedge;
mod history;
mod idle;
mod late;
mod layer;
mod limits;
mod load;
mod messages;
mod mirrors;
mod outliers;
mod quiet;
mod record;
mod redirect;
mod routing;
mod sessions;
mod step;
#[cfg(test)]
mod tests;
mod transport;
mod way;

pub use crate::connection::Received;
pub use any::{Client, ClientResponse, Outside};
pub use body::ResponseBody;
pub use channel::{Channel, ResponseFuture};
pub(crate) use connector::open;
pub use connector::{Connection, Connector, Counts};
pub(crate) use endpoint::Slots;
pub use endpoint::{Endpoint, EndpointTls};
pub use layer::{ClientFuture, ClientLayer, ClientService};
pub(crate) use load::load_report;
pub(crate) use messages::{Unwritable, answer, context, with_request_from};
pub(crate) use mirrors::copy_of_head;
pub use record::Record;

/// The time, by the clock of tokio's timers: tests pause it.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

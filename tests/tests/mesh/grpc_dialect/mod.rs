//! What a control plane asks for acts on calls of gRPC as well, over sockets, by gRPC's rules where
//! they are others than Envoy's.

mod endpoints;
mod limits;
mod messages;
mod routing;

use mesh_core::Dialect;
use mesh_tests::client::Answer;
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{Live, Written, call, endpoints};
use mesh_tower::BoxError;
use serde_json::{Value, json};

const NONE: &[(&str, &str)] = &[];

/// The clusters `things` and `others`.
struct Two {
    things: Notes,
    others: Notes,
}

impl Two {
    async fn start() -> Self {
        Self { things: Notes::take().await, others: Notes::take().await }
    }

    fn written(&self) -> Written {
        let others = endpoints(&[self.others.address()]);
        Written::new(&[self.things.address()]).with_cluster("others", &json!({}), &[others])
    }

    /// How many calls each cluster has seen.
    fn counts(&self) -> (usize, usize) {
        (self.things.seen().len(), self.others.seen().len())
    }

    /// How many calls each cluster sees of these.
    async fn of(&self, live: &Live, path: &str, headers: &[(&str, &str)]) -> (usize, usize) {
        let before = self.counts();
        assert_eq!(ask(live, path, headers).await.status, 200, "{path} {headers:?}");
        let after = self.counts();
        (after.0 - before.0, after.1 - before.1)
    }
}

async fn grpc(written: Written) -> Live {
    let live = written.channel_of(Dialect::Grpc).await;
    assert_eq!(live.mesh.findings(), []);
    live
}

async fn tried(live: &Live, path: &str, headers: &[(&str, &str)]) -> Result<Answer, BoxError> {
    send(&live.channel, call(path, headers)).await
}

async fn ask(live: &Live, path: &str, headers: &[(&str, &str)]) -> Answer {
    tried(live, path, headers).await.unwrap_or_else(|error| panic!("{path} {headers:?}: {error}"))
}

fn to(cluster: &str) -> Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}})
}

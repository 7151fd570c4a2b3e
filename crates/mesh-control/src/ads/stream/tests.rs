use mesh_istio::{Model, Options, Source};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::service::discovery::v3 as xds;
use tokio_stream::wrappers::ReceiverStream;

use super::super::sotw::StateOfTheWorld;
use super::*;
use crate::generation::Publisher;

const CLUSTER: &str = "outbound|80||a.default.svc.cluster.local";

fn set(balancer: &str) -> mesh_istio::Checked {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{ports: [{{port: 80}}]}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\n\
         spec: {{host: a, trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}}}\n"
    );
    Model::read(&[Source::new("a.yaml", text)], &Options::default())
}

type Inbound = mpsc::Sender<Result<xds::DiscoveryRequest, Status>>;
type Outbound = mpsc::Receiver<Result<xds::DiscoveryResponse, Status>>;

fn open(publisher: &Publisher, stop: &CancellationToken) -> (Inbound, Outbound) {
    let stream = Stream::<StateOfTheWorld>::new(publisher.subscribe(), Clients::default(), None);
    let (requests, inbound) = mpsc::channel(8);
    let (outbound, responses) = mpsc::channel(1);
    tokio::spawn(stream.run(ReceiverStream::new(inbound), outbound, stop.clone()));
    (requests, responses)
}

fn subscribe() -> xds::DiscoveryRequest {
    xds::DiscoveryRequest {
        node: Some(core::Node { id: "test".to_owned(), ..Default::default() }),
        type_url: ResourceType::Cluster.type_url().to_owned(),
        resource_names: vec![CLUSTER.to_owned()],
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_gets_the_latest_when_it_does() {
    let publisher = Publisher::new(set("RANDOM")).unwrap();
    let stop = CancellationToken::new();
    let (requests, mut responses) = open(&publisher, &stop);
    requests.send(Ok(subscribe())).await.unwrap();
    // Paused time moves on only when every task has come to rest.
    let rest = || tokio::time::sleep(std::time::Duration::from_secs(1));
    rest().await;
    let balancers = ["ROUND_ROBIN", "LEAST_REQUEST"];
    for balancer in balancers.iter().cycle().take(100) {
        publisher.offer(set(balancer));
        rest().await;
    }
    let mut received = Vec::new();
    while let Ok(Some(Ok(response))) =
        tokio::time::timeout(std::time::Duration::from_secs(1), responses.recv()).await
    {
        received.push(response.version_info);
    }
    assert!(received.len() <= 4, "{} responses were queued", received.len());
    let (_more, mut fresh) = open(&publisher, &stop);
    _more.send(Ok(subscribe())).await.unwrap();
    let latest = fresh.recv().await.unwrap().unwrap().version_info;
    assert_eq!(received.last(), Some(&latest));
}

#[tokio::test]
async fn stopping_ends_the_stream_with_unavailable() {
    let publisher = Publisher::new(set("RANDOM")).unwrap();
    let stop = CancellationToken::new();
    let (_requests, mut responses) = open(&publisher, &stop);
    stop.cancel();
    let status = responses.recv().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(responses.recv().await.is_none());
}

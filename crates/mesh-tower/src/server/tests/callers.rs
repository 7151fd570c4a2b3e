//! Who the client of a request is, where proxies are in front, and what answers of ours say.

use http::StatusCode;
use mesh_core::headers::{BodyFormat, BodyTemplate, Format};
use mesh_core::resource::{
    CidrRange, Comparison, Condition, HttpConnectionManager, InternalAddresses, LocalReplyConfig,
    RbacAction, ReplyFilter, ResponseMapper, Rule,
};

use super::policy::{chain, manager, one, rbac, served, with_chains};
use super::*;

/// An application that says which headers it saw, behind a manager that denies clients of
/// 10.0.0.0/8.
async fn behind(change: impl FnOnce(&mut HttpConnectionManager)) -> SocketAddr {
    let range = CidrRange::new("10.0.0.0".parse().unwrap(), 8);
    let deny = rbac(RbacAction::Deny, Rule::Any, Rule::Is(Condition::RemoteIp(range)));
    let mut manager = manager(vec![served("/")], vec![deny]);
    change(&mut manager);
    let server = Server::bind(&with_chains(vec![chain(manager)]), ANY).await.unwrap();
    let (address, task) = start(server, |request| async move {
        let told = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or("?")));
        let told: Vec<_> = told.filter(|told| !told.starts_with("host=")).collect();
        Response::new(Body::from(told.join(" ")))
    });
    // It ends with the test's runtime.
    std::mem::forget(task);
    address
}

fn from(client: &str) -> Request<Empty<Bytes>> {
    let mut request = get1("/");
    request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
    request
}

#[tokio::test]
async fn nobody_is_believed_who_is_not_named_as_a_proxy() {
    let address = behind(|_| {}).await;
    assert_eq!(one(address, from("10.0.0.1")).await.status(), 200);
    let address = behind(|manager| manager.downstream.append_x_forwarded_port = true).await;
    let answer = one(address, from("10.0.0.1")).await;
    let port = format!("x-forwarded-port={}", address.port());
    assert!(text(answer).await.contains(&port));

    let address = behind(|manager| manager.downstream.xff_num_trusted_hops = 1).await;
    assert_eq!(one(address, from("10.0.0.1, 1.1.1.1")).await.status(), 403);
    assert_eq!(one(address, from("1.1.1.1, 10.0.0.1")).await.status(), 200);
}

#[tokio::test]
async fn requests_are_told_whose_they_are() {
    let address = behind(|manager| {
        manager.downstream.use_remote_address = true;
        manager.via = Some("edge".parse().unwrap());
    })
    .await;
    let answer = one(address, from("1.1.1.1")).await;
    assert_eq!(answer.headers()["via"], "edge");
    let told = text(answer).await;
    for want in [
        "x-forwarded-for=1.1.1.1,127.0.0.1",
        "x-envoy-external-address=127.0.0.1",
        "x-forwarded-proto=http",
        "via=edge",
    ] {
        assert!(told.contains(want), "{told}");
    }

    // What steers retries and timeouts is an internal client's to say.
    let asked = || {
        let mut request = get1("/");
        request.headers_mut().insert("x-envoy-max-retries", "3".parse().unwrap());
        request
    };
    assert!(!text(one(address, asked()).await).await.contains("max-retries"));
    let address = behind(|manager| {
        manager.downstream.use_remote_address = true;
        manager.downstream.internal = Some(InternalAddresses::default());
    })
    .await;
    let told = text(one(address, asked()).await).await;
    assert!(told.contains("x-envoy-max-retries=3") && told.contains("x-envoy-internal=true"));
}

#[tokio::test]
async fn answers_made_here_are_written_as_configured() {
    let address = behind(|manager| {
        manager.downstream.xff_num_trusted_hops = 1;
        let denied = ReplyFilter::StatusCode(Comparison::Eq, 403);
        let mut mapper = ResponseMapper::new(denied);
        mapper.status_code = Some(StatusCode::NOT_FOUND);
        let format = Format::parse(b"%REQ(:path)%: %LOCAL_REPLY_BODY%", |_, _| {}).unwrap();
        let mut config = LocalReplyConfig::default();
        config.mappers = vec![mapper];
        config.body_format = Some(BodyFormat::new(BodyTemplate::Text(format)));
        manager.local_reply = Some(Arc::new(config));
    })
    .await;
    let answer = one(address, from("10.0.0.1, 1.1.1.1")).await;
    assert_eq!(answer.status(), 404);
    assert_eq!(text(answer).await, "/: RBAC: access denied");
    assert_eq!(one(address, from("1.1.1.1, 1.1.1.1")).await.status(), 200);
}

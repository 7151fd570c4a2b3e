//! RouteConfigurations of any bytes.

use http::{HeaderMap, Method};
use mesh_core::resource::{
    HttpConnectionManager, Listener, Name, Resource, Resources, RouteSpecifier,
};
use mesh_core::snapshot::RootHint;
use mesh_core::{Decision, Dialect, Head, ResourceId, ResourceType, Snapshot};
use mesh_xds_client::decode::{Value, decode};

/// Decodes the bytes, compiles what they are, and routes a few requests.
pub fn run(bytes: &[u8]) {
    let id = ResourceId::new(ResourceType::RouteConfiguration, "r");
    let routes = match decode(&id, bytes) {
        Ok(Value::RouteConfiguration(routes)) => routes,
        Ok(other) => panic!("decoded to {other:?}"),
        Err(refusal) => {
            assert!(!refusal.reason().contains("by a fault"), "{refusal}");
            return;
        }
    };
    let authorities: Vec<String> = routes
        .virtual_hosts
        .iter()
        .flat_map(|host| host.domains.iter().map(|domain| domain.replace('*', "x")))
        .chain([String::new(), "a".to_owned()])
        .take(20)
        .collect();
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    let resources: Resources = [Resource::from(Listener::new("l", manager))].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let name: Name = "l".into();
    let root = snapshot.root(&name, &RootHint::new()).expect("it was given");
    let headers = HeaderMap::new();
    for authority in authorities {
        for path in ["/", "/a/b?c=d", "*", "/%2e%2e/a", ""] {
            let head = Head::of_parts(&Method::GET, "http", &authority, path, &headers);
            for dialect in [Dialect::Http, Dialect::Grpc] {
                for random in [0, 1, u64::MAX] {
                    look(&snapshot, snapshot.route(root, &head, dialect, random), &head);
                }
            }
        }
    }
}

/// Asks for what a route says, which is made when it is asked for.
fn look(snapshot: &Snapshot<()>, decision: Decision, head: &Head<'_>) {
    if let Decision::Forward { route, .. } | Decision::Respond { route } = decision {
        let view = snapshot.view(route);
        for made in ["", "/made?x"] {
            let _ = view.redirect(head, made);
        }
        let _ = view.path_rewrite(head.path_and_query);
        let _ = view.host_rewrite(head.headers, head.path_and_query);
    }
}

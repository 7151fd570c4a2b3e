//! Without a mesh: the same program, straight to where names lead.

use mesh_grpc::Channel as GrpcChannel;
use mesh_tests::client::mesh_error;
use mesh_tests::process::command;
use mesh_tests::{Backend, get, within};
use mesh_tower::{Channel, Mesh};
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;
use serde_json::Value;

const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl-under-test");

#[tokio::test]
async fn disabled_mesh_passes_requests_through() {
    let backend = Backend::start("echo", "v1").await;
    let mesh = Mesh::disabled().unwrap();
    let named = format!("localhost:{}", backend.address.port());
    for target in [backend.address.to_string(), named, format!("xds:///{}", backend.address)] {
        let channel = Channel::new(&mesh, &target).unwrap();
        let answer = get(&channel, "/reviews/7").await.unwrap();
        let seen = answer.json();
        assert_eq!((&seen["path"], &seen["protocol"]), (&"/reviews/7".into(), &"HTTP/1.1".into()));
        assert_eq!(seen["authority"], target.trim_start_matches("xds:///"));

        let mut client = EchoClient::new(GrpcChannel::new(&mesh, &target).unwrap());
        let reply = client.unary(EchoRequest::default()).await.unwrap().into_inner();
        assert_eq!(reply.version, "v1");
    }
    mesh.ready().await.unwrap();
}

#[tokio::test]
async fn disabled_mesh_tells_the_name_it_cannot_find() {
    let mesh = Mesh::disabled().unwrap();
    let channel = Channel::new(&mesh, "nowhere.invalid:9080").unwrap();
    let error = within("failure", get(&channel, "/")).await.unwrap_err();
    assert!(mesh_error(&error).to_string().contains("nowhere.invalid"), "{error}");
}

async fn fetch(url: &str, environment: &[(&str, &str)]) -> (bool, Value) {
    let mut command = command(MESHCTL, &["--json", "fetch", url]);
    command.envs(environment.iter().copied());
    let output = within("end of fetch", command.output()).await.unwrap();
    let line = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), line)
}

#[tokio::test]
async fn mesh_is_off_where_the_environment_says_so() {
    let backend = Backend::start("echo", "v1").await;
    let url = format!("http://{}/x", backend.address);
    // Wins over a bootstrap, also over one that is wrong.
    for bootstrap in ["", "{}"] {
        let environment = [("MESH", "off"), ("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap)];
        let (success, line) = fetch(&url, &environment).await;
        assert!(success, "{line}");
        assert_eq!((&line["status"], &line["error"]), (&200.into(), &Value::Null));
    }
    let (success, _) = fetch(&url, &[]).await;
    assert!(!success, "a mesh without a bootstrap");
}

use std::ffi::OsString;
use std::io::Write;

use super::{Bootstrap, ServerUri, Target, TargetError};

mod authorities;
mod creds;

const FULL: &str = r#"{
  "xds_servers": [{
    "server_uri": "dns:///istiod.istio-system.svc:15010",
    "channel_creds": [{"type": "magic"}, {"type": "insecure", "config": {}}],
    "server_features": ["xds_v3", 7, "fail_on_data_errors", "resource_timer_is_transient_error"],
    "later": true
  }],
  "node": {
    "id": "sidecar~10.0.0.1~a.b~b.svc.cluster.local",
    "cluster": "a",
    "locality": {"region": "r", "zone": "z", "sub_zone": "s"},
    "metadata": {"GENERATOR": "grpc", "LABELS": {"app": "a"}, "N": [1, null, true]},
    "unknown": 1
  },
  "cluster_manager": {"local_cluster_name": "callers"},
  "client_default_listener_resource_name_template": "lds/%s/%s",
  "server_listener_resource_name_template": "inbound/%s",
  "certificate_providers": {
    "default": {"plugin_name": "file_watcher", "config": {"ca_certificate_file": "root.pem"}},
    "later": {"plugin_name": "vault", "config": 7}
  },
  "authorities": {}
}"#;

fn minimal(server_uri: &str) -> String {
    format!(
        r#"{{"xds_servers": [{{"server_uri": "{server_uri}",
            "channel_creds": [{{"type": "insecure"}}]}}]}}"#
    )
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[test]
fn reads_every_field_and_passes_over_unknown_ones() {
    let bootstrap = Bootstrap::from_json(FULL).unwrap();
    let server = &bootstrap.servers()[0];
    assert_eq!(server.uri.to_string(), "istiod.istio-system.svc:15010");
    assert!(server.features.fail_on_data_errors);
    assert!(server.features.resource_timer_is_transient_error);
    let node = bootstrap.node();
    assert_eq!(node.id, "sidecar~10.0.0.1~a.b~b.svc.cluster.local");
    assert_eq!(&*node.locality.as_ref().unwrap().sub_zone, "s");
    assert_eq!(node.metadata["LABELS"]["app"], "a");
    let local = bootstrap.local_cluster().unwrap();
    assert_eq!((&*local.name, &*local.locality.zone), ("callers", "z"));
    assert_eq!(bootstrap.server_listener_template(), Some("inbound/%s"));
    assert!(bootstrap.certificate_providers().contains_key("default"));
    assert!(bootstrap.authorities().is_empty());
    let notes: Vec<&str> = bootstrap.not_honoured().iter().map(|note| &*note.path).collect();
    assert!(notes.contains(&"certificate_providers[\"later\"].plugin_name"), "{notes:?}");
}

#[test]
fn node_metadata_is_passed_through() {
    use mesh_pb::google::protobuf::value::Kind;
    let node = Bootstrap::from_json(FULL).unwrap().node().to_proto();
    let fields = node.metadata.unwrap().fields;
    assert_eq!(fields["GENERATOR"].kind, Some(Kind::StringValue("grpc".to_owned())));
    let Some(Kind::ListValue(list)) = &fields["N"].kind else { panic!("N is no list") };
    assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
    assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
    assert_eq!(node.locality.unwrap().region, "r");
}

#[test]
fn node_is_optional() {
    let bootstrap = Bootstrap::from_json(&minimal("127.0.0.1:15010")).unwrap();
    assert_eq!(bootstrap.node().id, "");
    assert!(bootstrap.node().to_proto().metadata.is_none());
}

#[test]
fn file_beats_text_and_a_bad_file_is_an_error() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(minimal("file:1").as_bytes()).unwrap();
    let path = file.path().as_os_str().to_owned();
    let vars = |path: Option<OsString>, text: Option<String>| {
        Bootstrap::from_vars(|name| match name {
            "GRPC_XDS_BOOTSTRAP" => path.clone(),
            "GRPC_XDS_BOOTSTRAP_CONFIG" => text.clone().map(OsString::from),
            _ => None,
        })
    };
    let uri = |made: Bootstrap| made.servers()[0].uri.to_string();
    let text = Some(minimal("text:1"));
    assert_eq!(uri(vars(Some(path.clone()), text.clone()).unwrap()), "file:1");
    assert_eq!(uri(vars(Some(path), None).unwrap()), "file:1");
    assert_eq!(uri(vars(None, text.clone()).unwrap()), "text:1");
    let error = vars(Some("/does/not/exist".into()), text).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let error = vars(None, None).unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("GRPC_XDS_BOOTSTRAP_CONFIG"));
}

#[test]
fn every_problem_is_told_at_once_with_its_path() {
    let text = r#"{
        "xds_servers": [
            {"server_uri": 1, "channel_creds": [{"type": "alts"}]},
            {"channel_creds": "insecure"},
            {"server_uri": "gopher://x", "channel_creds": [{"config": {}}], "server_features": 1}
        ],
        "node": {"id": 1, "locality": [], "metadata": "x"},
        "client_default_listener_resource_name_template": 1,
        "certificate_providers": 1,
        "authorities": {"a": 1, "b": {"xds_servers": [{}], "fallback_on_reachability_only": 1}}
    }"#;
    let error = Bootstrap::from_json(text).unwrap_err();
    let mut paths: Vec<&str> = error.problems().iter().map(|problem| &*problem.path).collect();
    paths.sort_unstable();
    let mut expected = [
        "xds_servers[0].server_uri",
        "xds_servers[0].channel_creds",
        "xds_servers[1].server_uri",
        "xds_servers[1].channel_creds",
        "xds_servers[2].server_uri",
        "xds_servers[2].channel_creds[0].type",
        "xds_servers[2].channel_creds",
        "xds_servers[2].server_features",
        "node.id",
        "node.locality",
        "node.metadata",
        "client_default_listener_resource_name_template",
        "certificate_providers",
        "authorities[\"a\"]",
        "authorities[\"b\"].xds_servers[0].server_uri",
        "authorities[\"b\"].xds_servers[0].channel_creds",
        "authorities[\"b\"].fallback_on_reachability_only",
    ];
    expected.sort_unstable();
    assert_eq!(paths, expected);
    let text = error.to_string();
    assert!(text.contains("xds_servers[0].server_uri: must be a string, is a number"), "{text}");
    assert!(text.contains("no supported type (given: alts; supported: tls, insecure)"), "{text}");
    assert_eq!(text.lines().count(), expected.len() + 1);
}

#[test]
fn missing_servers_and_documents_that_are_none_are_refused() {
    for (text, expected) in [
        ("", "is not JSON"),
        ("[]", "must be an object, is an array"),
        ("{}", "xds_servers: required field is missing"),
        (r#"{"xds_servers": []}"#, "must name at least one server"),
        (&"[".repeat(100_000), "is not JSON"),
        (&" ".repeat(Bootstrap::SIZE_LIMIT + 1), "is longer than 1048576 bytes"),
    ] {
        let error = Bootstrap::from_json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn server_uris_of_all_forms() {
    let tcp = |host: &str, port| Ok(ServerUri::Tcp { host: host.to_owned(), port });
    let unix = |path: &str| Ok(ServerUri::Unix(path.into()));
    let ip = |list: &[&str]| Ok(ServerUri::Ip(list.iter().map(|ip| ip.parse().unwrap()).collect()));
    let cases: [(&str, Result<ServerUri, ()>); 20] = [
        ("127.0.0.1:15010", tcp("127.0.0.1", 15010)),
        ("localhost:1", tcp("localhost", 1)),
        ("[::1]:1", tcp("[::1]", 1)),
        ("dns:host:1", tcp("host", 1)),
        ("dns:///host.svc:1", tcp("host.svc", 1)),
        ("dns://8.8.8.8/host:1", tcp("host", 1)),
        ("ipv4:10.0.0.1:1", ip(&["10.0.0.1:1"])),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ip(&["10.0.0.1:1", "10.0.0.2:2"])),
        ("ipv6:[::1]:1", ip(&["[::1]:1"])),
        ("ipv4:[::1]:1", Err(())),
        ("ipv4:10.0.0.1:1,", Err(())),
        ("unix:relative.sock", unix("relative.sock")),
        ("unix:///etc/istio/proxy/XDS", unix("/etc/istio/proxy/XDS")),
        ("unix://etc/x", Err(())),
        ("unix:", Err(())),
        ("host", Err(())),
        ("https://host:1", Err(())),
        ("xds:///control-plane", Err(())),
        ("user@host:1", Err(())),
        ("host:99999", Err(())),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<ServerUri>().map_err(drop), expected, "{text}");
    }
}

#[test]
fn listener_names_follow_the_template() {
    let name = |template: &str, text: &str| {
        let builder = Bootstrap::builder("h:1").with_client_listener_template(template);
        builder.build().unwrap().listener_name(&target(text)).to_string()
    };
    assert_eq!(name("%s", "xds:///reviews:9080"), "reviews:9080");
    assert_eq!(name("a/%s/%s", "x"), "a/x/x");
    assert_eq!(name("xdstp://a/l/%s", "xds:///a b/c:1?"), "xdstp://a/l/a%20b/c:1%3F");
    assert_eq!(name("none", "x"), "none");
}

#[test]
fn builder_makes_what_a_text_makes() {
    let made = Bootstrap::builder("127.0.0.1:15010")
        .with_node_id("n")
        .with_cluster("c")
        .with_metadata("K", "v")
        .with_server_listener_template("in/%s")
        .build()
        .unwrap();
    assert_eq!((made.node().id.as_str(), made.node().cluster.as_str()), ("n", "c"));
    assert_eq!(made.node().metadata["K"], "v");
    assert_eq!(made.server_listener_template(), Some("in/%s"));
    let error = Bootstrap::builder("nowhere").build().unwrap_err();
    assert_eq!(error.problems()[0].path, "xds_servers[0].server_uri");
}

#[test]
fn targets_with_and_without_scheme() {
    for (text, name, authority) in [
        ("xds:///reviews:9080", "reviews:9080", "reviews:9080"),
        ("xds:reviews", "reviews", "reviews"),
        ("reviews.default.svc:9080", "reviews.default.svc:9080", "reviews.default.svc:9080"),
        ("xds:////a/b", "/a/b", "a%2Fb"),
    ] {
        let made = target(text);
        assert_eq!((&**made.name(), &**made.authority()), (name, authority), "{text}");
    }
    for (text, expected) in [
        ("", TargetError::NoName),
        ("xds:///", TargetError::NoName),
        ("xds://authority", TargetError::NoName),
        ("https://reviews", TargetError::Scheme("https".to_owned())),
    ] {
        assert_eq!(text.parse::<Target>().unwrap_err(), expected, "{text}");
    }
}

use super::*;

fn with_authorities(authorities: &str) -> String {
    let servers = r#"[{"server_uri": "top:1", "channel_creds": [{"type": "insecure"}]}]"#;
    format!(r#"{{"xds_servers": {servers}, "authorities": {authorities}}}"#)
}

#[test]
fn authority_without_servers_uses_the_top_list() {
    let text = with_authorities(
        r#"{
            "a": {},
            "b": {"xds_servers": []},
            "c": {"xds_servers": [{"server_uri": "c:1", "channel_creds": [{"type": "tls"}]}],
                  "fallback_on_reachability_only": true},
            "": {}
        }"#,
    );
    let bootstrap = Bootstrap::from_json(&text).unwrap();
    let authority = |name: &str| &bootstrap.authorities()[name];
    assert_eq!(authority("a").servers, bootstrap.servers());
    assert_eq!(authority("b").servers, bootstrap.servers());
    assert_eq!(authority("").servers, bootstrap.servers());
    assert_eq!(authority("c").servers[0].uri.to_string(), "c:1");
    assert!(authority("c").fallback_on_reachability_only);
    assert!(!authority("a").fallback_on_reachability_only);
}

#[test]
fn authority_template_must_begin_with_its_own_authority() {
    let text = with_authorities(
        r#"{
            "a": {"client_listener_resource_name_template": "xdstp://a/x/%s"},
            "b": {"client_listener_resource_name_template": "xdstp://a/x/%s"},
            "c": {"client_listener_resource_name_template": "%s"}
        }"#,
    );
    let error = Bootstrap::from_json(&text).unwrap_err();
    let paths: Vec<&str> = error.problems().iter().map(|problem| &*problem.path).collect();
    assert_eq!(
        paths,
        [
            "authorities[\"b\"].client_listener_resource_name_template",
            "authorities[\"c\"].client_listener_resource_name_template"
        ]
    );
    assert!(error.to_string().contains("must begin with \"xdstp://c/\""), "{error}");
    let built = Bootstrap::builder("h:1").with_authority("a", Some("xdstp://b/%s"), Vec::new());
    assert_eq!(built.build().unwrap_err().problems().len(), 1);
}

#[test]
fn target_with_an_authority_takes_its_template() {
    let bootstrap = Bootstrap::builder("h:1")
        .with_client_listener_template("top/%s")
        .with_authority("a", Some("xdstp://a/envoy.config.listener.v3.Listener/x/%s"), Vec::new())
        .with_authority("b", None, Vec::new())
        .build()
        .unwrap();
    let name = |text: &str| bootstrap.listener_name(&target(text)).to_string();
    assert_eq!(name("xds:///s:1"), "top/s:1");
    assert_eq!(name("xds://a/s 1"), "xdstp://a/envoy.config.listener.v3.Listener/x/s%201");
    assert_eq!(name("xds://b/s"), "xdstp://b/envoy.config.listener.v3.Listener/s");
    // Whose servers nobody knows; the watch of that name fails.
    assert_eq!(name("xds://nobody/s"), "xdstp://nobody/envoy.config.listener.v3.Listener/s");
}

#[test]
fn target_names_an_authority() {
    let made = target("xds://authority/name");
    assert_eq!(made.xds_authority().map(|name| &**name), Some("authority"));
    assert_eq!(&**made.authority(), "name");
    assert_eq!(made.to_string(), "xds://authority/name");
    assert_eq!(target("xds:///name").to_string(), "xds:///name");
    assert_eq!(target("name").xds_authority(), None);
}

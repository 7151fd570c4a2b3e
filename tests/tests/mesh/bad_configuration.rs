//! Mistakes in the YAML are told exactly, and what was good before goes on.

use mesh_tests::{Backend, Control, eventually, get, mesh, yaml};
use mesh_tower::Channel;

/// Puts `text` in place of good routes and expects one error; the good ones keep serving.
async fn is_refused(text: &str, line: u32, field: &str, parts: &[&str]) {
    let backends = Backend::versions("echo", 2).await;
    let routes = |subset: &str| {
        let route = format!("  - route: [{{destination: {{host: echo, subset: {subset}}}}}]\n");
        yaml::routes("echo", &route)
    };
    let good = routes("v1");
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, "HTTP", &backends)),
        ("subsets.yaml", yaml::subsets("echo", &["v1", "v2"])),
        ("routes.yaml", good),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    let generation = control.plane().generation();

    control.write_in_place("routes.yaml", text);
    let found = eventually("diagnostic", || {
        let diagnostics = control.plane().diagnostics();
        diagnostics.iter().find(|diagnostic| diagnostic.is_error()).cloned()
    })
    .await;
    assert!(found.file.ends_with("routes.yaml"), "{found}");
    assert_eq!((found.line, found.field.as_str()), (line, field), "{found}");
    let shown = found.to_string();
    for part in parts {
        assert!(shown.contains(part), "no {part:?} in {shown:?}");
    }
    assert_eq!(control.plane().generation(), generation, "a bad set was published");
    for _ in 0..20 {
        assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    }

    control.write("routes.yaml", &routes("v2"));
    mesh_tests::within("mended routes", async {
        while get(&channel, "/").await.unwrap().version() != "v2" {}
    })
    .await;
    assert!(control.plane().diagnostics().iter().all(|diagnostic| !diagnostic.is_error()));
}

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                    metadata: {name: echo}\nspec:\n  hosts: [echo]\n  http:\n";

#[tokio::test]
async fn missing_subset_is_told_with_the_nearest_one() {
    let text = format!("{HEAD}  - route:\n    - destination: {{host: echo, subset: v11}}\n");
    let field = "spec.http[0].route[0].destination.subset";
    is_refused(&text, 8, field, &["\"v11\"", "did you mean \"v1\"?"]).await;
}

#[tokio::test]
async fn incomplete_file_is_told_with_its_line() {
    let text = format!("{HEAD}  - route:\n    - destination: {{host: echo, subset: \"v1\n");
    let backends = Backend::versions("echo", 2).await;
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, "HTTP", &backends)),
        ("subsets.yaml", yaml::subsets("echo", &["v1", "v2"])),
        (
            "routes.yaml",
            yaml::routes("echo", "  - route: [{destination: {host: echo, subset: v1}}]\n"),
        ),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    control.write_in_place("routes.yaml", &text);
    let found = eventually("diagnostic", || {
        let diagnostics = control.plane().diagnostics();
        diagnostics.iter().find(|diagnostic| diagnostic.is_error()).cloned()
    })
    .await;
    assert!(found.file.ends_with("routes.yaml"), "{found}");
    assert!((8..=9).contains(&found.line), "{found}");
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn unknown_field_is_told_with_the_nearest_name() {
    let route = "  - route: [{destination: {host: echo}}]\n    retires: {attempts: 2}\n";
    let text = format!("{HEAD}{route}");
    is_refused(
        &text,
        8,
        "spec.http[0].retires",
        &["retires", "did you mean", "spec.http[0].retries"],
    )
    .await;
}

#[tokio::test]
async fn weight_inside_destination_is_told_with_its_place() {
    let route = "  - route:\n    - destination:\n        host: echo\n        weight: 100\n";
    let text = format!("{HEAD}{route}");
    let field = "spec.http[0].route[0].destination.weight";
    is_refused(&text, 10, field, &["did you mean", "`spec.http[0].route[0].weight`"]).await;
}

#[tokio::test]
async fn value_of_the_wrong_type_is_told_with_its_place() {
    let route = "  - route: [{destination: {host: echo}}]\n    timeout: soon\n";
    let text = format!("{HEAD}{route}");
    is_refused(&text, 8, "spec.http[0].timeout", &["soon"]).await;
}

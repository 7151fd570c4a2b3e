//! Ways of saving, starting and asking that do not need a stream.

use std::path::Path;

use crate::common::{Ads, ROUTES, SERVICES, eventually, over, request, serve, weights};
use mesh_control::{ControlPlane, ErrorKind};
use mesh_istio::ResourceType::RouteConfiguration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_file_renamed_into_place_is_read() {
    let (folder, control) = serve().await;
    let save = |weights: String| {
        let temporary = folder.path().join(".routes.yaml.tmp");
        std::fs::write(&temporary, weights).unwrap();
        std::fs::rename(&temporary, folder.path().join("routes.yaml")).unwrap();
    };
    for (generation, share) in [(2, 10), (3, 20), (4, 30)] {
        save(weights(share, 100 - share));
        eventually("a published edit", || control.generation() == generation).await;
    }
}

#[tokio::test]
async fn new_folders_files_and_removals_are_seen() {
    let (folder, control) = serve().await;
    let sub = folder.path().join("team/a");
    std::fs::create_dir_all(&sub).unwrap();
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 1}]}\n";
    std::fs::write(sub.join("x.yaml"), service).unwrap();
    eventually("the new file", || control.generation() == 2).await;
    std::fs::remove_dir_all(folder.path().join("team")).unwrap();
    eventually("its removal", || control.generation() == 3).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_swapped_as_kubernetes_does_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let fill = |name: &str, share: u32| {
        std::fs::create_dir(at(name)).unwrap();
        let text = format!("{SERVICES}---\n{}", weights(share, 100 - share));
        std::fs::write(at(name).join("mesh.yaml"), text).unwrap();
    };
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
    fill("..2024_1", 90);
    link("..2024_1", "..data");
    link("..data/mesh.yaml", "mesh.yaml");
    let control = over(folder.path()).await;
    fill("..2024_2", 50);
    link("..2024_2", "..data_tmp");
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    eventually("the swap", || control.generation() == 2).await;
}

#[tokio::test]
async fn the_same_content_is_not_published_twice() {
    let (folder, control) = serve().await;
    let same = weights(90, 10);
    std::fs::write(folder.path().join("routes.yaml"), &same).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    // What comes after both has the next number.
    std::fs::write(folder.path().join("other.yaml"), "# a comment\n").unwrap();
    eventually("the last file", || control.generation() == 2).await;
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_keeps_what_was_served() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mesh");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("services.yaml"), SERVICES).unwrap();
    let control = over(&folder).await;
    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    eventually("the report", || control.diagnostics().iter().any(|d| d.is_error())).await;
    assert_eq!(control.generation(), 1);
    std::fs::rename(parent.path().join("away"), &folder).unwrap();
    eventually("its return", || !control.diagnostics().iter().any(|d| d.is_error())).await;
}

#[tokio::test]
async fn does_not_start_on_files_with_errors() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), weights(1, 1).replace("hosts", "host")).unwrap();
    let error = ControlPlane::builder().folder(folder.path()).serve().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let finding = error.diagnostics().iter().find(|d| d.is_error()).unwrap();
    assert_eq!((finding.line, finding.field.as_str()), (6, "spec.host"));
    assert_eq!(finding.fix.as_deref(), Some("did you mean `spec.hosts`?"));
    let lenient = ControlPlane::builder().folder(folder.path()).lenient(true).serve().await;
    assert!(lenient.is_ok());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let kind = |outcome: Result<ControlPlane, mesh_control::Error>| outcome.unwrap_err().kind();
    let builder = ControlPlane::builder;
    assert_eq!(kind(builder().serve().await), ErrorKind::Settings);
    let folder = tempfile::tempdir().unwrap();
    let good = || builder().folder(folder.path());
    let open = good().admin("0.0.0.0:0".parse().unwrap());
    assert_eq!(kind(open.serve().await), ErrorKind::Settings);
    assert_eq!(kind(good().trust_domain("A b").serve().await), ErrorKind::Settings);
    assert_eq!(kind(builder().folder(Path::new("/nowhere")).serve().await), ErrorKind::Folder);
    let taken = good().serve().await.unwrap();
    assert_eq!(kind(good().xds(taken.xds_addr()).serve().await), ErrorKind::Listen);
}

async fn get(control: &ControlPlane, path: &str) -> serde_json::Value {
    let address = control.admin_addr().unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    serde_json::from_str(response.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn the_admin_endpoint_shows_clients_and_findings() {
    let (folder, control) = serve().await;
    let ready = get(&control, "/ready").await;
    assert_eq!((&ready["ready"], &ready["current"]), (&true.into(), &true.into()));
    let mut ads = Ads::open(&control, request(RouteConfiguration, &[ROUTES])).await;
    let version = ads.accept(&[ROUTES]).await.version_info;
    let status = || async {
        let status = get(&control, "/status").await;
        status["clients"][0]["types"][RouteConfiguration.type_url()].clone()
    };
    let mut seen = status().await;
    while seen["accepted"].is_null() {
        tokio::task::yield_now().await;
        seen = status().await;
    }
    assert_eq!((&seen["accepted"], &seen["names"]), (&version.as_str().into(), &1.into()));
    std::fs::write(folder.path().join("bad.yaml"), "a: [\n").unwrap();
    eventually("the finding", || !control.diagnostics().is_empty()).await;
    let findings = get(&control, "/diagnostics").await;
    assert_eq!(findings["current"], false);
    assert_eq!(findings["diagnostics"][0]["level"], "error");
}

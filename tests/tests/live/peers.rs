//! Programs that are not ours, on the other end of xDS.
//!
//! They are gRPC's own xDS clients, an ADS server made of its protocol buffers, and Envoy. The
//! tests themselves are in `tests/interop/`.

use std::path::Path;

use mesh_tests::process::command;

#[tokio::test]
async fn gets_on_with_peers() {
    let Some(python) = std::env::var_os("MESH_INTEROP_PYTHON") else {
        println!(
            "skipped: needs a Python with tests/interop/requirements.txt, named by \
             MESH_INTEROP_PYTHON; .ci/run makes one"
        );
        return;
    };
    let _turn = super::turn().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let python = python.to_str().expect("a path that is text");
    let mut command = command(python, &["-m", "pytest", "-q", "-p", "no:cacheprovider", "."]);
    command.current_dir(folder).env("MESHCTL", super::MESHCTL);
    command.env("MESH_CLIENT", env!("CARGO_BIN_EXE_client-under-test"));
    command.env("MESH_RECORDS", env!("CARGO_BIN_EXE_records-over-sockets"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let status = command.status().await.unwrap();
    assert!(status.success(), "pytest: {status}");
}

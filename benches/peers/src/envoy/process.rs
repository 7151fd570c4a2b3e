use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mesh_pb::envoy::config::bootstrap::v3::Bootstrap;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use super::traffic;
use crate::contender::BoxError;

/// A running Envoy with one worker. Dropping it kills that process.
#[derive(Debug)]
pub(crate) struct Envoy {
    child: Child,
    admin: SocketAddr,
    /// Its files, removed with it.
    _folder: TempDir,
}

/// Loading 30,000 routes takes some seconds on a busy machine.
const START: Duration = Duration::from_secs(60);

impl Envoy {
    /// Starts it and waits until it serves.
    pub(crate) fn start(bootstrap: &Bootstrap) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let [config, admin, log] =
            ["bootstrap.pb", "admin", "log"].map(|name| folder.path().join(name));
        fs::write(&config, bootstrap.encode_to_vec())?;
        let child = Command::new(program())
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        // From here on the process ends with this, whatever happens.
        let mut envoy = Self { child, admin: any, _folder: folder };
        envoy.admin = envoy.wait(&admin, &log)?;
        Ok(envoy)
    }

    fn wait(&mut self, admin: &PathBuf, log: &PathBuf) -> Result<SocketAddr, BoxError> {
        let started = Instant::now();
        loop {
            // Written once it listens; empty while it is being written.
            if let Some(address) = fs::read_to_string(admin).ok().and_then(|text| text.parse().ok())
            {
                return Ok(address);
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(log)?;
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("it ended with {status}: {last}").into());
            }
            if started.elapsed() > START {
                return Err("it did not start in a minute".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The addresses of its listeners, once all of them listen.
    pub(crate) async fn listeners(&self) -> Result<HashMap<String, SocketAddr>, BoxError> {
        let started = Instant::now();
        while traffic::get(self.admin, "/ready").await?.trim_ascii() != b"LIVE" {
            if started.elapsed() > START {
                return Err("it was not ready in a minute".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = traffic::get(self.admin, "/listeners?format=json").await?;
        let status: Value = serde_json::from_slice(&status)?;
        let statuses = status["listener_statuses"].as_array().ok_or("no listeners")?;
        statuses
            .iter()
            .map(|status| {
                let name = status["name"].as_str().ok_or("a listener without a name")?;
                let socket = &status["local_address"]["socket_address"];
                let host = socket["address"].as_str().ok_or("a listener without an address")?;
                let port = socket["port_value"].as_u64().ok_or("a listener without a port")?;
                Ok((name.to_owned(), SocketAddr::new(host.parse()?, u16::try_from(port)?)))
            })
            .collect()
    }

    /// The CPU time of all its threads.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
            let invalid = || io::Error::new(io::ErrorKind::InvalidData, "schedstat");
            total += Duration::from_nanos(nanoseconds.ok_or_else(invalid)?);
        }
        Ok(total)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

fn program() -> OsString {
    std::env::var_os("ENVOY").unwrap_or_else(|| "envoy".into())
}

/// The version that it says it is.
pub(crate) fn version() -> Result<String, BoxError> {
    let program = program();
    let output = Command::new(&program).arg("--version").output();
    let output = output.map_err(|error| format!("{} does not run: {error}", program.display()))?;
    let text = String::from_utf8(output.stdout)?;
    // "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
    let build = text.split_once("version: ").map_or("", |(_, build)| build);
    Ok(build.split('/').nth(1).unwrap_or("?").to_owned())
}

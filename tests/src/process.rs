//! Programs of the mesh in processes of their own.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use mesh_test::within;

/// A server in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    ready: Value,
}

impl Process {
    /// Starts a prepared server and waits for its ready line.
    pub async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be started");
        let input = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let mut started = Self { child, input, output, ready: Value::Null };
        started.ready = started.line("ready line").await;
        started
    }

    /// What it answers to a command, each a line.
    pub async fn ask(&mut self, command: &str) -> Value {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.expect("it reads its commands");
        self.line(command).await
    }

    async fn line(&mut self, what: &str) -> Value {
        let line = within(what, self.output.next_line()).await.expect("output is text");
        let line = line.unwrap_or_else(|| panic!("it ended before {what}"));
        serde_json::from_str(&line).expect("each line is JSON")
    }

    fn id(&self) -> u32 {
        self.child.id().expect("it runs until this is dropped")
    }

    /// Its ready line.
    pub fn said(&self) -> &Value {
        &self.ready
    }

    /// An address of the ready line.
    pub fn address(&self, field: &str) -> SocketAddr {
        let address = self.ready[field].as_str().and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address {field:?} in {}", self.ready))
    }

    /// Processor time it has used, in hundredths of a second.
    ///
    /// # Panics
    /// Where the system does not tell, as in the next.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = self.proc("stat");
        // After the name in brackets come the state and the rest; these are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|field| field.parse::<u64>().expect("a number")).sum()
    }

    /// Memory it holds, in KiB: now, and the most there was.
    pub fn memory_kib(&self) -> (u64, u64) {
        let status = self.proc("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.id());
        std::fs::read_to_string(path).expect("the system tells of its processes")
    }

    /// Kills it and waits for its end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }
}

/// `program` with these arguments, and nothing of this process' mesh in its environment.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    for variable in ["GRPC_XDS_BOOTSTRAP", "GRPC_XDS_BOOTSTRAP_CONFIG", "MESH", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

//! A client of targets in a process of its own, steered from outside; its bootstrap is that of the
//! environment. Each line of standard input is a command, each line of standard output its result
//! as JSON, `{"ok", "text", "seconds"}`:
//!
//! ```text
//! open TARGET     a channel
//! close TARGET    its end
//! call TARGET     one request through it; `text` is why it failed
//! ```

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use mesh_tests::get;
use mesh_tower::{BoxError, Channel, Mesh};
use mesh_xds_client::Options;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The peers that it is compared with let go of names at once.
    let options = Options::default().with_unsubscribe_delay(Duration::ZERO);
    let mesh = Mesh::builder().bootstrap_from_env().xds_options(options).build()?;
    let mut channels = HashMap::new();
    // Waiting here keeps nothing waiting: the mesh runs on the other threads.
    for line in std::io::stdin().lines() {
        let line = line?;
        let start = Instant::now();
        let result = match line.split_once(' ') {
            Some(("open", target)) => {
                channels.insert(target.to_owned(), Channel::new(&mesh, target)?);
                Ok(())
            }
            Some(("close", target)) => channels.remove(target).map(drop).ok_or_else(unknown),
            Some(("call", target)) => match channels.get(target) {
                Some(channel) => call(channel).await,
                None => Err(unknown()),
            },
            _ => Err(unknown()),
        };
        let text = result.as_ref().err().map(ToString::to_string);
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({"ok": result.is_ok(), "text": text, "seconds": seconds}));
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn call(channel: &Channel) -> Result<(), BoxError> {
    let answer = get(channel, "/mesh.echo.v1.Echo/Unary").await?;
    let good = answer.status.is_success();
    good.then_some(()).ok_or_else(|| answer.status.to_string().into())
}

fn unknown() -> BoxError {
    "no such command or target".into()
}

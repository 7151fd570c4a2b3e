//! A client of targets in a process of its own, steered from outside; its bootstrap is that of the
//! environment. The ready line is `{"ready":true}`. Each line of standard input is a command, each
//! line of standard output its result as JSON, `{"ok", "text", "seconds"}`:
//!
//! ```text
//! open TARGET          a channel
//! close TARGET         its end
//! call TARGET [PATH]   one request through it; `text` is the version that answered, or why none did
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
    println!("{}", json!({"ready": true}));
    // Waiting here keeps nothing waiting: the mesh runs on the other threads.
    for line in std::io::stdin().lines() {
        let line = line?;
        let start = Instant::now();
        let words: Vec<&str> = line.split(' ').collect();
        let result = match words.as_slice() {
            ["open", target] => {
                channels.insert((*target).to_owned(), Channel::new(&mesh, target)?);
                Ok(String::new())
            }
            ["close", target] => {
                channels.remove(*target).map(|_| String::new()).ok_or_else(unknown)
            }
            ["call", target, path @ ..] => match channels.get(*target) {
                Some(channel) => call(channel, path.first().copied().unwrap_or(PATH)).await,
                None => Err(unknown()),
            },
            _ => Err(unknown()),
        };
        let ok = result.is_ok();
        let text = result.unwrap_or_else(|error| error.to_string());
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({"ok": ok, "text": text, "seconds": seconds}));
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn call(channel: &Channel, path: &str) -> Result<String, BoxError> {
    let answer = get(channel, path).await?;
    let good = answer.status.is_success();
    good.then(|| answer.version().to_owned()).ok_or_else(|| answer.status.to_string().into())
}

fn unknown() -> BoxError {
    "no such command or target".into()
}

/// What a call of the echo service would ask for.
const PATH: &str = "/mesh.echo.v1.Echo/Unary";

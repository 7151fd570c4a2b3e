//! A bearer token in a file (gRFC A97).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

/// The longest token that is read, in bytes. Servers take some 8 KiB of headers, and a Kubernetes
/// token has 1 to 2 KiB.
const SIZE_LIMIT: u64 = 64 << 10;

/// The token, if it may still be valid. Who issued it and whether it is signed is for the server to
/// judge.
pub(super) async fn read(path: &Path) -> Result<String, String> {
    let named = |text: &str| format!("token {}: {text}", path.display());
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(|error| named(&error.to_string()))?;
    let read = file.take(SIZE_LIMIT + 1).read_to_string(&mut text).await;
    read.map_err(|error| named(&error.to_string()))?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(named(&format!("is longer than {SIZE_LIMIT} bytes")));
    }
    let token = text.trim();
    let expires = expiry(token).ok_or_else(|| named("is no JWT with an expiry time (exp)"))?;
    // A clock before 1970 tells nothing; the server has its own.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if expires <= now as f64 {
        return Err(named(&format!("expired {} s ago", (now as f64 - expires) as u64)));
    }
    Ok(token.to_owned())
}

/// `exp` of a JWT in compact form, in seconds since 1970 (RFC 7519, 4.1.4).
fn expiry(token: &str) -> Option<f64> {
    let mut parts = token.split('.');
    let (_header, claims) = (parts.next()?, parts.next()?);
    parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_f64()
}

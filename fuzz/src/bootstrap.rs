//! Bootstraps of any bytes, and of a good one with parts of it replaced.

use arbitrary::{Result, Unstructured};
use mesh_xds_client::bootstrap::{Bootstrap, ServerUri, Target};
use serde_json::{Map, Value, json};

/// Every field there is.
const WHOLE: &str = include_str!("../corpus/bootstrap/whole.json");

/// Reads the bytes as a bootstrap, and as what to replace in one.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check(&text);
    address(&text);
    let whole = serde_json::from_str(WHOLE).expect("it is JSON");
    // Too few bytes for anything.
    if let Ok(replaced) = replace(&mut Unstructured::new(bytes), whole) {
        check(&replaced.to_string());
    }
}

/// Reads a bootstrap. One that is refused says where and why; one that is not keeps its promises.
fn check(text: &str) {
    let made = match Bootstrap::from_json(text) {
        Ok(made) => made,
        Err(error) => {
            assert!(!error.problems().is_empty());
            assert!(error.problems().iter().all(|problem| !problem.text.is_empty()));
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(!made.servers().is_empty());
    for (name, authority) in made.authorities() {
        assert!(!authority.servers.is_empty(), "{name:?}");
        assert!(authority.client_listener_template.starts_with("xdstp://"), "{name:?}");
    }
    for watcher in made.certificate_providers().values() {
        assert!(watcher.identity.is_some() || watcher.roots.is_some());
        assert!(!watcher.refresh_interval.is_zero());
    }
    for target in ["xds:///a b/ü:1", "xds://authority/a", "host:80"] {
        let target: Target = target.parse().expect("it is a target");
        let name = made.listener_name(&target);
        let is_encoded = !name.starts_with("xdstp:") || !name.contains("a b");
        assert!(is_encoded, "{name:?}");
    }
    let _ = made.ask();
}

/// What is read as an address or a target is written as the same.
fn address(text: &str) {
    if let Ok(uri) = text.parse::<ServerUri>() {
        assert_eq!(uri.to_string().parse(), Ok(uri), "{text:?}");
    }
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target), "{text:?}");
    }
}

/// The value with some of its parts replaced or taken out.
fn replace(bytes: &mut Unstructured<'_>, mut value: Value) -> Result<Value> {
    for _ in 0..bytes.int_in_range(1..=4)? {
        replace_in(bytes, &mut value)?;
    }
    Ok(value)
}

/// Goes down to a part; each step is as likely to be the last.
fn replace_in(bytes: &mut Unstructured<'_>, value: &mut Value) -> Result<()> {
    if bytes.ratio(3, 4)? {
        match value {
            Value::Object(map) if !map.is_empty() => {
                let at = bytes.choose_index(map.len())?;
                return replace_in(bytes, map.values_mut().nth(at).expect("it is within"));
            }
            Value::Array(values) if !values.is_empty() => {
                let at = bytes.choose_index(values.len())?;
                return replace_in(bytes, &mut values[at]);
            }
            _ => {}
        }
    }
    *value = some_value(bytes, value)?;
    Ok(())
}

fn some_value(bytes: &mut Unstructured<'_>, before: &Value) -> Result<Value> {
    Ok(match bytes.int_in_range(0..=9)? {
        0 => Value::Null,
        1 => json!(bytes.arbitrary::<i64>()?),
        2 => json!(bytes.arbitrary::<bool>()?),
        3 => json!(bytes.arbitrary::<&str>()?),
        4 => json!([]),
        5 => json!({}),
        6 => json!([before, before]),
        7 => Value::Object(Map::from_iter([(bytes.arbitrary::<String>()?, before.clone())])),
        8 => {
            json!(*bytes.choose(&["tls", "insecure", "file_watcher", "0s", "%s", "xdstp://a/"])?)
        }
        _ => {
            json!(*bytes.choose(&["unix:a", "ipv6:[::1]:1", "dns:///a:1", "1.5s", "xds.envoy"])?)
        }
    })
}

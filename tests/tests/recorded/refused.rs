use serde_json::Value;

/// What differs between two refusals of a configuration: that it is one, and the field where
/// Envoy names one.
pub(crate) fn differences(expected: &Value, got: &Value) -> Vec<String> {
    if got["outcome"] != "config_rejected" {
        return vec![format!("refused: {}", expected["error"])];
    }
    let theirs = expected["error"].as_str().unwrap_or_default();
    let ours = got["error"].as_str().unwrap_or_default();
    match field(theirs) {
        Some(field) if !ours.starts_with(&field) => vec![format!("{field} expected, got {ours}")],
        _ => Vec::new(),
    }
}

/// The path of the field that Envoy's text names, if any: what its JSON parser could not place, or
/// what the constraints of the protos forbid.
fn field(error: &str) -> Option<String> {
    if error.starts_with("unparsable") {
        let path = error.split("typed_config.<any>.").nth(1)?;
        return Some(path.split(':').next()?.to_owned());
    }
    let constraint = error.strip_prefix("Proto constraint validation failed")?;
    let steps = constraint.split("ValidationError.").skip(1);
    let steps: Vec<String> =
        steps.filter_map(|step| step.split(':').next()).map(snake_case).collect();
    (!steps.is_empty()).then(|| steps.join("."))
}

/// `VirtualHosts[0]` as `virtual_hosts[0]`.
fn snake_case(name: &str) -> String {
    let mut made = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !made.is_empty() {
            made.push('_');
        }
        made.push(letter.to_ascii_lowercase());
    }
    made
}

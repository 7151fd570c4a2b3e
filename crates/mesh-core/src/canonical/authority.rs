//! Ports and final dots of authorities.

/// The authority without its port, if it has one: any, or only this one.
pub(super) fn without_port(authority: &str, only: Option<u16>) -> Option<String> {
    let colon = authority.rfind(':')?;
    // The colons of an IPv6 address are inside its brackets.
    if authority.rfind(']').is_some_and(|end| end > colon) {
        return None;
    }
    let port: u32 = authority[colon + 1..].parse().ok()?;
    match only {
        Some(only) if port != u32::from(only) => None,
        _ => Some(authority[..colon].to_owned()),
    }
}

/// The authority without a dot at the end of its host.
pub(super) fn without_trailing_dot(authority: &str) -> Option<String> {
    let dot = authority.rfind('.')?;
    let rest = &authority[dot + 1..];
    (rest.is_empty() || rest.starts_with(':')).then(|| format!("{}{rest}", &authority[..dot]))
}

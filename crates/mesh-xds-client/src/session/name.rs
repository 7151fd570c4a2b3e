//! Names of the form `xdstp://authority/type/id?context` (gRFC A47, xRFC TP1).

use mesh_core::ResourceType;
use mesh_core::resource::Name;

use super::wire::{WILDCARD, type_url};

const SCHEME: &str = "xdstp:";

/// The authority that a name of the new style gives; `None` for one of the old style.
pub(super) fn authority(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(SCHEME)?;
    // Without `//`, as in `xdstp:/type/id`, the authority is left out.
    let rest = rest.strip_prefix("//").unwrap_or("");
    Some(rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// Whether the name has context parameters, so that there may be more than one way to write it.
pub(super) fn has_context(name: &str) -> bool {
    name.starts_with(SCHEME) && name.contains('?')
}

/// The name with its context parameters in order: the same parameters in another order name the
/// same resource. `None` when it is that already.
pub(super) fn canonical(name: &str) -> Option<Name> {
    let (path, query) = name.strip_prefix(SCHEME)?.split_once('?')?;
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (query, None),
    };
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_unstable();
    let mut made = format!("{SCHEME}{path}?{}", parameters.join("&"));
    if let Some(fragment) = fragment {
        made.push('#');
        made.push_str(fragment);
    }
    (made != name).then(|| made.into())
}

/// What is wrong with a name that is to be one of a resource of that type.
pub(super) fn problem(kind: ResourceType, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name is empty".to_owned());
    }
    if name == WILDCARD {
        return Some("the name stands for all resources".to_owned());
    }
    let rest = name.strip_prefix(SCHEME)?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => rest.strip_prefix('/').unwrap_or(""),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let (given, id) = path.split_once('/').unwrap_or((path, ""));
    let expected = type_url(kind).rsplit('/').next().unwrap_or_default();
    if given != expected {
        return Some(format!("the name is of type {given:?}, not {expected:?}"));
    }
    let told = if id.is_empty() {
        "the name has no id"
    } else if id == WILDCARD || id.ends_with("/*") {
        // Collections (xRFC TP1): what is wanted here is always wanted by its own name.
        "the name is of a collection, which is not supported"
    } else if rest.contains('#') {
        "the name has directives, which are not supported"
    } else {
        return None;
    };
    Some(told.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_is_what_stands_between_the_slashes() {
        for (name, expected) in [
            ("plain", None),
            ("xdstp://a.b/t/id", Some("a.b")),
            ("xdstp:///t/id", Some("")),
            ("xdstp:/t/id", Some("")),
            ("xdstp://a", Some("a")),
            ("xdstp://a?x=1", Some("a")),
        ] {
            assert_eq!(authority(name), expected, "{name}");
        }
    }

    #[test]
    fn context_parameters_are_put_in_order() {
        let name = "xdstp://a/t/id?z=1&b=2&c=3#f";
        assert_eq!(canonical(name).as_deref(), Some("xdstp://a/t/id?b=2&c=3&z=1#f"));
        for same in ["plain?z=1&a=2", "xdstp://a/t/id", "xdstp://a/t/id?a=1&b=2"] {
            assert_eq!(canonical(same), None, "{same}");
        }
    }

    #[test]
    fn name_must_be_of_the_type_asked_for() {
        let kind = ResourceType::Cluster;
        assert_eq!(problem(kind, "plain"), None);
        assert!(problem(kind, "").is_some() && problem(kind, "*").is_some());
        assert_eq!(problem(kind, "xdstp://a/envoy.config.cluster.v3.Cluster/c"), None);
        assert_eq!(problem(kind, "xdstp:///envoy.config.cluster.v3.Cluster/c/d?x=y"), None);
        let text = problem(kind, "xdstp://a/envoy.config.listener.v3.Listener/c").unwrap();
        assert!(text.contains("Listener"), "{text}");
        let text = problem(kind, "xdstp://a/envoy.config.cluster.v3.Cluster").unwrap();
        assert!(text.contains("no id"), "{text}");
        assert!(problem(kind, "xdstp:").is_some());
        for (id, expected) in [
            ("*", "a collection"),
            ("c/*", "a collection"),
            ("c/*?a=b", "a collection"),
            ("c#d", "directives"),
            ("c?a=b#d", "directives"),
        ] {
            let name = format!("xdstp://a/envoy.config.cluster.v3.Cluster/{id}");
            let text = problem(kind, &name).unwrap_or_default();
            assert!(text.contains(expected), "{name}: {text}");
        }
        assert_eq!(problem(kind, "xdstp://a/envoy.config.cluster.v3.Cluster/c*"), None);
    }
}

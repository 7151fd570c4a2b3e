//! Canonical forms of paths.

use http::{HeaderMap, Method};
use mesh_core::canonical::canonicalize;
use mesh_core::filter::Request;
use mesh_core::resource::{CanonicalOptions, PathWithEscapedSlashesAction};

/// The first byte selects the options, the others are the path.
pub fn run(bytes: &[u8]) {
    let Some((choice, path)) = bytes.split_first() else { return };
    let Ok(path) = str::from_utf8(path) else { return };
    let options = options(*choice);
    let Some(once) = canonical(&options, path) else { return };
    assert_eq!(canonical(&options, &once).as_ref(), Some(&once), "{path:?} {options:?}");
    if options.path.normalize_path {
        let plain = once.split('?').next().unwrap_or_default();
        let is_dots =
            |segment: &str| matches!(&*segment.to_lowercase().replace("%2e", "."), "." | "..");
        assert!(!plain.split('/').skip(1).any(is_dots), "{path:?} became {once:?}");
        assert!(!plain.contains('\\'), "{path:?} became {once:?}");
        if path.starts_with('/') && is_plain(path) {
            assert_eq!(once, model(&options, path), "{path:?} {options:?}");
        }
    }
    if options.path.merge_slashes {
        let plain = once.split('?').next().unwrap_or_default();
        assert!(!plain.contains("//") || plain == "//", "{path:?} became {once:?}");
    }
    let (query, made) =
        (path.split_once('?').map(|(_, q)| q), once.split_once('?').map(|(_, q)| q));
    assert_eq!(query, made, "the query changed");
}

fn options(choice: u8) -> CanonicalOptions {
    let mut made = CanonicalOptions::default();
    made.path.normalize_path = choice & 1 != 0;
    made.path.merge_slashes = choice & 2 != 0;
    made.path.path_with_escaped_slashes_action = match choice >> 2 & 3 {
        0 => PathWithEscapedSlashesAction::KeepUnchanged,
        1 => PathWithEscapedSlashesAction::RejectRequest,
        2 => PathWithEscapedSlashesAction::UnescapeAndForward,
        _ => PathWithEscapedSlashesAction::UnescapeAndRedirect,
    };
    made
}

/// The path that goes on; `None` when the request is answered.
fn canonical(options: &CanonicalOptions, path: &str) -> Option<String> {
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    let mut request = Request::new(&mut method, "a", path, &mut headers);
    let reply = canonicalize(options, &[], &mut request);
    reply.is_none().then(|| request.path.into_owned())
}

/// Whether a path is of the letters the model knows.
fn is_plain(path: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "/.-_~?=&;".contains(c);
    path.chars().all(known)
}

/// RFC 3986 §5.2.4 over a list of segments, then one slash for several.
fn model(options: &CanonicalOptions, path: &str) -> String {
    let (plain, query) = match path.split_once('?') {
        Some((plain, query)) => (plain, format!("?{query}")),
        None => (path, String::new()),
    };
    let segments: Vec<&str> = plain.split('/').skip(1).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut made = format!("/{}", kept.join("/"));
    if options.path.merge_slashes {
        while made.contains("//") && made != "//" {
            made = made.replace("//", "/");
            if made == "/" && plain.starts_with("//") {
                break;
            }
        }
    }
    made + &query
}

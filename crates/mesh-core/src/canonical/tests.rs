use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::path::{Canonical, canonical};
use super::*;
use crate::origin::Origin;
use crate::testing::text_of;

/// `n`: normalize; `m`: merge slashes; `r`, `d`, `f`: reject, redirect and forward escaped ones.
fn options(letters: &str) -> PathOptions {
    use PathWithEscapedSlashesAction::*;
    let mut options = PathOptions::default();
    options.normalize_path = letters.contains('n');
    options.merge_slashes = letters.contains('m');
    options.path_with_escaped_slashes_action = match letters.as_bytes()[2] {
        b'r' => RejectRequest,
        b'd' => UnescapeAndRedirect,
        b'f' => UnescapeAndForward,
        _ => KeepUnchanged,
    };
    options
}

use crate::resource::PathWithEscapedSlashesAction;

/// What Envoy 1.40 was seen to do; `!` is a refusal, `>` a redirect.
const SEEN: &[(&str, &str, &str)] = &[
    ("n--", "/a/../b", "/b"),
    ("nmd", "/a/../b", "/b"),
    ("nm-", "/a%2Fb", "/a%2Fb"),
    ("--r", "/a%2Fb", "!"),
    ("--f", "/a%2Fb", "/a/b"),
    ("nmd", "/a%2Fb", "> /a/b"),
    ("nm-", "/a%5cb", "/a%5cb"),
    ("--r", "/a%5cb", "!"),
    ("--f", "/a%5cb", "/a\\b"),
    ("nmd", "/a%5cb", "> /a/b"),
    ("n--", "/a\\b", "/a/b"),
    ("nmd", "/a\\b", "/a/b"),
    ("nm-", "/a%2fb?x=%2f", "/a%2fb?x=%2f"),
    ("--r", "/a%2fb?x=%2f", "!"),
    ("--f", "/a%2fb?x=%2f", "/a/b?x=%2f"),
    ("nmd", "/a%2fb?x=%2f", "> /a/b?x=%2f"),
    ("n--", "/%2e%2E/x", "/x"),
    ("nmd", "/%2e%2E/x", "/x"),
    ("-m-", "/a//b", "/a/b"),
    ("nmd", "/a//b", "/a/b"),
    ("nm-", "//", "//"),
    ("nm-", "/a/%2f/b", "/a/%2f/b"),
    ("--r", "/a/%2f/b", "!"),
    ("--f", "/a/%2f/b", "/a///b"),
    ("nmd", "/a/%2f/b", "> /a/b"),
    ("nm-", "/a%c3%a9", "/a%c3%a9"),
    ("nm-", "/a%C3%a9", "/a%C3%a9"),
    ("n--", "/a%7Eb%41%2D", "/a~bA-"),
    ("nmd", "/a%7Eb%41%2D", "/a~bA-"),
    ("nm-", "/a%20b", "/a%20b"),
    ("n--", "/a|b^c`d{e}\"<>", "/a%7Cb%5Ec%60d%7Be%7D%22%3C%3E"),
    ("nmd", "/a|b^c`d{e}\"<>", "/a%7Cb%5Ec%60d%7Be%7D%22%3C%3E"),
    ("nm-", "/a;b,c!$&'()*+=:@", "/a;b,c!$&'()*+=:@"),
    ("nm-", "/a[b]", "/a[b]"),
    ("n--", "/%00", "!"),
    ("nmd", "/%00", "!"),
    ("nm-", "/%", "/%"),
    ("nm-", "/%4", "/%4"),
    ("nm-", "/%zz", "/%zz"),
    ("n--", "/a?b#c", "!"),
    ("-m-", "/a?b#c", "!"),
    ("--r", "/a?b#c", "!"),
    ("--f", "/a?b#c", "!"),
    ("nmd", "/a?b#c", "!"),
    ("n--", "/a#c?d", "!"),
    ("-m-", "/a#c?d", "!"),
    ("--r", "/a#c?d", "!"),
    ("--f", "/a#c?d", "!"),
    ("nmd", "/a#c?d", "!"),
    ("nm-", "/a%23b", "/a%23b"),
    ("nm-", "/a%3fb", "/a%3fb"),
    ("nm-", "/a%25b", "/a%25b"),
    ("n--", "/a/..", "/"),
    ("nmd", "/a/..", "/"),
    ("n--", "/a/../", "/"),
    ("nmd", "/a/../", "/"),
    ("nm-", "/..a", "/..a"),
    ("n--", "/a/.", "/a/"),
    ("nmd", "/a/.", "/a/"),
    ("nm-", "/a/..b", "/a/..b"),
    ("nm-", "/.../x", "/.../x"),
    ("n--", "/a/b/../../../c?x=//../y", "/c?x=//../y"),
    ("nmd", "/a/b/../../../c?x=//../y", "/c?x=//../y"),
    ("n--", "/%2e", "/"),
    ("nmd", "/%2e", "/"),
    ("n--", "/%2e%2e%2f", "/..%2f"),
    ("--r", "/%2e%2e%2f", "!"),
    ("--f", "/%2e%2e%2f", "/%2e%2e/"),
    ("nmd", "/%2e%2e%2f", "> /"),
    ("n--", "/a%2e%2e/b", "/a../b"),
    ("nmd", "/a%2e%2e/b", "/a../b"),
    ("n--", "/a/.%2e/b", "/b"),
    ("nmd", "/a/.%2e/b", "/b"),
    ("nm-", "/a/%5c%5c/b", "/a/%5c%5c/b"),
    ("--r", "/a/%5c%5c/b", "!"),
    ("--f", "/a/%5c%5c/b", "/a/\\\\/b"),
    ("nmd", "/a/%5c%5c/b", "> /a/b"),
    ("n--", "/\\\\b", "///b"),
    ("nmd", "/\\\\b", "/b"),
    ("n--", "/a\\..\\b", "/b"),
    ("nmd", "/a\\..\\b", "/b"),
    ("nm-", "/a%0ab", "/a%0ab"),
    ("nm-", "/a%7f", "/a%7f"),
    ("nm-", "/a%80", "/a%80"),
    ("nm-", "/a%1F", "/a%1F"),
    ("n--", "/a/b//../c", "/a/b/c"),
    ("-m-", "/a/b//../c", "/a/b/../c"),
    ("nmd", "/a/b//../c", "/a/b/c"),
    ("n--", "/a//../c", "/a/c"),
    ("-m-", "/a//../c", "/a/../c"),
    ("nmd", "/a//../c", "/a/c"),
    ("-m-", "/a///", "/a/"),
    ("nmd", "/a///", "/a/"),
    ("-m-", "///a", "/a"),
    ("nmd", "///a", "/a"),
    ("nm-", "/a/?", "/a/?"),
    ("nm-", "/?", "/?"),
    ("nm-", "/a?b=c%2f//", "/a?b=c%2f//"),
    ("nm-", "/a%09b", "/a%09b"),
    ("nm-", "/a'b", "/a'b"),
    ("nm-", "/a%27b", "/a%27b"),
    ("n--", "/a%2Db%5F%7e%2E%30", "/a-b_~.0"),
    ("nmd", "/a%2Db%5F%7e%2E%30", "/a-b_~.0"),
    ("n--", "/a/%2E/", "/a/"),
    ("nmd", "/a/%2E/", "/a/"),
    ("nm-", "/a%5C", "/a%5C"),
    ("--r", "/a%5C", "!"),
    ("--f", "/a%5C", "/a\\"),
    ("nmd", "/a%5C", "> /a/"),
    ("nm-", "/a%2F", "/a%2F"),
    ("--r", "/a%2F", "!"),
    ("--f", "/a%2F", "/a/"),
    ("nmd", "/a%2F", "> /a/"),
    ("nm-", "/%2F", "/%2F"),
    ("--r", "/%2F", "!"),
    ("--f", "/%2F", "//"),
    ("nmd", "/%2F", "> //"),
    ("nm-", "/%2f%2f", "/%2f%2f"),
    ("--r", "/%2f%2f", "!"),
    ("--f", "/%2f%2f", "///"),
    ("nmd", "/%2f%2f", "> //"),
    ("n--", "/a/./", "/a/"),
    ("nmd", "/a/./", "/a/"),
    ("n--", "/a/%2e./x", "/x"),
    ("nmd", "/a/%2e./x", "/x"),
    ("n--", "/x/;/../y", "/x/y"),
    ("nmd", "/x/;/../y", "/x/y"),
    ("n--", "/x/%3b/..", "/x/"),
    ("nmd", "/x/%3b/..", "/x/"),
    ("n--", "/a^b%5e", "/a%5Eb%5e"),
    ("nmd", "/a^b%5e", "/a%5Eb%5e"),
];

fn told(options: &PathOptions, path: &str) -> String {
    match canonical(options, path) {
        Canonical::Same => path.to_owned(),
        Canonical::Changed(path) => path,
        Canonical::Redirect(path) => format!("> {path}"),
        Canonical::Invalid => "!".to_owned(),
    }
}

#[test]
fn makes_of_paths_what_envoy_makes_of_them() {
    for (letters, path, want) in SEEN {
        assert_eq!(told(&options(letters), path), *want, "{letters} {path}");
    }
}

/// Envoy's rules step by step, on a list of segments.
fn naive(path: &str) -> Option<String> {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(character) = rest.chars().next() {
        let hex = rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (character, hex) {
            ('%', Some(0)) => return None,
            ('%', Some(byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte as char);
                rest = &rest[3..];
            }
            ('\\', _) => {
                decoded.push('/');
                rest = &rest[1..];
            }
            (kept, _) => {
                decoded.push(kept);
                rest = &rest[kept.len_utf8()..];
            }
        }
    }
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<&str> = decoded.split('/').skip(1).collect();
    for (at, segment) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        match *segment {
            "." if is_last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    Some(format!("/{}{query}", segments.join("/")))
}

const LETTERS: &[char] = &['/', '/', '.', '.', '%', '2', 'e', 'F', '5', 'c', 'a', '\\', '?', '0'];

proptest! {
    #[test]
    fn normalizes_as_a_list_of_segments_does(path in text_of(LETTERS, 0..16)) {
        let path = format!("/{path}");
        let want = naive(&path).unwrap_or("!".to_owned());
        prop_assert_eq!(told(&options("n--"), &path), want);
    }

    #[test]
    fn what_is_canonical_stays(path in text_of(LETTERS, 0..16), merge: bool, forward: bool) {
        let letters = format!("n{}{}", if merge { 'm' } else { '-' }, if forward { 'f' } else { '-' });
        let options = options(&letters);
        let once = told(&options, &format!("/{path}"));
        // What is unescaped once may hold an escape of an escape, which Envoy leaves as well.
        prop_assume!(once != "!" && !once.contains('%'));
        prop_assert_eq!(told(&options, &once), once);
    }

    #[test]
    fn never_leaves_a_dot_segment(path in text_of(LETTERS, 0..16)) {
        let made = told(&options("nm-"), &format!("/{path}"));
        let path = made.split('?').next().unwrap_or_default().to_owned();
        prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{}", path);
    }
}

#[test]
fn strips_ports_and_final_dots() {
    use super::authority::{without_port, without_trailing_dot};
    let table = [
        ("a:80", Some("a"), Some("a"), None),
        ("a:081", Some("a"), None, None),
        ("a:99", Some("a"), None, None),
        ("a:", None, None, None),
        ("a:x", None, None, None),
        ("[::1]", None, None, None),
        ("[::1]:80", Some("[::1]"), Some("[::1]"), None),
        ("user@a:80", Some("user@a"), Some("user@a"), None),
        ("a.", None, None, Some("a")),
        ("a.:80", Some("a."), Some("a."), Some("a:80")),
        ("a..", None, None, Some("a.")),
        ("a:80.", None, None, Some("a:80")),
        (".", None, None, Some("")),
    ];
    for (given, any, only_80, dot) in table {
        assert_eq!(without_port(given, None).as_deref(), any, "{given}");
        assert_eq!(without_port(given, Some(80)).as_deref(), only_80, "{given}");
        assert_eq!(without_trailing_dot(given).as_deref(), dot, "{given}");
    }
}

fn from_outside(port: u16) -> Origin {
    let mut origin = Origin::APPLICATION;
    origin.peer = Some(([127, 0, 0, 1], 5000).into());
    origin.local = Some(([127, 0, 0, 1], port).into());
    origin
}

#[test]
fn strips_the_listeners_port_after_the_final_dot() {
    let mut options = CanonicalOptions::default();
    options.strip_port = StripPort::Matching;
    options.strip_trailing_host_dot = true;
    let origin = from_outside(8080);
    for (given, want) in [("a.:8080", "a"), ("a:8080", "a"), ("a:80", "a:80"), ("a", "a")] {
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        let mut request = Request::new(&mut method, given, "/", &mut headers);
        request.origin = &origin;
        assert!(canonicalize(&options, &[], &mut request).is_none());
        assert_eq!(request.authority, want);
    }
}

#[test]
fn takes_steering_headers_from_strangers_only() {
    let names = ["x-envoy-retry-on", "x-secret", "x-envoy-attempt-count", "x-plain"];
    let internal_only = [HeaderName::from_static("x-secret")];
    let outside = from_outside(1);
    for (origin, left) in [(Origin::application(), 4), (&outside, 2)] {
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        for name in names {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let mut request = Request::new(&mut method, "a", "/", &mut headers);
        request.origin = origin;
        assert!(canonicalize(&CanonicalOptions::default(), &internal_only, &mut request).is_none());
        assert_eq!(headers.len(), left);
    }
}

#[test]
fn refuses_or_drops_headers_with_underscores() {
    let answer = |action| {
        let mut options = CanonicalOptions::default();
        options.headers_with_underscores_action = action;
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        headers.insert("x_u", HeaderValue::from_static("1"));
        let reply =
            canonicalize(&options, &[], &mut Request::new(&mut method, "a", "/", &mut headers));
        (reply.map(|reply| (reply.status.as_u16(), reply.details)), headers.len())
    };
    assert_eq!(answer(HeadersWithUnderscoresAction::Allow), (None, 1));
    assert_eq!(answer(HeadersWithUnderscoresAction::Drop), (None, 0));
    let refused = Some((400, "http1.unexpected_underscore".into()));
    assert_eq!(answer(HeadersWithUnderscoresAction::Reject), (refused, 1));
}

#[test]
fn refuses_a_fragment_without_any_option() {
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    let mut request = Request::new(&mut method, "a", "/a#b", &mut headers);
    let reply = canonicalize(&CanonicalOptions::default(), &[], &mut request).unwrap();
    assert_eq!((reply.status.as_u16(), &*reply.details), (400, "path_normalization_failed"));
}

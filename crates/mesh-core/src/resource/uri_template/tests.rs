use proptest::prelude::*;

use super::{TemplateRewrite, UriTemplate};
use crate::testing::text_of;

#[test]
fn templates_match_whole_paths() {
    let table = [
        ("/bar/{country}/{lang}", "/bar/en/usa", true),
        ("/bar/{country}/{lang}", "/bar/en", false),
        ("/bar/{country}/{lang}", "/bar/en/usa/", false),
        ("/*/b", "/a/b", true),
        ("/*/b", "//b", false),
        ("/**", "/", true),
        ("/a/**/z", "/a/b/c/z", true),
        ("/a/**/z", "/a//z", true),
        ("/a/**/z", "/a/z", false),
        ("/{file}.html", "/index.html", true),
        ("/{file}.html", "/index.htmx", false),
        ("/{path=a/*/**}", "/a/b/c/d", true),
        ("/{path=a/*/**}", "/b/b/c/d", false),
        ("/a/", "/a/", true),
        ("/a/", "/a", false),
        ("/", "/", true),
        ("/a.b", "/axb", false),
        ("/{x}", "/a[b]", false),
        ("/{x}", "/é", false),
    ];
    for (template, path, want) in table {
        assert_eq!(UriTemplate::new(template).unwrap().is_match(path), want, "{template} {path}");
    }
}

#[test]
fn templates_that_are_refused_say_why() {
    let table = [
        ("", "is empty"),
        ("a", "Invalid pattern"),
        ("/a b", "Invalid pattern"),
        ("/rest/{one/{two}", "Invalid variable name: \"one/{two\""),
        ("/{}", "Invalid variable"),
        ("/{a", "Unmatched variable bracket"),
        ("/{a=}", "Empty variable match"),
        ("/{a=*/}", "Invalid variable match"),
        ("/{a=*b}", "Invalid variable match"),
        ("/{1a}", "Invalid variable name"),
        ("/{a}/{a}", "Repeated variable name"),
        ("/{abcdefghijklmnopq}", "Invalid variable name length"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}", "Exceeded variable count limit (5)"),
        ("/{m=**}/{two}", "Implicit variable path glob after text glob."),
        ("/**/*", "Glob after text glob."),
        ("/**/{a=*}", "Glob after text glob."),
        ("/a{b}", "Invalid literal"),
        ("/a//b", "Invalid literal"),
        ("/{a}b/c", "Prefix match not supported"),
        ("/***", "Invalid literal"),
    ];
    for (template, want) in table {
        let error = UriTemplate::new(template).unwrap_err().to_string();
        assert!(error.contains(want), "{template}: {error}");
    }
    assert!(UriTemplate::new(&format!("/{}", "a".repeat(256))).is_err());
}

#[test]
fn rewrites_put_variables_together() {
    let template = UriTemplate::new("/{a}/x/{b=**}").unwrap();
    let rewrite = |source| TemplateRewrite::new(source, &template);
    let made = rewrite("/{b}-{a}/{a}").unwrap();
    assert_eq!(made.rewrite("/1/x/2/3").as_deref(), Some("/2/3-1/1"));
    assert_eq!(made.rewrite("/1/y/2"), None);
    assert_eq!(rewrite("fixed").unwrap().rewrite("/1/x/").as_deref(), Some("fixed"));
    for (bad, want) in [
        ("/{c}", "mismatch between variables"),
        ("/{a", "Unmatched variable bracket"),
        ("/*", "Invalid rewrite literal pattern"),
        ("/{}", "Invalid variable name"),
        ("", "is empty"),
    ] {
        assert!(rewrite(bad).unwrap_err().to_string().contains(want), "{bad}");
    }
}

/// A template of literals, `*` and at most one `**` at its end, matched segment by segment.
fn naive(template: &[&str], path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let mut segments = path.split('/');
    for (at, part) in template.iter().enumerate() {
        if *part == "**" {
            assert_eq!(at + 1, template.len());
            return segments.next().is_some();
        }
        match segments.next() {
            Some(segment) if *part == "*" && !segment.is_empty() => {}
            Some(segment) if segment == *part => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

proptest! {
    #[test]
    fn template_matches_as_segments_do(
        parts in prop::collection::vec(prop::sample::select(vec!["a", "ab", "*"]), 1..4),
        globbed in any::<bool>(),
        as_variables in any::<bool>(),
        path in text_of(&['/', 'a', 'b'], 0..7),
    ) {
        let mut parts = parts;
        if globbed {
            parts.push("**");
        }
        let named = parts.iter().enumerate().map(|(at, part)| match *part {
            part @ ("*" | "**") if as_variables => format!("{{v{at}={part}}}"),
            part => part.to_owned(),
        });
        let template = format!("/{}", named.collect::<Vec<_>>().join("/"));
        let path = format!("/{path}");
        let made = UriTemplate::new(&template).unwrap();
        prop_assert_eq!(made.is_match(&path), naive(&parts, &path), "{} {}", template, path);
    }

    #[test]
    fn no_template_panics(source in "[/{}*=a-c.\\[(]{0,20}", path in "[/a-c.]{0,10}") {
        if let Ok(template) = UriTemplate::new(&source) {
            template.is_match(&path);
        }
        if let Ok(template) = UriTemplate::new(&format!("/{source}"))
            && let Ok(rewrite) = TemplateRewrite::new(&source, &template)
        {
            rewrite.rewrite(&path);
        }
    }
}

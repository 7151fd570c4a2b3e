use crate::resource::Regex;

#[test]
fn what_re2_refuses_is_refused() {
    for bad in [
        "a**",
        "a*+",
        "a+*",
        "a??*",
        "a{2}{3}",
        "a{2}*",
        "x*+",
        "a{1001}",
        "a{1,1001}",
        "(a{1000}){2}",
        "((a{100}){10}){2}",
        "(?x)a",
        "(?u)a",
        "(?R)a",
        "(?!a)",
        "(?#c)a",
        "[[:foo:]]",
        r"\u0041",
        r"\U0041",
        r"\8",
        r"\1",
    ] {
        assert!(Regex::new(bad).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn what_re2_takes_means_the_same() {
    let table = [
        (r"\Qa.b\E+", "a.bb", true),
        (r"\Qa.b\E", "axb", false),
        (r"\Qa*", "a*", true),
        (r"a\Cc", "a\tc", true),
        (r"\C\C", "é", true),
        (r"\141", "a", true),
        (r"\0", "\0", true),
        (r"\0611", "11", true),
        (r"[\141-\143]+", "abc", true),
        ("a*?b", "aab", true),
        ("a{1,3}?", "aa", true),
        ("a{1000}", &"a".repeat(1000), true),
        ("(?:a+)*", "aaa", true),
        ("(?i)ABC", "abc", true),
        ("(?P<n>a)", "a", true),
        ("(?<n>a)", "a", true),
        ("[[:^alpha:]]", "1", true),
        ("[*+?]{2}", "*+", true),
    ];
    for (source, text, want) in table {
        assert_eq!(Regex::new(source).unwrap().is_full_match(text), want, "{source} {text}");
    }
}

/// Sizes that Envoy 1.40 tells.
#[test]
fn programs_are_as_large_as_those_of_re2() {
    let table: &[(usize, &str)] = &[
        (5, "a"),
        (6, "."),
        (7, r"\w"),
        (4, "a{0}"),
        (6, "é"),
        (5, "(?:-|-)"),
        (6, "(?:a|a)b"),
        (6, "-{0}|b"),
        (6, "$+"),
        (6, r"\z{1,}"),
        (6, r"\z+"),
        (15, r"(|(\z{1,}|))??"),
        (11, r"(\z{1,}|)"),
        (10, "/-|$+"),
        (7, "/-|-"),
        (8, "/-|(?:-|-)"),
        (12, "/-|$+|(?:-|-)"),
        (8, "(-{0}|b)"),
        (14, r"\.{0,3}a|aa{2}"),
        (16, r"(\.{0,3}a|aa{2})"),
        (20, r"(?:(?i:a)\w|ü?(a|c)|/api|/api)*"),
        (9, "(?:/api|/api)*"),
        (8, "/api|/api"),
        (17, "(x{1,}a{0,1}1a|a|a)?b"),
        (10, "(xa|a|a)"),
        (12, "(xa|a|a)?b"),
        (11, r"\A{0,3}|\/{0,3}"),
        (7, "aa|a|a"),
        (6, "(?:a|a)*"),
        (7, "(?:-|-|x)"),
        (10, "(aa|a|a)?"),
        (7, "(a|a)*"),
        (8, "x|(?:ab|ab)"),
        (5, "(?:(?:c|a)|a|b)"),
        (14, "c{1,}|aa{3,}?"),
        (8, "(?:a{0,1}/{0,1}/{0})"),
        (6, "(?:a/{0})b"),
        (4, "(?:|)+"),
        (7, "(?:1||)+"),
    ];
    for (size, source) in table {
        assert_eq!(Regex::program_size(source), Ok(*size), "{source}");
    }
}

#[test]
fn program_without_end_is_not_made() {
    assert_eq!(Regex::program_size(&"a{1000}".repeat(300)), Ok(300_004));
    let error = Regex::program_size(&"a{1000}".repeat(400)).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    // On the stack of a thread, as deep as groups may nest.
    let nested = format!("{}a{}", "(".repeat(99), ")".repeat(99));
    let sizes = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        ["(?:ab?){0,1000}", &nested].map(|source| Regex::program_size(source).unwrap())
    });
    let [optional, nested] = sizes.unwrap().join().unwrap();
    assert!(optional > 2_000 && nested > 200, "{optional} {nested}");
}

#[test]
fn characters_are_bytes() {
    let table = [
        ("é", "é", true),
        (".", "é", false),
        ("..", "é", true),
        ("[é]{2}", "é", true),
        ("(?i)é", "É", false),
        (r"[^\x00-\x7f]+", "日", true),
        (r"\xc3\251", "é", true),
        (r"\p{Lu}.", "é", true),
        (r"\p{^Lu}", "a", true),
        (r"\p{Greek}?", "", true),
    ];
    for (source, text, want) in table {
        assert_eq!(Regex::new(source).unwrap().is_full_match(text), want, "{source} {text}");
    }
    let torn = b"a\xff";
    assert!(Regex::new("a.").unwrap().is_full_match_bytes(torn));
    for bad in [r"\x{100}", r"\777", r"\p{Nothing}", r"\p{greek}", r"\p{}", r"\x4", r"\x{+4}"] {
        assert!(Regex::new(bad).is_err(), "{bad:?} was accepted");
    }
}

"""Configurations and requests for `test_routes.py`, by the rule that they are about."""

FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
TEMPLATE = {
    "name": "envoy.path.match.uri_template.uri_template_matcher",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3"
        ".UriTemplateMatchConfig",
        "path_template": "/old/{x}",
    },
}  # fmt: skip
ANY = [{"any": True}]


def host(routes, **more):
    return {"virtual_hosts": [{"name": "vh", "domains": ["*"], "routes": routes} | more]}


def choice(match):
    """Whether a condition holds tells the cluster."""
    miss = {"match": {"prefix": "/"}, "name": "miss", "route": {"cluster": "miss"}}
    return host([{"match": match, "name": "hit", "route": {"cluster": "hit"}}, miss])


def one(**route):
    return host([{"match": {"prefix": "/"}, "name": "r", "route": {"cluster": "c"}} | route])


def paths(*values, **more):
    return [{"path": value} | more for value in values]


def headers(*values):
    return [{"headers": [list(pair) for pair in value]} for value in values]


def case(name, route_config, requests, **more):
    return {"id": name, "route_config": route_config, "requests": requests} | more


def header_conditions():
    values = (None, "", "abc", "ABC", "xabcx", "ab", "zabc", "0", "5", "10", "-5", "10a", "a,b",
              "9223372036854775807", "9223372036854775808")  # fmt: skip
    requests = headers(*([] if value is None else [("x-h", value)] for value in values))
    requests += headers([("x-h", "zz"), ("x-h", "abc")], [("x-h", "abc"), ("X-H", "b")])
    texts = {"exact": "abc", "prefix": "ab", "suffix": "bc", "contains": "b"}
    kinds = [{"string_match": {kind: text}} for kind, text in texts.items()]
    kinds += [{"string_match": {kind: text.upper(), "ignore_case": True}}
              for kind, text in texts.items()]  # fmt: skip
    kinds += [{f"{kind}_match": text} for kind, text in texts.items()]
    kinds += [{"string_match": {"safe_regex": {"regex": regex}}} for regex in ("a.c", "a|abc", "")]
    kinds += [{"string_match": {"safe_regex": {"regex": "a"}, "ignore_case": True}}]
    kinds += [{"range_match": {"start": start, "end": end}}
              for start, end in ((0, 10), (-10, 0), (5, 5), (10, 0))]  # fmt: skip
    kinds += [{"present_match": True}, {"present_match": False}, {}, {"exact_match": ""},
              {"string_match": {"exact": ""}}, {"prefix_match": ""}, {"string_match": {}}]  # fmt: skip
    for at, kind in enumerate(kinds):
        for invert in (False, True):
            for empty in (False, True):
                matcher = {"name": "x-h", "invert_match": invert,
                           "treat_missing_header_as_empty": empty} | kind  # fmt: skip
                name = f"header {at} {kind} {invert} {empty}"
                yield case(name, choice({"prefix": "/", "headers": [matcher]}), requests)
    for name in (":path", ":method", ":authority", "host", "cookie", "x-forwarded-proto"):
        matcher = {"name": name, "string_match": {"safe_regex": {"regex": ".*(GET|foo|/p|http|1).*"}}}
        requests = [{"path": "/p"}, {"method": "POST"}, {"authority": "foo"},
                    *headers([("cookie", "a=1"), ("cookie", "b=2")])]  # fmt: skip
        yield case(f"header {name}", choice({"prefix": "/", "headers": [matcher]}), requests)


def path_conditions():
    requests = paths("/", "/foo", "/foo/", "/foo/bar", "/Foo", "/foobar", "/foo?x=1", "/foo#f",
                     "/foo;v", "//foo", "/foo//bar", "/foo/../bar", "/f%6fo", "/foo%2Fbar", "/%")  # fmt: skip
    for match in ({"prefix": "/foo"}, {"prefix": "/FOO", "case_sensitive": False},
                  {"path": "/foo"}, {"path": "/FOO", "case_sensitive": False}, {"path": "/foo?x=1"},
                  {"path_separated_prefix": "/foo"}, {"path_separated_prefix": "/foo/"},
                  {"safe_regex": {"regex": "/foo.*"}}, {"safe_regex": {"regex": "/foo"}},
                  {"connect_matcher": {}}, {"prefix": ""}, {"prefix": "foo"}, {}):  # fmt: skip
        yield case(f"path {match}", choice(match), requests)
    for regex in ("a**", "a*+", "a{2}{3}", "a{1001}", "(a{1000}){2}", "(?x)a", "(?u)a", "(?!a)", "(",
                  "[[:foo:]]", r"\u0041", r"\1", r"\Qa.b\E", r"\141", r"\C+", "(?i)A", "(?s).",
                  "a*?", "[[:alpha:]]", r"\pL", "[]a]+", "{2}", "(?P<n>a)", "(?<n>a)", "a|*"):  # fmt: skip
        matcher = {"name": "x-h", "string_match": {"safe_regex": {"regex": regex}}}
        requests = headers(*([("x-h", value)] for value in ("a", "A", "aa", "a.b", "{2}", "]a")))
        yield case(f"regex {regex}", choice({"prefix": "/", "headers": [matcher]}), requests)
    requests = paths("/", "/?a", "/?a=", "/?a=1", "/?a=1&a=2", "/?a=2&a=1", "/?A=1", "/?a=%31",
                     "/?a==1", "/?a=1#x", "/?&a=1", "/?%61=1")  # fmt: skip
    for kind in ({"string_match": {"exact": "1"}}, {"present_match": True}, {"present_match": False},
                 {}, {"string_match": {"safe_regex": {"regex": "[0-9]+"}}}):  # fmt: skip
        match = {"prefix": "/", "query_parameters": [{"name": "a"} | kind]}
        yield case(f"query {kind}", choice(match), requests)
    requests = headers(*([("cookie", value)] for value in (
        "a=1", 'a="1"', "b=2; a=1", "b=2;a=1", "a=1; a=2", "A=1", "a", "a=", "a = 1")))
    for invert in (False, True):
        cookie = {"name": "a", "string_match": {"exact": "1"}, "invert_match": invert}
        yield case(f"cookie {invert}", choice({"prefix": "/", "cookies": [cookie]}), requests)


def hosts():
    names = ("test.local", "Test.Local", "test.local:80", "a.test.local", "a.b.test.local", "foo",
             "test.local.", "foo:1", "[::1]", "[::1]:80", "x.foo", "127.0.0.1")  # fmt: skip
    requests = [{"authority": name} for name in names]
    for domains in (["test.local"], ["TEST.local"], ["*.test.local"], ["*test.local"], ["test.*"],
                    ["test.local:80"], ["test.local:*"], ["[::1]"], [""], ["**"], ["a.*.local"],
                    ["x", "X"], []):  # fmt: skip
        for ignore in (False, True):
            config = host([{"match": {"prefix": "/"}, "name": "r", "route": {"cluster": "c"}}],
                          domains=domains)  # fmt: skip
            config["ignore_port_in_host_matching"] = ignore
            yield case(f"host {domains} {ignore}", config, requests)
    for options in ({"strip_any_host_port": True}, {"strip_trailing_host_dot": True}):
        config = host([{"match": {"prefix": "/"}, "route": {"cluster": "c"}}], domains=["test.local"])
        yield case(f"host {options}", config, requests, hcm=options)


def redirects():
    requests = [{"path": path, "authority": authority}
                for path in ("/old", "/old/x?q=1", "/old?q=1")
                for authority in ("test.local", "test.local:80", "test.local:8080", "[::1]:80")]  # fmt: skip
    requests += [{"path": "/old", "authority": f"test.local{port}", "headers": [["x-forwarded-proto", "https"]]}
                 for port in ("", ":443", ":80")] + paths("/old", method="HEAD")  # fmt: skip
    for action in ({"host_redirect": "new.local"}, {"port_redirect": 8080}, {"https_redirect": True},
                   {"scheme_redirect": "FTP"}, {"scheme_redirect": "http"}, {"path_redirect": "/n"},
                   {"path_redirect": "n"}, {"path_redirect": "/n?z=1"}, {"prefix_rewrite": "/n"},
                   {"prefix_rewrite": "/"}, {"strip_query": True}, {"host_redirect": "a\nb"}, {},
                   {"path_redirect": "/n", "strip_query": True, "response_code": "FOUND"},
                   {"regex_rewrite": {"pattern": {"regex": "^/old/(.*)$"}, "substitution": "/\\1"}}):  # fmt: skip
        route = {"match": {"prefix": "/old"}, "name": "r", "redirect": action}
        yield case(f"redirect {action}", host([route]), requests)
    for requirement in ("NONE", "EXTERNAL_ONLY", "ALL"):
        route = {"match": {"prefix": "/"}, "name": "r", "route": {"cluster": "c"}}
        yield case(f"tls {requirement}", host([route], require_tls=requirement), requests)


def rewrites():
    requests = [{"path": path, "headers": sent}
                for path in ("/old", "/old/", "/old/x?q=1&o=foo", "/oldx", "/old//x?", "/old?old")
                for sent in ([], [["x-host", "hdr.h"], ["x-forwarded-host", "prev"]])]  # fmt: skip
    regexes = (("/([a-z]+)", "/<\\1>"), ("q", "Q"), ("o", "0"), (".*", "\\0\\0"), (".*", ""))
    actions = [{"prefix_rewrite": value} for value in ("/new", "/new/", "/", "new", "/n?z=1&")]
    actions += [{"regex_rewrite": {"pattern": {"regex": regex}, "substitution": to}}
                for regex, to in regexes]  # fmt: skip
    actions += [{"host_rewrite_literal": "h.new", "append_x_forwarded_host": True},
                {"host_rewrite_header": "x-host", "append_x_forwarded_host": True},
                {"host_rewrite_path_regex": {"pattern": {"regex": "^/([^/?]+).*$"}, "substitution": "\\1.h"}},
                {"prefix_rewrite": "/a", "regex_rewrite": {"pattern": {"regex": "o"}, "substitution": "0"}},
                {"host_rewrite_literal": "a\nb"}]  # fmt: skip
    for action in actions:
        for match in ({"prefix": "/old"}, {"path": "/old"}, {"path_separated_prefix": "/old"},
                      {"safe_regex": {"regex": "/old.*"}}, {"path_match_policy": TEMPLATE}):  # fmt: skip
            route = {"match": match, "name": "r", "route": {"cluster": "c"} | action}
            yield case(f"rewrite {action} {match}", host([route]), requests)


def changes():
    requests = headers([], [("x-a", "1")], [("x-a", "1"), ("x-b", "q"), ("x-a", "2")])
    answered = {"headers": [["x-a", "up1"], ["x-a", "up2"]], "body": "hi"}
    for key in ("x-a", "X-A", "x-c", "host", ":path", ":method", "user-agent", ""):
        for action in ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD",
                       "OVERWRITE_IF_EXISTS"):  # fmt: skip
            change = {"header": {"key": key, "value": "new"}, "append_action": action}
            yield case(f"add {key} {action}", one(request_headers_to_add=[change]), requests)
            yield case(f"answer {key} {action}", one(response_headers_to_add=[change]),
                       [{"upstream_response": answered}, {}])  # fmt: skip
        yield case(f"remove {key}", one(request_headers_to_remove=[key]), requests)
    commands = ("%REQ(x-a)%", "%REQ(x-z?x-a)%", "%REQ(:path):2%", "%PROTOCOL%", "%%", "a%%b", "%", "%FOO%",
                "%REQ(%", "%REQ()%", "%ROUTE_NAME%", "%UPSTREAM_CLUSTER%", "%RESPONSE_CODE%", "%RESPONSE_FLAGS%",
                "%RESPONSE_FLAGS_LONG%", "%RESPONSE_CODE_DETAILS%", "%METADATA(ROUTE:ns:k)%", "%METADATA(X:a)%",
                "%DYNAMIC_METADATA(ns)%", "%PER_REQUEST_STATE(a)%", "%PATH(NQ)%", "%QUERY_PARAM(q)%",
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%STREAM_ID%", "%GRPC_STATUS%",
                "%RESP(x-a)%", "%START_TIME(%Y)%", "x-%REQ(x-a)%-y")  # fmt: skip
    told = [{"path": "/p?q=1"}, *headers([("x-a", "1"), ("x-request-id", "i")], [("x-forwarded-for", "1.1.1.1")])]
    for value in commands:
        change = [{"header": {"key": "x-f", "value": value}}]
        metadata = {"filter_metadata": {"ns": {"k": "mv"}}}
        yield case(f"command {value}", one(request_headers_to_add=change, metadata=metadata), told)
        yield case(f"answer {value}", one(response_headers_to_add=change, metadata=metadata), told)
    for action in ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD"):
        for wins in (False, True):
            def level(value, action=action):
                change = [{"header": {"key": "x-l", "value": value}, "append_action": action}]
                return {"request_headers_to_add": change, "response_headers_to_add": change}

            parts = {"clusters": [{"name": "c", "weight": 1} | level("cluster")]}
            routes = [{"match": {"prefix": "/w"}, "route": {"weighted_clusters": parts}} | level("route"),
                      {"match": {"prefix": "/d"}, "direct_response": {"status": 418}} | level("route"),
                      {"match": {"prefix": "/r"}, "redirect": {"path_redirect": "/z"}} | level("route")]  # fmt: skip
            config = host(routes, **level("host")) | level("all")
            config["most_specific_header_mutations_wins"] = wins
            yield case(f"levels {action} {wins}", config, paths("/w", "/d", "/r"))


def actions():
    requests = headers([], [("x-c", "a")], [("x-w", "49")], [("x-w", "150")])
    parts = [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]
    for action in ({"weighted_clusters": {"clusters": parts, "header_name": "x-w"}},
                   {"weighted_clusters": {"clusters": [{"name": "a", "weight": 0}]}},
                   {"weighted_clusters": {"clusters": []}}, {"cluster": ""}, {}, {"cluster_header": "x-c"},
                   {"cluster": "gone"}, {"cluster": "gone", "cluster_not_found_response_code": "NOT_FOUND"},
                   {"cluster": "a", "timeout": "-1s"}, {"cluster": "a", "hash_policy": [{}]},
                   {"cluster": "a", "request_mirror_policies": [{"cluster": "b"}]}):  # fmt: skip
        random = "header_name" in str(action)
        yield case(f"action {action}", host([{"match": {"prefix": "/"}, "name": "r", "route": action}]),
                   requests[2:] if random else requests[:1], absent=["gone"])  # fmt: skip
    for answer in ({"status": 200, "body": {"inline_string": "x"}}, {"status": 204}, {"status": 99}, {}):
        route = {"match": {"prefix": "/"}, "name": "d", "direct_response": answer}
        yield case(f"direct {answer}", host([route]), [{}, {"method": "HEAD"}])
    yield case("non-forwarding", host([{"match": {"prefix": "/"}, "non_forwarding_action": {}}]), [{}])
    for share in ({"numerator": 0}, {"numerator": 100}, None):
        fraction = {"default_value": share} if share else {}
        yield case(f"fraction {share}", choice({"prefix": "/", "runtime_fraction": fraction}), [{}])


def canonical():
    requests = paths("/a", "//a", "/a//b", "/a/../b", "/../a", "/a%2Fb", "/a%5Cb", "/a\\b", "/%61", "/a%00",
                     "/a?x=//y/../z", "/a%zz", "/a#f", "/a/%2e%2e/b", "/b/../../c", "/a%252fb", "/;/a")  # fmt: skip
    routes = [{"match": {"path": "/b"}, "name": "b", "route": {"cluster": "a"}},
              {"match": {"prefix": "/a/"}, "name": "a", "route": {"cluster": "a", "prefix_rewrite": "/z/"}},
              {"match": {"prefix": "/"}, "name": "rest", "route": {"cluster": "b"}}]  # fmt: skip
    escaped = "path_with_escaped_slashes_action"
    for options in ({}, {"normalize_path": True}, {"merge_slashes": True}, {escaped: "REJECT_REQUEST"},
                    {escaped: "UNESCAPE_AND_REDIRECT", "normalize_path": True},
                    {escaped: "UNESCAPE_AND_FORWARD", "normalize_path": True, "merge_slashes": True}):  # fmt: skip
        yield case(f"canonical {options}", host(routes), requests, hcm=options)


def authorization():
    requests = [{"path": path, "headers": sent} for path in ("/", "/admin", "/admin/x?q", "//admin")
                for sent in ([], [["x-role", "adm"]])]  # fmt: skip
    requests += headers([("x-forwarded-for", "10.0.0.1")], [("x-forwarded-for", "10.0.0.1, 1.1.1.1")])
    address = {"address_prefix": "10.0.0.0", "prefix_len": 8}
    role = {"name": "x-role", "string_match": {"exact": "adm"}}
    admin = {"url_path": {"path": {"prefix": "/admin"}}}
    permissions = (admin, {"header": role}, {"not_rule": admin}, {"destination_port": 80}, {},
                   {"and_rules": {"rules": [admin, {"header": role}]}}, {"or_rules": {"rules": [admin, {"header": role}]}},
                   {"requested_server_name": {"exact": ""}}, {"uri_template": TEMPLATE})  # fmt: skip
    principals = ({"header": role}, {"authenticated": {}}, {"direct_remote_ip": address}, {"remote_ip": address},
                  {"source_ip": address}, admin, {"not_id": {"header": role}})  # fmt: skip
    pairs = [([one], ANY) for one in permissions] + [(ANY, [one]) for one in principals]
    for action in ("ALLOW", "DENY", "LOG"):
        for asked, who in pairs:
            policies = {"p": {"permissions": asked, "principals": who}}
            config = {"@type": FILTERS + "rbac.v3.RBAC", "rules": {"action": action, "policies": policies}}
            filters = [{"name": "envoy.filters.http.rbac", "typed_config": config}]
            yield case(f"rbac {action} {asked} {who}", one(), requests, http_filters=filters)


def cors():
    origin = ("origin", "http://a.com")
    asked = ("access-control-request-method", "PUT")
    requests = [{"method": method, "headers": [list(pair) for pair in sent]} for method in ("GET", "OPTIONS")
                for sent in ([], [origin], [("origin", "http://b.com")], [origin, asked])]  # fmt: skip
    exact = {"allow_origin_string_match": [{"exact": "http://a.com"}]}
    for policy in ({}, exact, exact | {"allow_methods": "GET", "allow_headers": "x", "expose_headers": "e",
                                       "max_age": "9", "allow_credentials": True},
                   {"allow_origin_string_match": [{"safe_regex": {"regex": "http://.*"}}]},
                   exact | {"filter_enabled": {"default_value": {"numerator": 0}}}):  # fmt: skip
        own = {"envoy.filters.http.cors": {"@type": FILTERS + "cors.v3.CorsPolicy"} | policy}
        filters = [{"name": "envoy.filters.http.cors", "typed_config": {"@type": FILTERS + "cors.v3.Cors"}}]
        yield case(f"cors {policy}", one(typed_per_filter_config=own), requests, http_filters=filters)


def everything():
    for part in (header_conditions, path_conditions, hosts, redirects, rewrites, changes, actions, canonical,
                 authorization, cors):  # fmt: skip
        yield from part()

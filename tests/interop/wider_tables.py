"""More for `test_routes.py`: options of connection managers, answers made here, refusals, and filters put
together at random, always in the same way."""

import random

from route_tables import ANY, FILTERS, case, headers, host, one, paths

TYPES = "type.googleapis.com/envoy."
DETECTION = "extensions.http.original_ip_detection."


def cidr(address, length):
    return {"address_prefix": address, "prefix_len": length}


def managers():
    told = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(:scheme)% [%REQ(x-envoy-internal)%]"
    seen = [{"header": {"key": "x-seen", "value": told}}]
    config = host([{"match": {"path": "/"}, "name": "r", "route": {"cluster": "c"}, "request_headers_to_add": seen},
                   {"match": {"prefix": "/d"}, "direct_response": {"status": 418}}])  # fmt: skip
    addresses = ("1.1.1.1", "1.1.1.1, 2.2.2.2", "1.1.1.1, 2.2.2.2, 10.0.0.1", "10.0.0.1", "127.0.0.1", "junk",
                 "1.1.1.1,", "::1", "1.1.1.1:80")  # fmt: skip
    requests = headers([], *([("x-forwarded-for", address)] for address in addresses))
    requests += headers([("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "10.0.0.2")],
                        *([("x-forwarded-proto", scheme)] for scheme in ("https", "HTTPS", "ftp")),
                        [("x-envoy-max-retries", "4"), ("x-envoy-internal", "true"), ("x-forwarded-client-cert", "c")],
                        [("x_y", "1")], [("via", "w")])  # fmt: skip
    requests += [{"path": "/d"}, {"upstream_response": {"headers": [["via", "u"]]}}]
    ten, loopback = {"cidr_ranges": [cidr("10.0.0.0", 8)]}, {"cidr_ranges": [cidr("127.0.0.0", 8)]}

    def found(name, config, **more):
        return {"original_ip_detection_extensions": [
            {"name": name, "typed_config": {"@type": f"{TYPES}{DETECTION}{config}"} | more}]}  # fmt: skip

    trusted = {"cidrs": [cidr("127.0.0.0", 8), cidr("2.2.2.2", 32)]}
    remote, internal = {"use_remote_address": True}, "internal_address_config"
    for options in (
        {"via": "v 1"}, remote, remote | {internal: loopback}, remote | {internal: {}}, {internal: ten}, {internal: {}},
        {"xff_num_trusted_hops": 1}, {"xff_num_trusted_hops": 2}, remote | {"xff_num_trusted_hops": 1},
        remote | {"xff_num_trusted_hops": 1, internal: ten}, remote | {"skip_xff_append": True},
        found("a", "xff.v3.XffConfig", xff_num_trusted_hops=1), found("a", "xff.v3.XffConfig", xff_trusted_cidrs=trusted),
        found("a", "custom_header.v3.CustomHeaderConfig", header_name="x-forwarded-for"),
        {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
        {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
        {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
    ):  # fmt: skip
        yield case(f"manager {options}", config, requests, hcm=options)
    for options in (
        {"codec_type": 99}, {"max_request_headers_kb": 9000}, {"server_header_transformation": 7},
        {"drain_timeout": "-5s"}, {"via": "a\nb"}, {"server_name": "a\nb"}, {"request_timeout": "-1s"},
        {"strip_any_host_port": True, "strip_matching_host_port": True},
        {"upgrade_configs": [{"upgrade_type": "a"}, {"upgrade_type": "A"}]}, {"early_header_mutation_extensions": [{"name": "x"}]},
        found("a", "xff.v3.XffConfig") | {"xff_num_trusted_hops": 1}, found("a", "custom_header.v3.CustomHeaderConfig"),
        {"scheme_header_transformation": {"scheme_to_overwrite": "ftp"}}, {internal: {"cidr_ranges": [cidr("x", 8)]}},
        {"common_http_protocol_options": {"max_headers_count": 0}}, {"http2_protocol_options": {"max_concurrent_streams": 0}},
    ):  # fmt: skip
        yield case(f"manager {options}", config, requests[:1], hcm=options)


def local_replies():
    routes = [{"match": {"prefix": "/none"}, "name": "gone", "route": {"cluster": "gone"}},
              {"match": {"prefix": "/d"}, "name": "d", "direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
              {"match": {"prefix": "/m"}, "name": "m", "redirect": {"path_redirect": "/y"}},
              {"match": {"path": "/"}, "route": {"cluster": "c"}}]  # fmt: skip
    requests = paths("/", "/none", "/d", "/m", "/zzz") + [{"path": "/zzz", "headers": [["content-type", "application/grpc"]]},
                                                          {"path": "/none", "headers": [["accept", "a/b"]]}]  # fmt: skip

    def status(op, value):
        return {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "k"}}}}

    def text(value, **more):
        return {"text_format_source": {"inline_string": value}} | more

    body = {"body": {"inline_string": "new"}}
    told = "%LOCAL_REPLY_BODY%:%RESPONSE_CODE%:%RESPONSE_FLAGS%:%REQ(:path)%:%REQ(x-z)%:%RESPONSE_CODE_DETAILS%"
    nested = {"code": "%RESPONSE_CODE%", "body": "%LOCAL_REPLY_BODY%", "none": "%REQ(x-z)%", "mixed": "a-%REQ(x-z)%",
              "in": {"b": True, "n": 1.5, "l": ["%PROTOCOL%", None, 3], "o": {"p": "%REQ(x-z)%"}}}  # fmt: skip
    for options in (
        {"body_format": text(told)}, {"body_format": text("%REQ(x-z)%|", omit_empty_values=True)},
        {"body_format": {"text_format": "<%LOCAL_REPLY_BODY% %RESPONSE_CODE%"}},
        {"body_format": {"json_format": nested}}, {"body_format": {"json_format": nested, "omit_empty_values": True}},
        {"body_format": text("<b>%LOCAL_REPLY_BODY%</b>", content_type="text/html")}, {"body_format": text("%FOO%")}, {"body_format": {}},
        *({"mappers": [{"filter": one_of} | body | {"status_code": 444}]} for one_of in (
            status("EQ", 404), status("GE", 500), status("LE", 404), status("NE", 418), {"not_health_check_filter": {}},
            {"traceable_filter": {}}, {"response_flag_filter": {}}, {"response_flag_filter": {"flags": ["NC", "UH"]}},
            {"response_flag_filter": {"flags": ["QQ"]}}, {"grpc_status_filter": {"statuses": ["UNIMPLEMENTED"]}},
            {"grpc_status_filter": {"statuses": ["UNIMPLEMENTED"], "exclude": True}},
            {"header_filter": {"header": {"name": "accept", "string_match": {"exact": "a/b"}}}},
            {"and_filter": {"filters": [status("GE", 404), status("LE", 418)]}}, {"or_filter": {"filters": [status("EQ", 301)]}},
            {"or_filter": {"filters": [status("EQ", 301), status("EQ", 503)]}},
            {"runtime_filter": {"runtime_key": "a", "percent_sampled": {"numerator": 100}}},
            {"runtime_filter": {"runtime_key": "a", "percent_sampled": {"numerator": 0}}},
            {"metadata_filter": {"matcher": {"filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "x"}}}}},
        )),
        {"mappers": [{"filter": status("EQ", 418), "body_format_override": text("M %LOCAL_REPLY_BODY%")},
                     {"filter": status("GE", 400), "headers_to_add": [{"header": {"key": "content-type", "value": "x/y"}}]} | body],
         "body_format": text("F %LOCAL_REPLY_BODY%")},
        {"mappers": [{"status_code": 200}]}, {"mappers": [{"filter": status("EQ", 404), "status_code": 99}]},
    ):  # fmt: skip
        yield case(f"reply {options}", host(routes), requests, hcm={"local_reply_config": options}, absent=["gone"])


def made_by_commands():
    requests = [{"path": path, "headers": sent} for path in ("/old", "/old/x?q=1")
                for sent in ([], [["x-p", "v"], ["x-h", "h:1"]], [["x-p", "a?b=1"]], [["x-p", ""], ["x-h", ""]])]  # fmt: skip
    for value in ("/n", "/n%REQ(x-p)%", "%REQ(x-p)%", "/n?z=1", "n", "/%%", "%FOO%", "/%REQ(:path)%", ""):
        yield case(f"path {value}", one(route={"cluster": "c", "path_rewrite": value}), requests)
        for strip in (False, True):
            moved = {"path_rewrite": value, "strip_query": strip}
            yield case(f"moved {moved}", host([{"match": {"prefix": "/"}, "redirect": moved}]), requests)
    for value in ("%REQ(x-h)%", "%REQ(x-h)%.z", "a%REQ(x-p)%", "%FOO%", "a\nb", "%%", "%REQ(:authority)%:1"):
        rewrite = {"cluster": "c", "host_rewrite": value, "append_x_forwarded_host": True}
        yield case(f"authority {value}", one(route=rewrite), requests)
    told = "%REQ(x-p)%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%ROUTE_NAME%|%LOCAL_REPLY_BODY%"
    for form in ({"text_format": told}, {"json_format": {"a": "%REQ(x-p)%", "b": "x%REQ(x-p)%", "c": [1, "%REQ(x-p)%"], "k": -2.25}},
                 {"text_format_source": {"inline_string": told}, "omit_empty_values": True, "content_type": "a/b"}, {},
                 {"json_format": {"a": "%FOO%"}}, {"text_format_source": {"inline_string": "x"}, "content_type": "a\nb"}):  # fmt: skip
        for body in ({}, {"body": {"inline_string": "B"}}):
            answer = {"status": 200, "body_format": form} | body
            route = {"match": {"prefix": "/"}, "name": "r", "direct_response": answer}
            yield case(f"body {answer}", host([route]), requests)


def refusals():
    added = {"header": {"key": "x", "value": "y"}}
    for more in ({"request_headers_to_add": [{}]}, {"request_headers_to_add": [{"header": {"value": "x"}}]},
                 {"request_headers_to_add": [added | {"append_action": 9}]}, {"response_headers_to_remove": [":x"]},
                 {"request_headers_to_add": [added | {"append": True, "append_action": "ADD_IF_ABSENT"}]},
                 {"request_headers_to_add": [{"header": {"key": "x", "raw_value": "aGk="}}]}, {"decorator": {"operation": ""}},
                 {"tracing": {"custom_tags": [{"tag": "a"}]}}, {"tracing": {"client_sampling": {"denominator": 9}}},
                 {"typed_per_filter_config": {"x": {"@type": f"{TYPES}config.route.v3.FilterConfig"}}}):  # fmt: skip
        yield case(f"refusal {more}", one(**more), [{}])
    for more in ({"retry_policy": {"retry_priority": {"name": "x"}}}, {"retry_policy": {"retry_host_predicate": [{"name": "x"}]}},
                 {"retry_policy": {"retry_back_off": {"base_interval": "1s", "max_interval": "0.5s"}}},
                 {"retry_policy": {"rate_limited_retry_back_off": {}}}, {"domains": ["a\nb"]}, {"require_tls": 9}, {"name": ""},
                 {"rate_limits": [{"actions": [{}]}]}, {"virtual_clusters": [{"name": "a"}]}, {"cors": {"shadow_enabled": {}}},
                 {"request_mirror_policies": [{}]}, {"retry_policy": {"host_selection_retry_max_attempts": -1}}):  # fmt: skip
        config = host([{"match": {"prefix": "/"}, "route": {"cluster": "c"}}], **more)
        yield case(f"refusal {more}", config, [{}])
    for more in ({"hash_policy": [{"header": {"header_name": ""}}]}, {"hash_policy": [{"cookie": {"name": "a", "ttl": "-1s"}}]},
                 {"idle_timeout": "-1s"}, {"priority": 9}, {"cluster_not_found_response_code": 9}, {"host_rewrite_header": ":path"},
                 {"internal_redirect_policy": {"response_headers_to_copy": [":path"]}}, {"upgrade_configs": [{}]},
                 {"internal_redirect_policy": {"response_headers_to_copy": [""]}}, {"regex_rewrite": {}},
                 {"hedge_policy": {"initial_requests": 0}}, {"max_stream_duration": {"max_stream_duration": "-1s"}}):  # fmt: skip
        yield case(f"refusal {more}", one(route={"cluster": "c"} | more), [{}])
    config = host([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "abc"}}}])
    for more in ({"vhost_header": "x-h"}, {"max_direct_response_body_size_bytes": 2}, {"max_direct_response_body_size_bytes": 0},
                 {"internal_only_headers": ["a\nb"]}, {"request_headers_to_remove": [""]}, {"request_headers_to_remove": ["Host"]}):  # fmt: skip
        yield case(f"refusal {more}", config | more, [{}])


def at_random():
    draw = random.Random(7)
    yield from (authorization(draw, number) for number in range(60))
    yield from (mutations(draw, number) for number in range(50))
    yield from (origins(draw, number) for number in range(50))


def authorization(draw, number):
    requests = [{"path": path, "method": method, "headers": sent} for path in ("/", "/admin", "/admin/x?q=1")
                for method in ("GET", "POST") for sent in ([], [["x-role", "adm"]])]  # fmt: skip
    requests += headers([("x-forwarded-for", "10.0.0.1")], [("x-role", "a"), ("x-role", "adm")])
    role = {"name": "x-role"}
    both = [{"url_path": {"path": {"prefix": "/admin"}}}, {"url_path": {"path": {"safe_regex": {"regex": "/adm.*x"}}}}, {"any": True},
            {"header": role | {"string_match": {"exact": "adm"}}}, {"header": role | {"present_match": False}},
            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
            {"header": role | {"string_match": {"suffix": "M", "ignore_case": True}, "invert_match": True}},
            {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}}},
            {"sourced_metadata": {"metadata_source": "ROUTE", "metadata_matcher": {
                "filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}, "invert": number % 4 > 1}}}]  # fmt: skip
    asked = both + [{"destination_ip": cidr("127.0.0.0", 8)}, {"destination_port_range": {"start": 1, "end": 65535}},
                    {"requested_server_name": {"exact": ""}}]  # fmt: skip
    who = both + [{"direct_remote_ip": cidr("127.0.0.1", 32)}, {"remote_ip": cidr("10.0.0.0", 8)}, {"authenticated": {}},
                  {"source_ip": cidr("127.0.0.0", 8)}, {"filter_state": {"key": "k", "string_match": {"exact": "x"}}}]  # fmt: skip

    def rule(leaves, names, depth):
        all_of, any_of, none_of, inner = names
        kind = draw.random() if depth else 0
        if kind < 0.35:
            return draw.choice(leaves)
        if kind < 0.85:
            rules = [rule(leaves, names, depth - 1) for _ in range(draw.randint(1, 3))]
            return {all_of if kind < 0.6 else any_of: {inner: rules}}
        return {none_of: rule(leaves, names, depth - 1)}

    def policy():
        permissions = ("and_rules", "or_rules", "not_rule", "rules")
        principals = ("and_ids", "or_ids", "not_id", "ids")
        return {"permissions": [rule(asked, permissions, 3)], "principals": [rule(who, principals, 3)]}

    policies = {f"p{at}": policy() for at in range(draw.randint(1, 3))}
    rules = {"action": draw.choice(["ALLOW", "DENY", "LOG"]), "policies": policies}
    config = {"@type": FILTERS + "rbac.v3.RBAC", "rules": rules}
    if number % 6 == 0:
        config = {"@type": FILTERS + "rbac.v3.RBAC", "matcher": tree(draw, number)}
    elif number % 3 == 0:
        config["shadow_rules"] = {"action": "DENY", "policies": {"s": {"permissions": ANY, "principals": ANY}}}
    config_of_route = {"metadata": {"filter_metadata": {"f": {"k": "v"}}}} if number % 2 else {}
    filters = [{"name": "rbac", "typed_config": config}]
    return case(f"rbac {number} {config}", one(**config_of_route), requests, http_filters=filters)


def tree(draw, number):
    def action(name):
        config = {"@type": f"{TYPES}config.rbac.v3.Action", "name": name, "action": draw.choice(["ALLOW", "DENY", "LOG"])}
        return {"action": {"name": "action", "typed_config": config}}

    def single(header, value):
        config = {"@type": f"{TYPES}type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": header}
        return {"single_predicate": {"input": {"name": "in", "typed_config": config}, "value_match": value}}

    def told(name, value):
        config = {"@type": f"{TYPES}extensions.matching.common_inputs.{name}"}
        return {"single_predicate": {"input": {"name": "in", "typed_config": config}} | value}

    ranges = {"@type": f"{TYPES}extensions.matching.input_matchers.ip.v3.Ip", "stat_prefix": "ip",
              "cidr_ranges": [cidr("1.1.0.0", 16), cidr("127.0.0.0", 8)]}  # fmt: skip
    inner = [{"predicate": single(":method", {"exact": "GET"}), "on_match": action("inner")}]
    of_connection = [told("network.v3.SourceIPInput", {"value_match": {"prefix": "1."}}),
                     told("network.v3.SourceIPInput", {"custom_match": {"name": "ip", "typed_config": ranges}}),
                     told("network.v3.DirectSourceIPInput", {"value_match": {"exact": "9.9.9.9"}}),
                     told("network.v3.ServerNameInput", {"value_match": {"exact": "a"}}),
                     told("ssl.v3.UriSanInput", {"value_match": {"prefix": "spiffe://"}}),
                     told("ssl.v3.SubjectInput", {"value_match": {"exact": "a"}})]  # fmt: skip
    own = random.Random(number)
    asked = own.choice(of_connection)
    inner = [{"predicate": own.choice([asked, {"not_matcher": asked}]), "on_match": inner[0]["on_match"]}, *inner]
    both = [single(":path", {"prefix": "/admin"}), {"not_matcher": single("x-role", {"exact": "adm"})}]
    branches = [{"predicate": single("x-role", {"exact": "adm"}), "on_match": {"matcher": {"matcher_list": {"matchers": inner}}}},
                {"predicate": {draw.choice(["and_matcher", "or_matcher"]): {"predicate": both}}, "on_match": action("outer")}]  # fmt: skip
    made = {"matcher_list": {"matchers": branches}}
    return made | ({"on_no_match": action("none")} if draw.random() < 0.6 else {})


def mutations(draw, number):
    answered = {"headers": [["x-r", "1"], ["x-s", "2"], ["x-r", "9"]]}
    requests = [{"path": path, "headers": sent, "upstream_response": answered} for path in ("/p", "/p?a=1&b=2&a=3")
                for sent in ([], [["x-a", "1"], ["x-b", "2"], ["x-a", "3"]])]  # fmt: skip
    actions = ["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"]

    def change(keys):
        kind = draw.random()
        if kind < 0.6:
            value = draw.choice(["n", "", "%REQ(x-a)%", "%RESPONSE_CODE%", "%PROTOCOL%-%REQ(:path)%", "%RESP(x-r)%"])
            return {"append": {"header": {"key": draw.choice(keys), "value": value}, "append_action": draw.choice(actions),
                               "keep_empty_value": draw.random() < 0.3}}  # fmt: skip
        if kind < 0.8:
            return {"remove": draw.choice(["x-a", "X-B", "x-r", "x-s"])}
        return {"remove_on_match": {"key_matcher": draw.choice([{"prefix": "x-"}, {"exact": "x-a"}, {"contains": "-"}])}}

    def query():
        if draw.random() < 0.3:
            return {"remove": draw.choice(["a", "z"])}
        record = {"key": draw.choice(["a", "b", "new"]), "value": draw.choice(["9", "%REQ(x-a)%", ""])}
        return {"append": {"record": record, "action": draw.choice(actions)}}

    def some(make, *arguments):
        return [make(*arguments) for _ in range(draw.randint(0, 3))]

    def all_changes():
        return {"request_mutations": some(change, ["x-a", "X-A", "x-new", "user-agent"]),
                "response_mutations": some(change, ["x-r", "x-s", "x-new", "content-type"]),
                "query_parameter_mutations": some(query)}  # fmt: skip

    def level():
        config = {"@type": FILTERS + "header_mutation.v3.HeaderMutationPerRoute", "mutations": all_changes()}
        return {"typed_per_filter_config": {"hm": config}} if draw.random() < 0.4 else {}

    config = {"@type": FILTERS + "header_mutation.v3.HeaderMutation", "mutations": all_changes(),
              "most_specific_header_mutations_wins": draw.random() < 0.4}  # fmt: skip
    route = {"match": {"prefix": "/"}, "name": "r", "route": {"cluster": "c"}} | level()
    return case(f"mutations {number}", host([route], **level()) | level(), requests,
                http_filters=[{"name": "hm", "typed_config": config}])  # fmt: skip


def origins(draw, number):
    asked = ("access-control-request-method", "PUT")
    requests = [{"method": method, "headers": [list(pair) for pair in sent]} for method in ("GET", "OPTIONS")
                for sent in ([], [("origin", "http://a.com")], [("origin", "http://a.com"), asked], [("origin", "null"), asked],
                             [("origin", "http://s.a.com"), asked], [("origin", "http://a.com"), ("origin", "http://b.com"), asked],
                             [("origin", "http://a.com"), asked, ("access-control-request-private-network", "true")])]  # fmt: skip
    matchers = [{"exact": "http://a.com"}, {"exact": "HTTP://a.com", "ignore_case": True}, {"prefix": "http://"},
                {"suffix": ".a.com"}, {"contains": "b.com"}, {"safe_regex": {"regex": "http://.*\\.com"}}, {"exact": "*"}]  # fmt: skip

    def level():
        if draw.random() < 0.4:
            return {}
        policy = {"@type": FILTERS + "cors.v3.CorsPolicy", "allow_origin_string_match": draw.sample(matchers, draw.randint(0, 2))}
        for field in ("allow_methods", "allow_headers", "expose_headers", "max_age"):
            if draw.random() < 0.4:
                policy[field] = draw.choice(["x", "*", ""])
        for field in ("allow_credentials", "allow_private_network_access", "forward_not_matching_preflights"):
            if draw.random() < 0.4:
                policy[field] = draw.random() < 0.5
        for field in ("filter_enabled", "shadow_enabled"):
            if draw.random() < 0.3:
                policy[field] = {"default_value": {"numerator": draw.choice([0, 100])}}
        return {"typed_per_filter_config": {"cors": policy}}

    action = draw.choice([{"route": {"cluster": "c"}}, {"direct_response": {"status": 200}}, {"redirect": {"path_redirect": "/x"}}])
    route = {"match": {"prefix": "/"}, "name": "r"} | action | level()
    return case(f"cors {number}", host([route], **level()) | level(), requests,
                http_filters=[{"name": "cors", "typed_config": {"@type": FILTERS + "cors.v3.Cors"}}])  # fmt: skip


def hops():
    """What a request says to the next hop alone."""
    told = [[("te", value)] for value in ("gzip", "trailers", "gzip, trailers", "Trailers;q=0.5, deflate")]
    told += [[("connection", value), ("x-foo", "1"), ("te", "trailers"), ("cookie", "a=1")]
             for value in ("close", "keep-alive, x-foo", "x-foo, te", "X-Foo", ",x-foo,", "upgrade, x-foo", "cookie")]
    told += [[("keep-alive", "timeout=5")], [("proxy-connection", "keep-alive")], [("upgrade", "foo")], [("trailer", "x")],
             [("connection", "x-foo"), ("connection", "x-bar"), ("x-foo", "1"), ("x-bar", "1")]]  # fmt: skip
    yield case("hops", one(), headers(*told))


def everything():
    for part in (hops, managers, local_replies, made_by_commands, refusals, at_random):
        yield from part()

"""Retries, limits, timeouts and faults: a request ends for our client as it does behind Envoy.

Both have one configuration and the same servers. What is compared of an answer is in `told`; what
of the servers, how often they were reached.
"""

import itertools
import socket
import statistics
from concurrent.futures import ThreadPoolExecutor

import beside
import pytest
from beside import Echo, cluster, endpoint, route, settled, started, whose

# Headers of answers that a proxy adds of itself, and those of a connection.
ITS_OWN = {
    "connection", "content-length", "date", "server", "transfer-encoding",
    "x-envoy-upstream-service-time", "content-type", "keep-alive",
}  # fmt: skip

# Of the headers that reach a server: those that tell of attempts.
ATTEMPTS = ("x-envoy-attempt-count",)


def told(answer, case, echo):
    """What is compared."""
    headers = [pair for pair in answer["headers"] if pair[0] not in ITS_OWN]
    body = answer.get("body") or ""
    seen = settled(lambda: echo.seen(case))
    return {
        "status": answer["status"],
        "headers": sorted(map(tuple, headers)),
        # Servers describe a request, of which each has its own case.
        "body": "of the server" if body.startswith("{") else body,
        "flags": sorted(answer["flags"].split(",")),
        "details": answer["details"].replace("via_upstream", "-"),
        "attempts": [[one["headers"].get(name) for name in ATTEMPTS] for one in seen],
    }


def differences(pair, echo, what):
    (theirs, their_case), (ours, our_case) = pair
    theirs, ours = told(theirs, their_case, echo), told(ours, our_case, echo)
    if error := (pair[1][0]["error"] or {}).get("text", "")[:1500]:
        what += f" ({error})"
    return [
        f"{what}: {field}: Envoy {theirs[field]}, ours {ours[field]}"
        for field in theirs
        if theirs[field] != ours[field]
    ]


def compare(both, echo, requests):
    """Sends them to both, some side by side, and tells what differs."""
    with ThreadPoolExecutor(4) as pool:
        pairs = pool.map(lambda one: both.fetch(one[1], *one[2:]), requests)
        found = [differences(pair, echo, one[0]) for one, pair in zip(requests, pairs)]
    differ = list(itertools.chain(*found))
    print(f"{len(requests)} requests, {len(differ)} differences")
    assert not differ, "\n".join(differ)


def header(name, value):
    return (f"{name}: {value}",)


@pytest.fixture
def echo(meshctl):
    return Echo(meshctl, "v1", listen="0.0.0.0:0")


# Nobody listens there: it is below those that are handed out, and needs rights.
DEAD = 1

@pytest.fixture
def deaf():
    """A port where connections are neither made nor refused: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


# Without it a status of gRPC in an answer's head says nothing here.
GRPC = "application/grpc"

CONDITIONS = [
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx",
    "envoy-ratelimited", "retriable-status-codes", "retriable-headers", "refused-stream",
    "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
    "5xx,retriable-4xx", "gateway-error,connect-failure,retriable-headers",
]  # fmt: skip

OUTCOMES = {
    "good": ("/up", "x-echo-status: 200"),
    **{str(code): ("/up", f"x-echo-status: {code}")
       for code in (404, 408, 409, 429, 500, 502, 503, 504)},
    "limited": ("/up", "x-echo-status: 503", "x-echo-response-header: x-envoy-ratelimited=true"),
    "limited 429": ("/up", "x-echo-status: 429",
                    "x-echo-response-header: x-envoy-ratelimited=true"),
    "named": ("/up", "x-echo-status: 200", "x-echo-response-header: x-again=yes"),
    "overloaded": ("/up", "x-echo-status: 503",
                   "x-echo-response-header: x-envoy-overloaded=true"),
    **{f"grpc {code}": ("/up", f"x-echo-grpc-status: {code}", f"content-type: {GRPC}")
       for code in (1, 4, 8, 13, 14)},
    "closed": ("/up", "x-echo-close: 1"),
    "refused": ("/dead",),
    "late": ("/up", "x-echo-delay-ms: 2000"),
}  # fmt: skip


def test_retry_matrix(echo, started):
    """Every condition with every outcome."""
    policy = {
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
        "retriable_status_codes": [409],
        "retriable_headers": [{"name": "x-again", "string_match": {"exact": "yes"}}],
        "per_try_timeout": "0.3s",
    }
    routes = [
        route(f"/{way}{number}/", way, retry_policy=policy | {"retry_on": on})
        for number, on in enumerate(CONDITIONS)
        for way in ("up", "dead")
    ]
    attempts = {
        "include_request_attempt_count": True,
        "include_attempt_count_in_response": True,
        "response_headers_to_add": [{"header": {"key": "x-of-host", "value": "1"}}],
    }
    clusters = [cluster("up", [endpoint(echo.port)]), cluster("dead", [endpoint(DEAD)])]
    for one in clusters:
        one["circuit_breakers"] = {"thresholds": [{"max_retries": 100}]}
    both = started(routes, clusters, host=attempts)
    requests = [
        (f"{on} on {outcome}", f"{way}{number}/", *headers)
        for number, on in enumerate(CONDITIONS)
        for outcome, (way, *headers) in OUTCOMES.items()
    ]  # fmt: skip
    compare(both, echo, requests)


def test_wishes_of_requests(echo, started):
    """What a request asks for in headers."""
    attempts = {
        "include_request_attempt_count": True,
        "include_attempt_count_in_response": True,
        "response_headers_to_add": [{"header": {"key": "x-of-host", "value": "1"}}],
    }
    routes = [route("/up", "up"), route("/dead", "dead")]
    clusters = [cluster("up", [endpoint(echo.port)]), cluster("dead", [endpoint(DEAD)])]
    both = started(routes, clusters, host=attempts)
    failing = header("x-echo-status", 503)
    late = header("x-echo-delay-ms", 2000)
    on = header("x-envoy-retry-on", "5xx")
    requests = [
        ("5xx", "/up", *failing, *on),
        ("5xx four times", "/up", *failing, *on, *header("x-envoy-max-retries", 3)),
        ("no retries", "/up", *failing, *on, *header("x-envoy-max-retries", 0)),
        ("bad number", "/up", *failing, *on, *header("x-envoy-max-retries", "many")),
        ("unknown", "/up", *failing, *header("x-envoy-retry-on", "bad-weather")),
        ("refused", "/dead", *header("x-envoy-retry-on", "connect-failure")),
        ("codes", "/up", *header("x-echo-status", 409),
         *header("x-envoy-retry-on", "retriable-status-codes"),
         *header("x-envoy-retriable-status-codes", "408,409")),
        ("header names", "/up", *header("x-echo-response-header", "x-odd=1"),
         *header("x-envoy-retry-on", "retriable-headers"),
         *header("x-envoy-retriable-header-names", "x-odd")),
        ("grpc", "/up", *header("x-echo-grpc-status", 14), *header("content-type", GRPC),
         *header("x-envoy-retry-grpc-on", "unavailable")),
        ("timeout", "/up", *late, *header("x-envoy-upstream-rq-timeout-ms", 200)),
        ("per try", "/up", *late, *header("x-envoy-upstream-rq-per-try-timeout-ms", 200), *on),
        ("per try alone", "/up", *late, *header("x-envoy-upstream-rq-per-try-timeout-ms", 200)),
        ("both", "/up", *late, *header("x-envoy-upstream-rq-per-try-timeout-ms", 150),
         *header("x-envoy-upstream-rq-timeout-ms", 400), *on,
         *header("x-envoy-max-retries", 9)),
        ("alternative", "/up", *late, *header("x-envoy-upstream-rq-timeout-ms", 200),
         *header("x-envoy-upstream-rq-timeout-alt-response", 1)),
    ]  # fmt: skip
    compare(both, echo, requests)


def threshold(**limits):
    return {"circuit_breakers": {"thresholds": [limits]}}


def test_limits_and_failures(echo, deaf, started):
    """Overflows, ends of time, faults, and the lack of anybody to ask."""
    attempts = {
        "include_request_attempt_count": True,
        "include_attempt_count_in_response": True,
        "response_headers_to_add": [{"header": {"key": "x-of-host", "value": "1"}}],
    }
    again = {"retry_on": "5xx", "num_retries": 2}
    up = [endpoint(echo.port)]
    budget = {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}
    high = {"thresholds": [
        {"priority": "DEFAULT", "max_requests": 0}, {"priority": "HIGH", "max_requests": 9}]}
    only_high = {"thresholds": [{"priority": "HIGH", "max_requests": 0}]}
    clusters = [
        cluster("up", up),
        cluster("dead", [endpoint(DEAD)]),
        cluster("empty"),
        cluster("sick", [endpoint(echo.port, health_status="UNHEALTHY")],
                common_lb_config={"healthy_panic_threshold": {"value": 0}}),
        cluster("panic", [endpoint(echo.port, health_status="UNHEALTHY")]),
        cluster("requests", up, **threshold(max_requests=0)),
        cluster("pending", up, **threshold(max_pending_requests=0)),
        cluster("connections", up, **threshold(max_connections=0)),
        cluster("retries", up, **threshold(max_retries=0)),
        cluster("budget", up, **threshold(retry_budget=budget)),
        cluster("high", up, circuit_breakers=high),
        cluster("only-high", up, circuit_breakers=only_high),
        cluster("deaf", [endpoint(deaf)], connect_timeout="0.3s"),
        cluster("deaf-for-long", [endpoint(deaf)], connect_timeout="5s"),
    ]  # fmt: skip
    delay = {"fixed_delay": "0.1s", "percentage": {"numerator": 100}}
    abort = {"http_status": 418, "percentage": {"numerator": 100}}
    named = "envoy.filters.http.fault"
    typed = f"{beside.TYPES}envoy.extensions.filters.http.fault.v3.HTTPFault"
    extension = f"{beside.TYPES}envoy.extensions.filters.http"
    everybody = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    denied = {"rules": {"action": "DENY", "policies": {"all": everybody}}}
    bucket = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"}
    always = {"default_value": {"numerator": 100}}
    limited = {"@type": f"{extension}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "l"}
    filters = [
        {"name": named, "typed_config": {"@type": typed}},
        {"name": "rbac", "typed_config": {"@type": f"{extension}.rbac.v3.RBAC"}},
        {"name": "limit", "typed_config": limited},
    ]

    def faulty(path, **fault):
        override = {"typed_per_filter_config": {named: {"@type": typed} | fault}}
        return route(path, "up") | override

    by_header = {"header_abort": {}, "percentage": {"numerator": 100}}
    routes = [
        *(route(f"/{one['name']}/", one["name"], retry_policy=again) for one in clusters),
        *(route(f"/once/{one['name']}/", one["name"]) for one in clusters),
        route("/important/high/", "high", priority="HIGH"),
        route("/important/only-high/", "only-high", priority="HIGH"),
        route("/timeout/", "up", timeout="0.2s"),
        route("/timeout-of-deaf/", "deaf-for-long", timeout="0.1s"),
        route("/per-try/", "up", retry_policy=again | {"per_try_timeout": "0.1s"}),
        route("/per-try-alone/", "up", retry_policy={"per_try_timeout": "0.1s"}),
        route("/timeout-in-tries/", "up", timeout="0.6s",
              retry_policy={"retry_on": "5xx", "num_retries": 9, "per_try_timeout": "0.4s",
                            "retry_back_off": {"base_interval": "0.001s"}}),
        route("/idle/", "up", idle_timeout="0.2s"),
        route("/stream/", "up", max_stream_duration={"max_stream_duration": "0.2s"}),
        route("/grpc-stream/", "up", max_stream_duration={"grpc_timeout_header_max": "0s"}),
        faulty("/delay/", delay=delay),
        faulty("/abort/", abort=abort),
        faulty("/delay-abort/", delay=delay, abort=abort),
        faulty("/header-abort/", abort=by_header),
        faulty("/header-delay/", delay={"header_delay": {}, "percentage": {"numerator": 100}}),
        faulty("/limited/", delay=delay, max_active_faults=0),
        route("/denied/", "up") | {"typed_per_filter_config": {
            "rbac": {"@type": f"{extension}.rbac.v3.RBACPerRoute", "rbac": denied}}},
        route("/many/", "up") | {"typed_per_filter_config": {"limit": limited | {
            "token_bucket": bucket, "filter_enabled": always, "filter_enforced": always}}},
        {"match": {"prefix": "/direct/"},
         "direct_response": {"status": 429, "body": {"inline_string": "no"}}},
    ]  # fmt: skip
    both = started(routes, clusters, filters=filters, host=attempts)
    failing, late = header("x-echo-status", 503), header("x-echo-delay-ms", 1500)
    names = [one["name"] for one in clusters if one["name"] != "deaf-for-long"]
    requests = [
        *((name, f"/{name}/") for name in names),
        *((f"{name} once", f"/once/{name}/") for name in names),
        *((f"{name} failing", f"/{name}/", *failing) for name in ("up", "retries", "budget")),
        ("important", "/important/high/"),
        ("important and full", "/important/only-high/"),
        ("not important", "/only-high/"),
        ("no route", "/nothing/"),
        ("timeout", "/timeout/", *late),
        ("timeout that is long enough", "/timeout/"),
        ("timeout while connecting", "/timeout-of-deaf/"),
        ("per try", "/per-try/", *late),
        ("per try alone", "/per-try-alone/", *late),
        ("timeout in tries", "/timeout-in-tries/", *late),
        ("idle", "/idle/", *late),
        ("stream", "/stream/", *late),
        ("stream of gRPC", "/grpc-stream/", *late, *header("grpc-timeout", "200m")),
        ("closed", "/once/up/", *header("x-echo-close", 1)),
        ("delay", "/delay/"),
        ("abort", "/abort/"),
        ("delay and abort", "/delay-abort/"),
        ("abort by header", "/header-abort/", *header("x-envoy-fault-abort-request", 429)),
        ("abort by header, none", "/header-abort/"),
        ("abort by header, bad", "/header-abort/", *header("x-envoy-fault-abort-request", "x")),
        ("abort by header, never", "/header-abort/", *header("x-envoy-fault-abort-request", 429),
         *header("x-envoy-fault-abort-request-percentage", 0)),
        ("delay by header", "/header-delay/", *header("x-envoy-fault-delay-request", 50)),
        ("too many faults", "/limited/"),
        ("denied", "/denied/"),
        ("direct", "/direct/"),
    ]  # fmt: skip
    compare(both, echo, requests)


def gaps(requests):
    """Times between attempts by their number, in milliseconds."""
    found = {}
    for before, after in itertools.pairwise(requests):
        number = int(after["headers"]["x-envoy-attempt-count"])
        if number > 1:
            found.setdefault(number - 1, []).append((after["at_us"] - before["at_us"]) / 1e3)
    return found


def test_waits_between_attempts(meshctl, echo, started):
    """Uniform up to 25, 50, 100, 200, 250, 250 ms for both."""
    loads, each = 4, 20
    policy = {"retry_on": "5xx", "num_retries": 6}
    both = started(
        [route("/", "up", retry_policy=policy)],
        [cluster("up", [endpoint(echo.port)], **threshold(max_retries=1000))],
        host={"include_request_attempt_count": True},
    )
    arguments = ("/", "--requests", each, "--concurrency", 1, "-H", "x-echo-status: 503")
    for is_ours in (False, True):
        with ThreadPoolExecutor(loads) as pool:
            results = list(pool.map(lambda _: both.load_of(is_ours, *arguments), range(loads)))
        found = {}
        for counts, case in results:
            assert counts["status"] == {"503": each} and counts["flags"] == {"URX": each}
            for number, waits in gaps(settled(lambda: echo.seen(case))).items():
                found.setdefault(number, []).extend(waits)
        assert sorted(found) == [1, 2, 3, 4, 5, 6]
        for edge, waits in zip((25, 50, 100, 200, 250, 250), found.values()):
            assert len(waits) == loads * each
            # Uniform: half the edge, deviating by edge / sqrt(12). What a busy machine adds to
            # each wait is not known: one in ten may be any late.
            deviation = edge / 12**0.5 / len(waits) ** 0.5
            late_ms = 8
            median, most = statistics.median(waits), statistics.quantiles(waits, n=10)[-1]
            print(f"{whose(is_ours)}: edge {edge}: half below {median:.1f}, most below {most:.1f}")
            assert edge / 2 - 6 * deviation < median < edge / 2 + 6 * deviation + late_ms
            assert edge * 0.75 < most < edge + late_ms


def test_limits_under_load(echo, started):
    """As many pass as may, and the others are refused at once."""
    up = [endpoint(echo.port)]
    clusters = [
        cluster("requests", up, **threshold(max_requests=3)),
        cluster("connections", up, **threshold(max_connections=2, max_pending_requests=4)),
    ]
    both = started([route(f"/{one['name']}/", one["name"]) for one in clusters], clusters)
    for name, least, most in (("requests", 3, 3), ("connections", 4, 6)):
        # Four wait while the first connections are made; for those that got one, others wait.
        many = ("--requests", 10, "--concurrency", 10, "-H", "x-echo-delay-ms: 700")
        for counts, case in both.load(f"/{name}/", *many):
            good, refused = counts["status"]["200"], counts["status"]["503"]
            assert least <= good <= most and good + refused == 10, counts
            assert counts["flags"] == {"UO": refused}
            overflow = "upstream_reset_before_response_started{overflow}"
            assert counts["details"].get(overflow) == refused, counts
            assert len(echo.seen(case)) == good

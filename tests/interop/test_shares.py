"""Endpoints: who gets how many requests when some are sick, as behind Envoy.

Shares are those of Envoy's rules, and both keep to them within some standard deviations.
"""

import collections
import itertools
import json
import signal
import time

import pytest
from beside import Echo, cluster, endpoint, route, started, whose

REQUESTS = 1_500


@pytest.fixture
def echoes(meshctl):
    """Three servers, each at all loopback addresses."""
    return [Echo(meshctl, f"v{at}", listen="0.0.0.0:0") for at in range(3)]


def group(echo, healthy, sick=0, **fields):
    """Endpoints of one server under as many addresses."""
    made = [
        endpoint(echo.port, f"127.0.{int(echo.version[1:]) + 1}.{at + 1}",
                 health_status="UNHEALTHY" if at < sick else "HEALTHY")
        for at in range(healthy + sick)
    ]  # fmt: skip
    locality = {"zone": echo.version} | fields.pop("locality", {})
    return {"lb_endpoints": made, "locality": locality} | fields


def sigma(share):
    return (share * (1 - share) / REQUESTS) ** 0.5


def seed(is_ours):
    """Our draws are the same each time; Envoy's are not."""
    return ("--seed", 7) if is_ours else ()


def deviations(is_ours):
    """So many are allowed. Of a hundred shares drawn anew, one in three runs would miss by three."""
    return 3 if is_ours else 4.5


def shares(counts):
    by = {name.rsplit("/", 1)[1]: n for name, n in counts["by"].items()}
    return [by.get(f"v{at}", 0) / counts["requests"] for at in range(3)]


def failover_of(*healthy):
    """The shares of priorities with five endpoints each, of which so many are healthy."""
    available = [min(100, int(140 * n / 5)) for n in healthy]
    total = min(100, sum(available))
    left, made = 100, []
    for one in available:
        made.append(min(left, one * 100 // total))
        left -= made[-1]
    # What rounding leaves goes to the first that takes any.
    made[next(at for at, one in enumerate(made) if one)] += left
    return [one / 100 for one in made]


def cases(echoes):
    """Names, localities, more of the cluster, and the shares."""
    for healthy in ((5, 5, 5), (4, 5, 5), (3, 5, 5), (2, 5, 5), (0, 5, 5), (2, 1, 5), (0, 0, 3),
                    (1, 1, 1), (0, 2, 2)):  # fmt: skip
        levels = [
            group(echo, n, 5 - n, priority=at)
            for at, (echo, n) in enumerate(zip(echoes, healthy))
        ]
        name = "failover-" + "-".join(map(str, healthy))
        # Without panic: it is another test's.
        yield name, levels, {}, failover_of(*healthy)

    weighted = {"common_lb_config": {"locality_weighted_lb_config": {}, "update_merge_window": "0s"}}
    thirds = [group(echo, 3, load_balancing_weight=n) for echo, n in zip(echoes, (1, 2, 3))]
    yield "weighted", thirds, weighted, [1 / 6, 2 / 6, 3 / 6]
    # A locality counts for as much as is healthy of it, times 1.4: 1, 2 · 0.7, 3 · 0.466….
    some = [
        group(echo, healthy, sick, load_balancing_weight=n)
        for echo, healthy, sick, n in zip(echoes, (3, 3, 2), (0, 3, 4), (1, 2, 3))
    ]
    total = 1 + 1.4 + 1.4
    yield "weighted-sick", some, weighted, [1 / total, 1.4 / total, 1.4 / total]
    # Localities without weights count by their endpoints.
    yield ("endpoints", [group(echo, n) for echo, n in zip(echoes, (1, 2, 5))], {},
           [1 / 8, 2 / 8, 5 / 8])  # fmt: skip
    # Fewer than half: all are asked, as many as they are.
    yield ("panic", [group(echo, n, 5 - n) for echo, n in zip(echoes, (2, 1, 1))],
           {"common_lb_config": {}}, [1 / 3] * 3)  # fmt: skip
    yield ("no-panic", [group(echo, n, 4 - n) for echo, n in zip(echoes, (4, 1, 1))],
           {"common_lb_config": {}}, [4 / 6, 1 / 6, 1 / 6])  # fmt: skip
    # Degraded ones take what the healthy leave: 1.4 · 2 / 5 = 56 %.
    degraded = group(echoes[1], 3)
    for one in degraded["lb_endpoints"]:
        one["health_status"] = "DEGRADED"
    yield "degraded", [group(echoes[0], 2), degraded], {}, [0.56, 0.44, 0]


def test_shares_of_priorities_and_localities(echoes, started):
    table = list(cases(echoes))
    no_panic = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    clusters = [
        cluster(name, *levels, **({"lb_policy": "ROUND_ROBIN"} | no_panic | more))
        for name, levels, more, _ in table
    ]
    both = started([route(f"/{name}/", name) for name, *_ in table], clusters)
    differ = []
    for (name, _, _, expected), is_ours in itertools.product(table, (False, True)):
        counts, _ = both.load_of(is_ours, f"/{name}/", "--requests", REQUESTS, *seed(is_ours))
        assert counts["status"] == {"200": REQUESTS}, (name, counts)
        for at, (got, want) in enumerate(zip(shares(counts), expected)):
            if abs(got - want) > deviations(is_ours) * sigma(want) + 1 / REQUESTS:
                differ.append(f"{name}: v{at} of {whose(is_ours)}: {got:.3f}, expected {want:.3f}")
    print(f"{len(table)} clusters, {len(differ)} shares differ")
    assert not differ, "\n".join(differ)


def test_faults_hit_their_share(echoes, started):
    named = "envoy.filters.http.fault"
    typed = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
    abort = {"http_status": 503, "percentage": {"numerator": 30}}
    delay = {"fixed_delay": "0.02s", "percentage": {"numerator": 25}}
    fault = {"@type": typed, "abort": abort, "delay": delay}
    both = started(
        [route("/", "up")],
        [cluster("up", [endpoint(echoes[0].port)])],
        filters=[{"name": named, "typed_config": fault}],
    )
    for is_ours in (False, True):
        load = ("/", "--requests", REQUESTS, "--concurrency", 50, *seed(is_ours))
        counts, case = both.load_of(is_ours, *load)
        for flag, share in (("FI", 0.3), ("DI", 0.25)):
            got = counts["flags"][flag] / REQUESTS
            assert abs(got - share) <= deviations(is_ours) * sigma(share), (flag, got)
        assert counts["status"]["503"] == counts["flags"]["FI"]
        assert len(echoes[0].seen(case)) == counts["status"]["200"]


def test_outliers_are_ejected_after_as_many_failures(meshctl, started):
    good = Echo(meshctl, "good")
    bad = Echo(meshctl, "bad", "--fail", "503:100")
    both_of = [endpoint(good.port), endpoint(bad.port)]
    common = {"interval": "60s", "base_ejection_time": "60s", "max_ejection_percent": 100}
    table = {
        # What is configured, and how many requests the bad one gets of 60 by turns.
        "five": ({}, 5),
        "three": ({"consecutive_5xx": 3}, 3),
        "gateway": ({"consecutive_5xx": 0, "consecutive_gateway_failure": 4,
                     "enforcing_consecutive_gateway_failure": 100}, 4),
        "never": ({"enforcing_consecutive_5xx": 0}, 30),
        "too-many": ({"max_ejection_percent": 10}, 30),
        "always-one": ({"max_ejection_percent": 10, "always_eject_one_host": True}, 5),
    }  # fmt: skip
    clusters = [
        cluster(name, both_of, outlier_detection=common | detection)
        for name, (detection, _) in table.items()
    ]
    both = started([route(f"/{name}/", name) for name in table], clusters)
    for name, (_, expected) in table.items():
        load = (f"/{name}/", "--requests", 60, "--concurrency", 1)
        theirs, ours = [counts["status"].get("503", 0) for counts, _ in both.load(*load)]
        assert ours == expected, name
        # Envoy's threads tell each other of it, which takes a moment.
        assert expected <= theirs <= expected + 3, name


def health_check(**fields):
    check = {"timeout": "0.2s", "interval": "0.2s", "no_traffic_interval": "0.2s",
             "unhealthy_threshold": 3, "healthy_threshold": 2,
             "http_health_check": {"path": "/health"}}  # fmt: skip
    return {"health_checks": [check | fields]}


def test_checks_decide_who_is_asked(meshctl, started):
    """A wrong status counts at once, silence after the threshold; and back after another."""
    good = Echo(meshctl, "good")
    wrong = Echo(meshctl, "wrong", "--fail", "503:100")
    silent = Echo(meshctl, "silent")
    lists = {"wrong": [good, wrong], "silent": [good, silent]}
    table = {name: [endpoint(echo.port) for echo in echoes] for name, echoes in lists.items()}
    clusters = [cluster(name, hosts, **health_check()) for name, hosts in table.items()]
    both = started([route(f"/{name}/", name) for name in table], clusters)
    for is_ours in (False, True):
        counts, case = both.load_of(is_ours, "/wrong/", "--duration", "2s", "--rate", 100)
        # Envoy waits for the first checks before it takes requests, ours asks meanwhile.
        hurried = len(wrong.seen(case))
        assert hurried <= (30 if is_ours else 0), whose(is_ours)
        assert counts["status"]["200"] == counts["requests"] - hurried

    for is_ours in (False, True):
        events = watch(both, is_ours, silent)
        who = whose(is_ours)
        print(f"{who}: no requests {events['gone']:.2f} s after it fell silent, again "
              f"{events['back']:.2f} s after it spoke")  # fmt: skip
        # Three checks that time out after 0.2 s each, with 0.2 s between them: from 0.6 s to
        # 1.2 s. Two good ones: from 0.2 s to 0.6 s. Lines come every 0.1 s.
        assert 0.5 <= events["gone"] <= 1.6, who
        assert 0.1 <= events["back"] <= 1.2, who


def watch(both, is_ours, echo):
    """When requests stop to reach a server that falls silent, and when they reach it again."""
    child = both.start_load(is_ours, "/silent/", "--duration", "6s", "--rate", 200,
                            "--every", "100ms", "--timeout", "250ms")  # fmt: skip
    events, name = {}, f"echo/{echo.version}"
    stopped = started = None
    begin = None
    try:
        for line in child.stdout:
            line = json.loads(line)
            now = time.monotonic()
            if "interval" not in line:
                break
            asked = sum(line["by"].values()) + sum(line["errors"].values())
            failed = sum(n for code, n in line["status"].items() if code != "200")
            if begin is None and line["by"].get(name):
                begin = now
            elif begin and stopped is None and now - begin > 0.5:
                echo.child.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
            elif stopped and "gone" not in events:
                # Those that were sent while it was taken for well end up to 250 ms later.
                if asked and not failed and now - stopped > 0.3:
                    events["gone"] = now - stopped - 0.25
            elif "gone" in events and started is None:
                echo.child.send_signal(signal.SIGCONT)
                started = time.monotonic()
            elif started and "back" not in events and line["by"].get(name):
                events["back"] = now - started
    finally:
        echo.child.send_signal(signal.SIGCONT)
        child.wait()
    return collections.defaultdict(lambda: -1.0, events)

"""Our client with an ADS server that is not ours."""

import json

import pytest
import resources
from ads_server import CLUSTER, ENDPOINTS, LISTENER, ROUTES, AdsServer
from conftest import DEADLINE_S, eventually

TARGET = "greeter:9080"
CLUSTERS = [f"cluster-{number:02}" for number in range(100)]


@pytest.fixture
def ads():
    server = AdsServer().start()
    yield server
    server.stop()


@pytest.fixture
def bootstrap(ads, meshctl, tmp_path):
    path = tmp_path / "bootstrap.json"
    address = f"127.0.0.1:{ads.port}"
    meshctl.start("bootstrap", "--xds", address, "--name", "client", "--out", path).wait(DEADLINE_S)
    return path


def put_target(ads, port, clusters):
    """The target, with a route to each cluster by the prefix of its name, all on one port."""
    ads.put(ENDPOINTS, {name: resources.endpoints(name, port) for name in clusters})
    ads.put(CLUSTER, {name: resources.cluster(name) for name in clusters})
    prefixes = {f"/{name}": name for name in clusters}
    ads.put(ROUTES, {"routes": resources.routes("routes", prefixes)})
    ads.put(LISTENER, {TARGET: resources.listener(TARGET, "routes")})


def fetch(meshctl, bootstrap, path):
    (answer,) = meshctl.run("fetch", f"http://{TARGET}{path}", bootstrap=bootstrap)
    return answer


class Load:
    """`meshctl load`, for as long as a test needs."""

    def __init__(self, meshctl, bootstrap, path, seconds):
        arguments = ["--rate", "200", "--duration", f"{seconds}s", "--every", "100ms"]
        url = f"http://{TARGET}{path}"
        self._child = meshctl.start("load", url, *arguments, bootstrap=bootstrap)

    def answers(self):
        """Waits for the first interval with answers."""
        for line in self._child.stdout:
            if json.loads(line)["status"]:
                return
        raise AssertionError("the load ended without an answer")

    def result(self):
        *_, last = self._child.stdout
        return json.loads(last)

    def result_without_failure(self):
        result = self.result()
        assert result["errors"] == {} and list(result["status"]) == ["200"], result
        return result


def test_walks_the_types_and_asks_once_for_each(ads, meshctl, bootstrap):
    put_target(ads, meshctl.echo("v1"), CLUSTERS)
    answer = fetch(meshctl, bootstrap, "/cluster-00/path")
    assert (answer["status"], answer["cluster"]) == (200, "cluster-00")
    assert json.loads(answer["body"])["path"] == "/cluster-00/path"
    order = list(dict.fromkeys(seen.type_url for seen in ads.requests()))
    assert order == [LISTENER, ROUTES, CLUSTER, ENDPOINTS]
    for type_url, names in [(LISTENER, 1), (ROUTES, 1), (CLUSTER, 100), (ENDPOINTS, 100)]:
        requests = ads.requests(type_url)
        # One to ask and one to acknowledge, unless the process ended before.
        assert len(requests) in (1, 2), requests
        assert {len(seen.names) for seen in requests} == {names}
        assert all(seen.error is None for seen in requests)
    assert [seen.has_node for seen in ads.requests()].count(True) == 1


def test_invalid_cluster_among_a_hundred_is_named_and_the_others_serve(ads, meshctl, bootstrap):
    port = meshctl.echo("v1")
    put_target(ads, port, CLUSTERS)
    ads.put(CLUSTER, {"cluster-37": resources.invalid_cluster("cluster-37")})
    load = Load(meshctl, bootstrap, "/cluster-36", 2)
    refused = ads.wait_for(lambda seen: seen.error is not None)
    assert refused.type_url == CLUSTER and refused.version == ""
    assert "cluster-37" in refused.error and "eds_cluster_config" in refused.error
    assert "cluster-36" not in refused.error
    load.result_without_failure()

    good = fetch(meshctl, bootstrap, "/cluster-99")
    assert (good["status"], good["error"]) == (200, None)
    bad = fetch(meshctl, bootstrap, "/cluster-37")
    assert bad["error"]["kind"] == "no_cluster"
    for part in ("greeter:9080", "routes", "cluster-37", "eds_cluster_config"):
        assert part in bad["error"]["text"]


def test_server_that_restarts_is_told_the_versions_and_no_request_fails(ads, meshctl, bootstrap):
    put_target(ads, meshctl.echo("v1"), CLUSTERS[:1])
    load = Load(meshctl, bootstrap, "/", 8)
    ads.put(ROUTES, {"routes": resources.routes("routes", {"/": "cluster-00"})})
    load.answers()
    expected = {kind: ads.version(kind) for kind in (LISTENER, ROUTES, CLUSTER, ENDPOINTS)}
    for kind, version in expected.items():
        ads.wait_for(lambda seen: seen.type_url == kind and seen.version == version)
    for stream in (2, 3):
        ads.stop()
        ads.start()
        for kind, version in expected.items():
            first = ads.wait_for(lambda seen: seen.stream == stream and seen.type_url == kind)
            assert (first.version, first.nonce) == (version, "")
    load.result_without_failure()


def test_changes_and_removals_reach_a_client_under_load(ads, meshctl, bootstrap):
    ports = {version: meshctl.echo(version) for version in ("v1", "v2")}
    put_target(ads, ports["v1"], ["cluster"])
    ads.put(ROUTES, {"routes": resources.routes("routes", {"/": "cluster"})})
    load = Load(meshctl, bootstrap, "/", 4)
    load.answers()
    ads.put(ENDPOINTS, {"cluster": resources.endpoints("cluster", ports["v2"])})
    version = ads.version(ENDPOINTS)
    ads.wait_for(lambda seen: seen.type_url == ENDPOINTS and seen.version == version)
    # What is gone from an answer is kept, and reported.
    ads.remove(CLUSTER, "cluster")
    version = ads.version(CLUSTER)
    ads.wait_for(lambda seen: seen.type_url == CLUSTER and seen.version == version)
    result = load.result_without_failure()
    assert set(result["by"]) == {"greeter/v1", "greeter/v2"}


def test_target_that_appears_late_is_waited_for(ads, meshctl, bootstrap):
    port = meshctl.echo("v1")
    child = meshctl.start("fetch", f"http://{TARGET}/", bootstrap=bootstrap)
    ads.wait_for(lambda seen: seen.type_url == LISTENER)
    put_target(ads, port, ["cluster"])
    ads.put(ROUTES, {"routes": resources.routes("routes", {"/": "cluster"})})
    answer = json.loads(child.stdout.readline())
    assert (answer["status"], answer["error"]) == (200, None)
    eventually(lambda: child.poll() is not None, "end of fetch")

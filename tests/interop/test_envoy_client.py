"""Envoy as a sidecar of our control plane, over both protocols."""

import collections
import http.client
import json
import socket
import threading
import urllib.request

import istio
import pytest
from conftest import DEADLINE_S, eventually
from envoy_process import Envoy

NODE = "sidecar~127.0.0.1~client.default~default.svc.cluster.local"


def bootstrap(xds, api_type):
    """A sidecar of which nobody redirects connections, so that its listeners are bound."""
    host, port = xds.rsplit(":", 1)
    address = {"socket_address": {"address": host, "port_value": int(port)}}
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    control = {
        "name": "xds-grpc",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        "typed_extension_protocol_options": {
            options: {"@type": f"type.googleapis.com/{options}"} | http2},
    }  # fmt: skip
    ads = {"resource_api_version": "V3", "ads": {}}
    return {
        "node": {"id": NODE, "cluster": "client", "metadata": {"INTERCEPTION_MODE": "NONE"}},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"clusters": [control]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sidecar:
    """Envoy under our control plane, with a greeter that it leads to."""

    def __init__(self, meshctl, folder, api_type):
        self.versions = {version: meshctl.echo(version) for version in ("v1", "v2")}
        self.port = free_port()
        self.mesh = folder / "mesh"
        self.mesh.mkdir()
        self.write("service.yaml", istio.service(self.versions, self.port, "HTTP"))
        self.write("routes.yaml", istio.weights({"v1": 100}))
        _, ready = meshctl.server("serve", self.mesh)
        self._admin = ready["admin"]
        self.failed = []
        self.envoy = self.start(folder, ready["xds"], api_type)

    def start(self, folder, xds, api_type):
        return Envoy(folder, bootstrap(xds, api_type))

    def write(self, name, text):
        (self.mesh / name).write_text(text)

    def get(self, host="greeter", port=None, headers=None):
        """The status of an answer, and the version that gave it."""
        client = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=DEADLINE_S)
        try:
            client.request("GET", "/", headers={"host": host} | (headers or {}))
            answer = client.getresponse()
            answer.read()
            return answer.status, answer.getheader("x-echo-version")
        finally:
            client.close()

    def answers(self, count, **request):
        return collections.Counter(self.get(**request) for _ in range(count))

    def moved(self, version):
        eventually(lambda: self.answers(20) == {(200, version): 20}, f"traffic to {version}")

    def load(self, stop):
        """Requests one after the other until `stop`, keeping what is no good answer."""
        while not stop.is_set():
            status, version = self.get()
            if status != 200:
                self.failed.append((status, version))

    def status(self):
        """What our control plane knows of it."""
        with urllib.request.urlopen(f"http://{self._admin}/status") as answer:
            (client,) = json.load(answer)["clients"]
        return client


@pytest.fixture(params=["GRPC", "DELTA_GRPC"])
def sidecar(request, meshctl, tmp_path):
    made = Sidecar(meshctl, tmp_path, request.param)
    made.protocol = {"GRPC": "sotw", "DELTA_GRPC": "delta"}[request.param]
    try:
        yield made
    finally:
        made.envoy.end()


def accepted(sidecar):
    """The types of which all is accepted; none while anything is on its way."""
    rejected = sidecar.envoy.stats("update_rejected")
    assert rejected and not any(rejected.values()), rejected
    client = sidecar.status()
    assert client["protocol"] == sidecar.protocol
    types = client["types"]
    assert not any(status["rejected"] for status in types.values()), types
    if any(status["accepted"] != status["sent"] for status in types.values()):
        return None
    return {kind.rsplit(".", 1)[-1] for kind in types}


def test_envoy_is_routed_as_configured_and_rejects_nothing(sidecar):
    ports = sidecar.envoy.eventually_ports()
    assert ports == {f"127.0.0.1_{sidecar.port}": sidecar.port}
    sidecar.moved("v1")
    for host in ("greeter.default", "greeter.default.svc.cluster.local", f"greeter:{sidecar.port}"):
        assert sidecar.get(host) == (200, "v1")
    # Where a request to nobody we know would go, nobody listens.
    assert sidecar.get("example.com")[0] == 503

    stop = threading.Event()
    load = threading.Thread(target=sidecar.load, args=[stop], daemon=True)
    load.start()
    by_header = istio.weights({"v1": 100}).replace(
        "  http:\n",
        "  http:\n  - match: [{headers: {x-user: {exact: jason}}}]\n"
        "    route: [{destination: {host: greeter, subset: v2}}]\n",
    )
    sidecar.write("routes.yaml", by_header)
    jason = {"x-user": "jason"}
    eventually(lambda: sidecar.get(headers=jason) == (200, "v2"), "route by header")
    assert sidecar.answers(50) == {(200, "v1"): 50}
    sidecar.write("routes.yaml", istio.weights({"v1": 50, "v2": 50}))
    eventually(lambda: len(sidecar.answers(20)) == 2, "answers of both")
    # Four standard deviations: 4 · sqrt(400 · ½ · ½).
    assert abs(sidecar.answers(400)[200, "v2"] - 200) < 40
    sidecar.write("routes.yaml", istio.weights({"v2": 100}))
    sidecar.moved("v2")

    # Another port of another service, there and gone again.
    other = free_port()
    named = istio.service({"v1": sidecar.versions["v1"]}, other, "HTTP")
    sidecar.write("other.yaml", named.replace("greeter", "other"))
    eventually(lambda: len(sidecar.envoy.ports()) == 2, "second listener")
    eventually(lambda: sidecar.get("other", other) == (200, "v1"), "the other service")
    (sidecar.mesh / "other.yaml").unlink()
    eventually(lambda: len(sidecar.envoy.ports()) == 1, "end of the second listener")
    stop.set()
    load.join()
    assert sidecar.failed == []

    def settled():
        clusters = sidecar.envoy.stats("cluster_manager.active_clusters")
        # Ours: one for each subset and one for none, and two that lead elsewhere.
        return clusters == {"cluster_manager.active_clusters": 6}

    eventually(settled, "clusters of the first service alone")
    types = {"Listener", "RouteConfiguration", "Cluster", "ClusterLoadAssignment"}
    eventually(lambda: accepted(sidecar) == types, "all types")

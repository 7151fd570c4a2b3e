"""Envoy as a sidecar whose connections are redirected: what goes out, and what comes in."""

import fcntl
import http.client
import os
import pathlib
import subprocess
import tempfile

import istio
import pytest
from conftest import DEADLINE_S, eventually
from envoy_process import Envoy
from test_envoy_client import Sidecar, accepted, bootstrap, free_port

# Istio's: where what goes out is redirected to, and what comes in.
OUTBOUND, INBOUND = 15001, 15006


@pytest.fixture
def alone():
    """These ports are the same in every test: one run at a time on a machine."""
    with open(pathlib.Path(tempfile.gettempdir()) / "mesh-interop-redirected", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def redirection(tmp_path_factory):
    """What stands for the kernel's redirection."""
    made = tmp_path_factory.mktemp("redirection") / "redirected.so"
    source = pathlib.Path(__file__).with_name("redirected.c")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-Wall", "-shared", "-fPIC", "-o", made, source], check=True)
    return made


class Redirected(Sidecar):
    """A sidecar of the machine that the greeter runs on, too."""

    def __init__(self, meshctl, folder, api_type, redirection):
        self._redirection = redirection
        super().__init__(meshctl, folder, api_type)

    def start(self, folder, xds, api_type):
        configuration = bootstrap(xds, api_type)
        del configuration["node"]["metadata"]
        environment = {
            "LD_PRELOAD": str(self._redirection),
            f"REDIRECTED_{OUTBOUND}": str(self.port),
            f"REDIRECTED_{INBOUND}": str(self.versions["v2"]),
        }
        return Envoy(folder, configuration, environment=environment)


@pytest.fixture(params=["GRPC", "DELTA_GRPC"])
def redirected(request, alone, meshctl, tmp_path, redirection):
    made = Redirected(meshctl, tmp_path, request.param, redirection)
    made.protocol = {"GRPC": "sotw", "DELTA_GRPC": "delta"}[request.param]
    try:
        yield made
    finally:
        made.envoy.end()


def through(port, host):
    """The status of an answer, the version that gave it, and whether Envoy passed it on."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        client.request("GET", "/", headers={"host": host})
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.getheader("x-echo-version"), answer.getheader("server")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


def test_redirected_connections_go_out_and_come_in_as_configured(redirected):
    ports = redirected.envoy.eventually_ports()
    listeners = {
        "virtualOutbound": OUTBOUND,
        "virtualInbound": INBOUND,
        f"0.0.0.0_{redirected.port}": redirected.port,
    }
    eventually(lambda: redirected.envoy.ports() == listeners, f"listeners, instead of {ports}")

    # Out: by the routes of the port it was for, which lead to v1 alone.
    out = (200, "v1", "envoy")
    eventually(lambda: through(OUTBOUND, "greeter") == out, "an answer to what goes out")
    # In: by the chain of the port it was for, to the workload itself, whoever is asked for.
    for host in ("greeter", "whoever.example"):
        assert through(INBOUND, host) == (200, "v2", "envoy")
    counts = redirected.envoy.stats(r"^http\.inbound_0\.0\.0\.0_\d+(;|\.)?.*downstream_rq_2xx$")
    assert sum(counts.values()) == 2, counts

    # A further port of the workload has its chain as well, and both go on meanwhile.
    further = istio.service({"v1": free_port()}, free_port(), "TCP")
    redirected.write("further.yaml", further.replace("greeter", "further"))
    eventually(lambda: len(redirected.envoy.ports()) == 4, "the listener of another service")
    updates = r"listener_manager.listener_(modified|in_place_updated)"
    eventually(lambda: any(redirected.envoy.stats(updates).values()), "a new inbound listener")
    eventually(lambda: through(INBOUND, "greeter") == (200, "v2", "envoy"), "what comes in")
    assert through(OUTBOUND, "greeter") == out

    types = {"Listener", "RouteConfiguration", "Cluster", "ClusterLoadAssignment"}
    eventually(lambda: accepted(redirected) == types, "all types")

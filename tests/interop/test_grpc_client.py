"""`meshctl serve` with gRPC's own xDS clients: grpcio's, and grpc-go's where there is Go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import istio
import pytest
from conftest import DEADLINE_S, eventually

TARGET = "xds:///greeter:9080"

# Programs made of tests/interop/go.
GO = os.environ.get("MESH_INTEROP_GO")


def program(language, stubs):
    if language == "go":
        return [Path(GO) / "client"]
    return [sys.executable, Path(__file__).with_name("xds_client.py"), stubs]


class Client:
    """One of gRPC's with a bootstrap that `meshctl` wrote."""

    def __init__(self, command, bootstrap):
        self._child = subprocess.Popen(
            [*command, TARGET],
            env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(bootstrap)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, command):
        self._child.stdin.write(command + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, f"the client ended at {command!r}"
        return json.loads(line)

    def calls(self, count):
        """Calls, none of which may fail; how many each version answered."""
        result = self._ask(f"calls {count}")
        assert result["errors"] == []
        return result["versions"]

    def csds(self):
        return self._ask("csds")

    def end(self):
        self._child.stdin.close()
        assert self._child.wait(DEADLINE_S) == 0


class Mesh:
    """A control plane over a folder, two greeters, and a client."""

    def __init__(self, meshctl, folder, client):
        self._meshctl = meshctl
        self._folder = folder / "mesh"
        self._folder.mkdir()
        ports = {version: meshctl.echo(version) for version in ("v1", "v2")}
        self.write("service.yaml", istio.service(ports))
        self.split(v1=100)
        self._control, ready = meshctl.server("serve", self._folder)
        self._xds = ready["xds"]
        bootstrap = folder / "bootstrap.json"
        meshctl.start(
            "bootstrap", "--xds", self._xds, "--name", "client", "--mode", "istio-grpc",
            "--out", bootstrap,
        ).wait(DEADLINE_S)  # fmt: skip
        self.client = Client(client, bootstrap)

    def write(self, name, text):
        (self._folder / name).write_text(text)

    def split(self, **weights):
        self.write("routes.yaml", istio.weights(weights))

    def kill_control_plane(self):
        self._control.kill()
        self._control.wait()

    def restart_control_plane(self):
        self._control, _ = self._meshctl.server("serve", self._folder, "--xds", self._xds)


@pytest.fixture(params=["python", "go"] if GO else ["python"])
def mesh(request, meshctl, tmp_path, stubs):
    made = Mesh(meshctl, tmp_path, program(request.param, stubs))
    yield made
    made.client.end()


def moved(mesh, version):
    """Waits until only `version` answers."""
    eventually(lambda: list(mesh.client.calls(10)) == [version], f"answers of {version} alone")


def acknowledged(mesh):
    """Every resource of the client by type and name; all must be acknowledged."""
    resources = mesh.client.csds()
    assert {(entry["status"], entry["error"]) for entry in resources} == {("ACKED", "")}
    return {(entry["type"], entry["name"]): entry["version"] for entry in resources}


def test_reaches_the_greeter_and_acknowledges_every_resource(mesh):
    assert mesh.client.calls(50) == {"v1": 50}
    resources = acknowledged(mesh)
    cluster = "outbound|9080|v1|greeter.default.svc.cluster.local"
    assert set(resources) == {
        ("Listener", "greeter:9080"),
        ("RouteConfiguration", "outbound|9080||greeter.default.svc.cluster.local"),
        ("Cluster", cluster),
        ("ClusterLoadAssignment", cluster),
    }


def test_live_edit_moves_the_client(mesh):
    assert mesh.client.calls(10) == {"v1": 10}
    mesh.split(v1=50, v2=50)
    eventually(lambda: "v2" in mesh.client.calls(20), "answer of v2")
    # Four standard deviations: 4 · sqrt(1000 · ½ · ½).
    assert abs(mesh.client.calls(1_000)["v2"] - 500) < 64
    mesh.split(v2=100)
    moved(mesh, "v2")
    acknowledged(mesh)


def test_bad_edit_leaves_the_client_served(mesh):
    assert mesh.client.calls(10) == {"v1": 10}
    before = acknowledged(mesh)
    mesh.split(v3=100)
    assert mesh.client.calls(300) == {"v1": 300}
    mesh.write("routes.yaml", "apiVersion: networking.istio.io/v1\nkind: Virt")
    assert mesh.client.calls(300) == {"v1": 300}
    assert acknowledged(mesh) == before
    mesh.split(v2=100)
    moved(mesh, "v2")


def test_control_plane_that_restarts_is_followed_again(mesh):
    assert mesh.client.calls(10) == {"v1": 10}
    mesh.kill_control_plane()
    assert mesh.client.calls(300) == {"v1": 300}
    mesh.split(v2=100)
    mesh.restart_control_plane()
    moved(mesh, "v2")
    acknowledged(mesh)

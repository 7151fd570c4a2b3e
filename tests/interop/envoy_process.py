"""Envoy, started with a configuration and looked at by its admin endpoint."""

import http.client
import json
import os
import subprocess

import pytest
from conftest import DEADLINE_S, eventually


class Envoy:
    """A process; it ends with `end`."""

    def __init__(self, folder, configuration, *arguments, environment=None):
        if not (program := os.environ.get("MESH_INTEROP_ENVOY")):
            pytest.skip("needs Envoy, named by MESH_INTEROP_ENVOY; .ci/run installs one")
        path, self._admin = folder / "envoy.json", folder / "admin"
        path.write_text(json.dumps(configuration))
        self._child = subprocess.Popen(
            [program, "-c", path, "--use-dynamic-base-id", "-l", "error",
             "--concurrency", "1", "--admin-address-path", self._admin, *arguments],
            env=os.environ | (environment or {}),
        )  # fmt: skip

    def end(self):
        self._child.kill()
        self._child.wait()

    def ask_to_end(self):
        """As `end`, and it may finish what it writes."""
        self._child.terminate()
        try:
            self._child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.end()

    def admin(self, path):
        """What the admin endpoint answers; nothing while it does not."""
        assert self._child.poll() is None, "Envoy ended"
        if not self._admin.exists() or ":" not in self._admin.read_text():
            return None
        client = http.client.HTTPConnection(self._admin.read_text().strip(), timeout=DEADLINE_S)
        try:
            client.request("GET", path)
            return client.getresponse().read().decode()
        except OSError:
            return None
        finally:
            client.close()

    def ports(self):
        """Those it listens at, by the name of the listener; nothing until it serves."""
        statuses = json.loads(self.admin("/listeners?format=json") or "{}")
        return {
            status["name"]: status["local_address"]["socket_address"]["port_value"]
            for status in statuses.get("listener_statuses", [])
        }

    def stats(self, pattern):
        """Counters and gauges whose name matches."""
        lines = (self.admin(f"/stats?filter={pattern}") or "").splitlines()
        return {name: int(value) for name, value in (line.rsplit(": ", 1) for line in lines)}

    def eventually_ports(self):
        return eventually(self.ports, "listener of Envoy")

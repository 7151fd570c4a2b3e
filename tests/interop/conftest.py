"""What the tests here share: `meshctl`, its servers, and stubs of the echo service."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "crates" / "meshctl" / "proto"

# Far more than anything here takes; reached only when something hangs.
DEADLINE_S = 30


def eventually(look, what):
    """What `look` finds, looking again until it is something."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {what} within {DEADLINE_S} s")


class Meshctl:
    """Runs `meshctl`; what it started ends with the test."""

    def __init__(self, path):
        self._path = path
        self._running = []

    def _environment(self, bootstrap, off=False):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GRPC_XDS_")}
        environment.pop("MESH", None)
        if off:
            environment["MESH"] = "off"
        if bootstrap:
            environment["GRPC_XDS_BOOTSTRAP"] = str(bootstrap)
        return environment

    def run(self, *arguments, bootstrap=None, off=False):
        """Runs a command to its end, or `off` the mesh; its output, each line of which is JSON."""
        done = subprocess.run(
            [self._path, "--json", *map(str, arguments)],
            env=self._environment(bootstrap, off),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S * 2,
            check=False,
        )
        assert done.stdout, f"{arguments}: no output: {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *arguments, bootstrap=None, off=False):
        """Starts a command, which is killed with the test."""
        child = subprocess.Popen(
            [self._path, "--json", *map(str, arguments)],
            env=self._environment(bootstrap, off),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.append(child)
        return child

    def server(self, *arguments):
        """Starts a server; the process and its ready line."""
        child = self.start(*arguments)
        ready = json.loads(child.stdout.readline())
        assert ready["ready"]
        return child, ready

    def echo(self, version):
        """Starts an echo server; its port."""
        _, ready = self.server("echo", "--name", "greeter", "--version", version)
        return int(ready["http"].rsplit(":", 1)[1])

    def end(self):
        for child in self._running:
            child.kill()
            child.wait()


@pytest.fixture
def meshctl():
    made = Meshctl(os.environ["MESHCTL"])
    yield made
    made.end()


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """The folder of the generated stubs, which is on the path."""
    folder = tmp_path_factory.mktemp("stubs")
    arguments = ["", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*arguments, str(PROTO / "mesh/echo/v1/echo.proto")]) == 0
    sys.path.insert(0, str(folder))
    return folder

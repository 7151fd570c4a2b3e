"""Envoy and our client beside each other, under one configuration, before the same servers.

The configuration is that of a listener with static clusters, in the JSON of xDS. Envoy gets it as a
file, our client the same resources from an ADS server. Servers are `meshctl echo`, which print what
reaches them; clients are `meshctl fetch` and `load`, which reach Envoy without a mesh.
"""

import collections
import http.client
import itertools
import json
import threading
import time
import uuid

import pytest
from ads_server import CLUSTER, LISTENER, AdsServer
from conftest import DEADLINE_S, eventually
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy_process import Envoy
from google.protobuf import json_format

# Registers the messages that configurations here pack into others.
from envoy.extensions.access_loggers.file.v3 import file_pb2 as _file  # noqa: F401
from envoy.extensions.filters.http.fault.v3 import fault_pb2 as _fault  # noqa: F401
from envoy.extensions.filters.http.local_ratelimit.v3 import (
    local_rate_limit_pb2 as _local_rate_limit,  # noqa: F401
)
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as _rbac  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as _manager,  # noqa: F401
)

TYPES = "type.googleapis.com/"
MANAGER = f"{TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPES}envoy.extensions.filters.http.router.v3.Router"
LOGGER = f"{TYPES}envoy.extensions.access_loggers.file.v3.FileAccessLog"
TARGET = "echo:80"

# One request has one of them: what is logged of it is found by that.
CASE = "x-case"
LOGGED = {
    "case": "%REQ(X-CASE)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def endpoint(port, host="127.0.0.1", **fields):
    return {"endpoint": {"address": address(host, port)}} | fields


def cluster(name, *localities, **fields):
    """A static cluster, whose localities are lists of endpoints or are written out."""
    localities = [one if isinstance(one, dict) else {"lb_endpoints": one} for one in localities]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": localities},
        # Health counts at once, as it does here always.
        "common_lb_config": {"update_merge_window": "0s"},
    } | fields


def route(prefix, cluster, **action):
    """A route to a cluster; without a timeout, unless it says so."""
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"} | action}


class Echo:
    """A server, and the requests that reached it."""

    def __init__(self, meshctl, version, *arguments, listen="127.0.0.1:0"):
        self.version, self.requests = version, []
        self.child, ready = meshctl.server(
            "echo", "--name", "echo", "--version", version, "--log", "--listen", listen, *arguments
        )
        self.port = int(ready["http"].rsplit(":", 1)[1])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            request = json.loads(line)["request"]
            self.requests.append(request | {"headers": dict(request["headers"])})

    def seen(self, case):
        """The requests of a case, once no more arrive."""
        return [one for one in self.requests if one["headers"].get(CASE) == case]


class Beside:
    """Both clients, and what they make of a request or a load."""

    def __init__(self, meshctl, folder, routes, clusters, filters=(), host=None, manager=None):
        self._meshctl, self._log = meshctl, folder / "access.log"
        virtual_host = {"name": "all", "domains": ["*"], "routes": routes} | (host or {})
        router = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
        connection_manager = {
            "@type": MANAGER,
            "stat_prefix": "http",
            "generate_request_id": False,
            "route_config": {
                "name": "routes", "virtual_hosts": [virtual_host], "validate_clusters": False,
            },
            "http_filters": [*filters, router],
        } | (manager or {})
        self._ads = AdsServer().start()
        self._serve(connection_manager, clusters)
        self._bootstrap = folder / "bootstrap.json"
        xds = f"127.0.0.1:{self._ads.port}"
        arguments = ["--xds", xds, "--name", "client", "--out", self._bootstrap]
        meshctl.start("bootstrap", *arguments).wait(DEADLINE_S)
        self._envoy = Envoy(
            folder, self._static(connection_manager, clusters), "--file-flush-interval-msec", "5"
        )
        try:
            (self._port,) = self._envoy.eventually_ports().values()
        except BaseException:
            self.end()
            raise
        self._url = f"http://127.0.0.1:{self._port}"

    def _serve(self, manager, clusters):
        listener = {"name": TARGET, "api_listener": {"api_listener": manager}}
        packed = json_format.ParseDict(listener, listener_pb2.Listener())
        self._ads.put(LISTENER, {TARGET: packed})
        parsed = [json_format.ParseDict(one, cluster_pb2.Cluster()) for one in clusters]
        self._ads.put(CLUSTER, {one.name: one for one in parsed})

    def _static(self, manager, clusters):
        log = {"@type": LOGGER, "path": str(self._log), "log_format": {"json_format": LOGGED}}
        # A caller on this machine is one of its own, as every caller of a library is.
        own = [{"address_prefix": "127.0.0.0", "prefix_len": 8}]
        manager = manager | {
            "access_log": [{"name": "log", "typed_config": log}],
            "use_remote_address": True,
            "internal_address_config": {"cidr_ranges": own},
        }
        chain = {"filters": [{"name": "http", "typed_config": manager}]}
        listener = {"name": "http", "address": address("127.0.0.1", 0), "filter_chains": [chain]}
        return {
            "admin": {"address": address("127.0.0.1", 0)},
            "static_resources": {"listeners": [listener], "clusters": clusters},
        }

    def end(self):
        self._envoy.end()
        self._ads.stop()

    def logged(self, case, count=1):
        """Envoy's log of a case, when it has so many lines."""

        def look():
            lines = self._log.read_text().splitlines() if self._log.exists() else []
            entries = [entry for entry in map(json.loads, lines) if entry["case"] == case]
            return entries if len(entries) >= count else None

        return eventually(look, f"{count} lines of {case} in Envoy's log")

    def fetch(self, path, *headers):
        """What both make of one request: pairs of the answer and its case, Envoy's first."""
        case = uuid.uuid4().hex
        theirs = self._ask_envoy(path, [f"{CASE}: {case}", *headers])
        (entry,) = self.logged(case)
        theirs |= {key: entry[key] or "-" for key in ("flags", "details")}
        own = uuid.uuid4().hex
        url, named = f"http://{TARGET}{path}", [f"{CASE}: {own}", *headers]
        arguments = itertools.chain(*(("-H", line) for line in named))
        ours = self._meshctl.run("fetch", url, *arguments, bootstrap=self._bootstrap)[0]
        return (theirs, case), (ours, own)

    def _ask_envoy(self, path, headers):
        """By a client that does not heed headers for proxies, as ours would also without a mesh."""
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        try:
            pairs = (line.split(": ", 1) for line in headers)
            client.request("GET", path, headers={"host": TARGET} | dict(pairs))
            answer = client.getresponse()
            named = [(name.lower(), value) for name, value in answer.getheaders()]
            body = answer.read().decode("utf-8", "replace")
            return {"status": answer.status, "headers": named, "body": body}
        finally:
            client.close()

    def load(self, path, *arguments):
        """What both make of a load: pairs of the counts and its case, Envoy's first."""
        return [self.load_of(is_ours, path, *arguments) for is_ours in (False, True)]

    def load_of(self, is_ours, path, *arguments):
        """What one of them makes of it."""
        case = uuid.uuid4().hex
        arguments = ["-H", f"{CASE}: {case}", *arguments]
        if is_ours:
            url = f"http://{TARGET}{path}"
            return self._meshctl.run("load", url, *arguments, bootstrap=self._bootstrap)[-1], case
        counts = self._meshctl.run("load", self._url + path, *arguments, off=True)[-1]
        entries = self.logged(case, counts["requests"])
        for field in ("flags", "details"):
            told = collections.Counter(
                one for entry in entries for one in (entry[field] or "-").split(",")
            )
            counts[field] = {key: n for key, n in told.items() if key != "-"}
        return counts, case

    def start_load(self, is_ours, path, *arguments):
        """Starts a load, whose output is left to the caller."""
        if is_ours:
            url = f"http://{TARGET}{path}"
            return self._meshctl.start("load", url, *arguments, bootstrap=self._bootstrap)
        return self._meshctl.start("load", self._url + path, *arguments, off=True)


@pytest.fixture
def started(meshctl, tmp_path):
    """Makes a pair; it ends with the test."""
    made = []

    def start(*arguments, **fields):
        made.append(Beside(meshctl, tmp_path, *arguments, **fields))
        return made[-1]

    yield start
    for one in made:
        one.end()


def whose(is_ours):
    return "ours" if is_ours else "Envoy"


def settled(look):
    """What `look` tells when it tells the same twice, a moment apart."""
    before = look()
    while True:
        time.sleep(0.05)
        if (now := look()) == before:
            return now
        before = now

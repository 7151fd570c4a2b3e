"""The same scenarios with grpcio's client and with ours: the same requests on the wire."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import resources
from ads_server import CLUSTER, ENDPOINTS, LISTENER, ROUTES, AdsServer
from conftest import DEADLINE_S, eventually
from google.protobuf import any_pb2
from oracle_requests import comparable, refusals

TARGET = "greeter:9080"
# After so long without a request, none is on its way: clients answer within milliseconds.
QUIET_S = 0.4
TYPES = [LISTENER, ROUTES, CLUSTER, ENDPOINTS]


class Client:
    def __init__(self, command, bootstrap):
        self._child = subprocess.Popen(
            command,
            env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(bootstrap)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert json.loads(self._child.stdout.readline())["ready"]

    def ask(self, command, target=TARGET):
        self._child.stdin.write(f"{command} {target}\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, f"the client ended at {command!r}"
        return json.loads(line)

    def end(self):
        self._child.kill()
        self._child.wait()


class World:
    """An ADS server (and perhaps a second), an endpoint, and one of the clients."""

    def __init__(self, folder, command, port, servers=1):
        self.port = port
        self.servers = [AdsServer().start() for _ in range(servers)]
        self.ads = self.servers[0]
        bootstrap = folder / "bootstrap.json"
        bootstrap.write_text(json.dumps({
            "xds_servers": [
                {"server_uri": f"127.0.0.1:{server.port}", "channel_creds": [{"type": "insecure"}]}
                for server in self.servers
            ],
            "node": {"id": "oracle"},
        }))  # fmt: skip
        self.client = Client(command, bootstrap)

    def end(self):
        self.client.end()
        for server in self.servers:
            server.stop()

    def put(self, *clusters, server=None, routed=None):
        """The target with these clusters, in routes to `routed`, or to all of them."""
        ads = server or self.ads
        ads.put(ENDPOINTS, {name: resources.endpoints(name, self.port) for name in clusters})
        ads.put(CLUSTER, {name: resources.cluster(name) for name in clusters})
        self.route(*(routed or clusters), server=ads)
        ads.put(LISTENER, {TARGET: resources.listener(TARGET, "routes")})

    def route(self, *clusters, server=None):
        """Every call is to the first."""
        prefixes = {"/": clusters[0]} | {f"/{name}/": name for name in clusters[1:]}
        made = {"routes": resources.routes("routes", prefixes)}
        (server or self.ads).put(ROUTES, made)

    def open(self):
        assert self.client.ask("open")["ok"]

    def call(self):
        return self.client.ask("call")

    def ok(self):
        answer = self.call()
        assert answer["ok"], answer

    def rest(self, server=None):
        """Waits until the client has said all it has to say."""
        ads = server or self.ads
        seen = -1
        while seen != len(ads.requests()):
            seen = len(ads.requests())
            time.sleep(QUIET_S)

    def traces(self):
        """Of each server and type, what was asked."""
        made = {}
        for number, server in enumerate(self.servers):
            for seen in server.requests():
                kind = seen.type_url.rsplit(".", 1)[-1]
                made.setdefault(f"{number} {kind}", []).append(seen)
        return {place: comparable(trace) for place, trace in made.items()}

    def nodes(self):
        """Whether the node was in a stream's first request and in no other."""
        streams = {}
        for server in self.servers:
            for seen in server.requests():
                streams.setdefault((server.port, seen.stream), []).append(seen.has_node)
        return all(nodes == [True] + [False] * (len(nodes) - 1) for nodes in streams.values())


# Each scenario leads a world through something and returns what is to be compared beside the
# requests: what calls came to.


def first_sync(world):
    world.put("a", "b")
    world.open()
    world.ok()


def update_of_every_type(world):
    first_sync(world)
    world.rest()
    world.put("a", "b", "c")
    world.rest()
    world.ok()


def refused_cluster(world):
    first_sync(world)
    world.rest()
    world.ads.put(CLUSTER, {"a": resources.invalid_cluster("a")})
    world.ads.wait_for(lambda seen: seen.type_url == CLUSTER and seen.error)
    world.rest()
    world.ok()
    world.ads.put(CLUSTER, {"a": resources.cluster("a")})
    world.rest()
    world.ok()


def refused_at_first(world):
    world.put("a")
    world.ads.put(CLUSTER, {"a": resources.invalid_cluster("a")})
    world.open()
    world.ads.wait_for(lambda seen: seen.type_url == CLUSTER and seen.error)
    failed = world.call()["ok"]
    world.rest()
    world.ads.put(CLUSTER, {"a": resources.cluster("a")})
    eventually(lambda: world.call()["ok"], "call")
    world.rest()
    return failed


def good_beside_refused(world):
    """The valid resources of a refused response are used."""
    world.put("a", "b")
    world.ads.put(CLUSTER, {"b": resources.invalid_cluster("b")})
    world.open()
    world.ok()
    world.rest()


def removed_cluster(world):
    first_sync(world)
    world.rest()
    world.ads.remove(CLUSTER, "b")
    world.rest()
    world.ok()
    world.ads.put(CLUSTER, {"b": resources.cluster("b")})
    world.rest()


def removed_listener(world):
    first_sync(world)
    world.rest()
    world.ads.remove(LISTENER, TARGET)
    world.rest()
    return world.call()["ok"]


def absent_endpoints(world):
    """What a response of endpoints leaves out is not removed by that."""
    first_sync(world)
    world.rest()
    world.ads.say(ENDPOINTS, [packed(resources.endpoints("b", world.port))])
    world.rest()
    world.ok()


def restarted_server(world):
    first_sync(world)
    world.rest()
    world.ads.stop()
    world.ok()
    world.ads.start()
    world.ads.wait_for(lambda seen: seen.stream == 2 and seen.type_url == ENDPOINTS)
    world.rest()
    world.ok()


def asked_again_before_an_answer(world):
    """A subscription that grows before its first answer."""
    world.put("a", "b", routed=["a"])
    world.ads.hold(CLUSTER)
    world.open()
    world.ads.wait_for(lambda seen: seen.type_url == CLUSTER)
    world.route("a", "b")
    world.ads.wait_for(lambda seen: seen.type_url == CLUSTER and len(seen.names) == 2)
    world.ads.release(CLUSTER)
    world.ok()
    world.rest()


def route_to_another_cluster(world):
    world.put("a", "b", routed=["a"])
    world.open()
    world.ok()
    world.rest()
    world.route("b")
    world.ads.wait_for(lambda seen: seen.type_url == ENDPOINTS and seen.names == ("b",))
    world.rest()
    world.ok()


def wrapped_resources(world):
    world.ads.wrapped = True
    first_sync(world)
    world.rest()


def one_name_twice(world):
    first_sync(world)
    world.rest()
    world.ads.say(CLUSTER, [packed(resources.cluster(name)) for name in ("a", "a", "b")])
    world.rest()
    world.ok()


def another_type_inside(world):
    first_sync(world)
    world.rest()
    inside = [packed(resources.endpoints("a", world.port)), packed(resources.cluster("b"))]
    world.ads.say(CLUSTER, [packed(resources.cluster("a")), *inside])
    world.rest()
    world.ok()


def not_a_message(world):
    first_sync(world)
    world.rest()
    broken = any_pb2.Any(type_url=ENDPOINTS, value=b"\x0a\xff\xff")
    world.ads.say(ENDPOINTS, [broken, packed(resources.endpoints("b", world.port))])
    world.rest()
    world.ok()


def nobody_asked_for_it(world):
    first_sync(world)
    world.rest()
    names = ("a", "b", "stranger")
    world.ads.say(CLUSTER, [packed(resources.cluster(name)) for name in names])
    world.rest()
    world.ok()


def closed_and_opened(world):
    """All of a target is let go of with its last channel."""
    first_sync(world)
    world.rest()
    world.client.ask("close")
    world.rest()
    world.open()
    world.ok()
    world.rest()


def routes_that_never_come(world):
    world.put("a")
    world.ads.hold(ROUTES)
    world.open()
    answer = world.call()
    # A moment early where the clock of a client runs on cycles of the processor.
    assert 12 < answer["seconds"] < 17, answer
    return answer["ok"]


def packed(message):
    made = any_pb2.Any()
    made.Pack(message)
    return made


def first_server_down(world):
    """The next of several is asked when the first cannot be reached."""
    down, up = world.servers
    down.stop()
    world.put("a", "b", server=up)
    world.open()
    world.ok()
    world.rest(up)


def first_server_back(world):
    """The first is asked again when it can be, and the next no longer."""
    first_server_down(world)
    first, second = world.servers
    world.put("a", "b", "c", server=first)
    first.start()
    first.wait_for(lambda seen: seen.type_url == ENDPOINTS and len(seen.names) == 3)
    world.rest(first)
    eventually(lambda: not second.open_streams(), "end of the second stream")
    world.ok()


def first_server_lost_after_all_is_known(world):
    """Nobody else is asked for what is known."""
    first_sync(world)
    world.rest()
    world.ads.stop()
    world.rest(world.servers[1])
    world.ok()


# Of a scenario, until both ask the same.
ATTEMPTS = 10

SCENARIOS = [
    first_sync, update_of_every_type, refused_cluster, refused_at_first, good_beside_refused,
    removed_cluster, removed_listener, absent_endpoints, restarted_server,
    asked_again_before_an_answer, route_to_another_cluster, wrapped_resources, one_name_twice,
    another_type_inside, not_a_message, nobody_asked_for_it, closed_and_opened,
    routes_that_never_come, first_server_down, first_server_back,
    first_server_lost_after_all_is_known,
]  # fmt: skip

# Where ours is another on purpose; docs/conformance.md tells why.
DIFFERENT = {removed_cluster, removed_listener, one_name_twice, closed_and_opened}


def lead(scenario, world):
    try:
        outcome = scenario(world)
        for server in world.servers:
            world.rest(server)
        told = {"outcome": outcome, "node": world.nodes(), "requests": world.traces()}
        logs = [server.requests(kind) for server in world.servers for kind in TYPES]
        return told, [pair for log in logs for pair in refusals(log)]
    finally:
        world.end()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_requests_as_grpcio(scenario, meshctl, tmp_path, stubs):
    commands = {
        "grpcio": [sys.executable, Path(__file__).with_name("oracle_client.py"), stubs],
        "ours": [os.environ["MESH_CLIENT"]],
    }
    port = meshctl.echo("v1")
    # grpcio's own requests vary with its timing, so that one difference says little.
    for attempt in range(ATTEMPTS):
        worlds = {}
        for name, command in commands.items():
            folder = tmp_path / f"{name}-{attempt}"
            folder.mkdir()
            servers = 2 if "server" in scenario.__name__ else 1
            worlds[name] = World(folder, command, port, servers)
        with concurrent.futures.ThreadPoolExecutor() as both:
            led = {name: both.submit(lead, scenario, world) for name, world in worlds.items()}
            (theirs, _), (ours, refused) = (led[name].result(DEADLINE_S * 3) for name in commands)
        assert all(version == accepted for version, accepted in refused), refused
        if scenario in DIFFERENT or ours == theirs:
            break
    if scenario in DIFFERENT:
        assert ours != theirs, "no longer different"
    else:
        assert ours == theirs

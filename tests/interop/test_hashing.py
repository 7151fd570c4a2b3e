"""Ring hash and Maglev: the same key leads to the same endpoint in Envoy and here."""

import http.client
import http.server
import json
import threading

import pytest
from conftest import DEADLINE_S
from envoy_process import Envoy

HOSTS = 7
KEYS = [f"key-{number}" for number in range(200)]


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with the port it was reached at."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet: a peer that waits with its acknowledgement delays the second.
    wbufsize = -1

    def do_GET(self):
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def ports():
    servers = [
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) for _ in range(HOSTS)
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def endpoint(port, **settings):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    made = {"endpoint": {"address": address}}
    if name := settings.pop("hostname", None):
        made["endpoint"]["hostname"] = name
    if key := settings.pop("hash_key", None):
        made["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": key}}}
    return made | settings


def locality(name, endpoints, **settings):
    return {"locality": {"region": name}, "lb_endpoints": endpoints} | settings


def flat(ports, settings=lambda number: {}):
    return [locality("", [endpoint(port, **settings(n)) for n, port in enumerate(ports)])]


def weighted(number):
    return {"load_balancing_weight": [1, 2, 3, 5, 8, 13, 21][number]}


def keyed(number):
    return {"hash_key": f"host-{number}"}


def named(number):
    return {"hostname": f"host-{number}.local"}


def sick(number):
    return {"health_status": "UNHEALTHY" if number == 2 else "HEALTHY"}


def listed(name, config):
    url = f"type.googleapis.com/envoy.extensions.load_balancing_policies.{config.pop('type')}"
    policy = {"name": name, "typed_config": {"@type": url} | config}
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}


def maps(ports):
    """Clusters and their localities by name."""
    ring = {"lb_policy": "RING_HASH"}
    maglev = {"lb_policy": "MAGLEV"}
    five = ports[:5]
    small = {"minimum_ring_size": 100, "maximum_ring_size": 150}
    by_locality = {"common_lb_config": {"locality_weighted_lb_config": {}}}
    # Envoy takes no hostnames of static clusters.
    dns = {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY"}
    by_name = dns | {"common_lb_config": {"consistent_hashing_lb_config": {
        "use_hostname_for_hashing": True}}}  # fmt: skip
    # In no order: neither peer may depend on that of configuration.
    parts = [
        locality("west", flat(ports[4:], weighted)[0]["lb_endpoints"], load_balancing_weight=7),
        locality("east", flat(ports[:2])[0]["lb_endpoints"], load_balancing_weight=2),
        locality("north", flat(ports[2:4])[0]["lb_endpoints"], load_balancing_weight=3),
    ]
    listed_ring = listed("ring", {
        "type": "ring_hash.v3.RingHash", "minimum_ring_size": 4096,
        "locality_weighted_lb_config": {}, "hash_function": "XX_HASH"})  # fmt: skip
    listed_maglev = dns | listed("maglev", {
        "type": "maglev.v3.Maglev", "table_size": 10007, "consistent_hashing_lb_config": {
            "use_hostname_for_hashing": True}})  # fmt: skip
    return {
        "ring": (ring, flat(five)),
        "ring-one-removed": (ring, flat(five[:2] + five[3:])),
        "ring-one-added": (ring, flat(ports[:6])),
        "ring-weights": (ring, flat(ports, weighted)),
        "ring-small": (ring | {"ring_hash_lb_config": small}, flat(ports)),
        "ring-small-weights": (ring | {"ring_hash_lb_config": small}, flat(ports, weighted)),
        "ring-murmur": (
            ring | {"ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2"}}, flat(five)),
        "ring-hash-key": (ring, flat(five, keyed)),
        "ring-hostname": (ring | by_name, flat(five, named)),
        "ring-unhealthy": (ring, flat(five, sick)),
        "ring-localities": (ring | by_locality, parts),
        "ring-listed": (listed_ring, parts),
        "maglev": (maglev, flat(five)),
        "maglev-one-removed": (maglev, flat(five[:2] + five[3:])),
        "maglev-one-added": (maglev, flat(ports[:6])),
        "maglev-weights": (maglev, flat(ports, weighted)),
        "maglev-small": (maglev | {"maglev_lb_config": {"table_size": 1009}}, flat(five)),
        "maglev-hash-key": (maglev, flat(five, keyed)),
        "maglev-localities": (maglev | by_locality, parts),
        "maglev-listed": (listed_maglev, flat(five, named)),
    }  # fmt: skip


def configuration(clusters):
    policy = [{"header": {"header_name": "x-key"}}]
    routes = [
        {"match": {"prefix": f"/{name}/"}, "route": {"cluster": name, "hash_policy": policy}}
        for name in clusters
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "hashing",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    loopback = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    filters = [{"name": "manager", "typed_config": manager}]
    listener = {"name": "l", "address": loopback, "filter_chains": [{"filters": filters}]}
    return {
        "admin": {"address": loopback},
        "static_resources": {
            "listeners": [listener],
            "clusters": [
                {"name": name, "type": "STATIC"} | cluster
                | {"load_assignment": {"cluster_name": name, "endpoints": endpoints}}
                for name, (cluster, endpoints) in clusters.items()
            ],
        },
    }  # fmt: skip


@pytest.fixture
def envoy(tmp_path, ports):
    """Starts Envoy with all maps; its port."""
    process = Envoy(tmp_path, configuration(maps(ports)))
    try:
        yield process.eventually_ports()["l"]
    finally:
        process.end()


def test_keys_lead_to_the_endpoints_that_envoy_picks(meshctl, tmp_path, ports, envoy):
    records = tmp_path / "records.jsonl"
    with records.open("w") as file:
        for name, (cluster, endpoints) in maps(ports).items():
            record = {"id": name, "cluster": cluster, "keys": KEYS,
                      "endpoints": {"endpoints": endpoints}}  # fmt: skip
            file.write(json.dumps(record) + "\n")
    picks = {answer["id"]: answer["picks"] for answer in meshctl.run("check-balance", records)}
    client = http.client.HTTPConnection("127.0.0.1", envoy, timeout=DEADLINE_S)
    for name in maps(ports):
        theirs = {}
        for key in KEYS:
            client.request("GET", f"/{name}/", headers={"x-key": key})
            answer = client.getresponse()
            body = answer.read().decode()
            assert answer.status == 200, (name, key, body)
            theirs[key] = f"127.0.0.1:{body}"
        differ = {key for key in KEYS if picks[name][key] != theirs[key]}
        assert not differ, f"{name}: {len(differ)} of {len(KEYS)} keys, as {sorted(differ)[:5]}"
        assert len(set(theirs.values())) > 1, f"{name}: all keys lead to one endpoint"

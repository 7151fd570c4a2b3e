"""Records of what Envoy makes of requests: for each its route, its changes and its answer.

Every configuration is a listener of one Envoy, told by a file, so that it refuses each alone. An
upstream for every cluster notes what reaches it; the access log says the rest.
"""

import asyncio
import json
import pathlib
import re

from envoy_process import Envoy

MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    },
}
LOGGER = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
LOGGED = {
    "port": "%DOWNSTREAM_DIRECT_REMOTE_PORT%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "route_name": "%ROUTE_NAME%",
    "virtual_cluster": "%VIRTUAL_CLUSTER_NAME%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
}
REQUEST = {"method": "GET", "authority": "test.local", "path": "/", "headers": []}

# Copies of a request arrive after its answer.
MIRRORS_S = 0.05


class Upstreams:
    """A server for each cluster; `seen` is what reached them since it was last cleared."""

    def __init__(self):
        self.ports, self.seen, self.answer, self._servers = {}, [], {}, []

    async def start(self, names):
        for name in sorted(names):
            serve = lambda reader, writer, name=name: self._serve(name, reader, writer)  # noqa: E731
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _serve(self, name, reader, writer):
        try:
            while True:
                start, headers = head(await reader.readuntil(b"\r\n\r\n"))
                method, path, _ = start.split(" ", 2)
                await body(reader, headers)
                self.seen.append((name, method, path, headers))
                status, more = self.answer.get("status", 200), self.answer.get("headers", [])
                content = self.answer.get("body", "")
                lines = [f"{key}: {value}\r\n" for key, value in more]
                text = f"HTTP/1.1 {status} X\r\n{''.join(lines)}content-length: {len(content)}"
                writer.write(f"{text}\r\n\r\n{'' if method == 'HEAD' else content}".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


def head(raw):
    """The first line of a message, and its headers."""
    start, *lines = raw.decode("latin1").split("\r\n")
    pairs = [line.partition(":") for line in lines if line]
    return start, [(name.lower(), value.strip()) for name, _, value in pairs]


async def body(reader, headers):
    """The body that follows them."""
    named = dict(headers)
    if named.get("transfer-encoding") != "chunked":
        return (await reader.readexactly(int(named.get("content-length", 0)))).decode("latin1")
    read = b""
    while size := int(await reader.readline(), 16):
        read += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return read.decode("latin1")


def clusters(value):
    """The names of clusters in a configuration."""
    if isinstance(value, list):
        return set().union(*map(clusters, value))
    if not isinstance(value, dict):
        return set()
    own = {value["cluster"]} if isinstance(value.get("cluster"), str) else set()
    for part in (value.get("weighted_clusters") or {}).get("clusters", []):
        own |= {part.get("name")}
    return (own | set().union(set(), *map(clusters, value.values()))) - {None, ""}


def listener(name, case, log):
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "route_config": {"validate_clusters": False} | case["route_config"],
        "http_filters": [*case.get("http_filters", []), ROUTER],
        "generate_request_id": False,
        "access_log": [{"name": "log", "typed_config": {
            "@type": LOGGER, "path": str(log),
            "log_format": {"json_format": LOGGED | {"listener": name}}}}],
    } | case.get("hcm", {})  # fmt: skip
    loopback = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    filters = [{"name": "manager", "typed_config": manager}]
    return {"@type": LISTENER, "name": name, "address": loopback,
            "filter_chains": [{"filters": filters}]}  # fmt: skip


def static_cluster(name, port):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "load_assignment": assignment}


def record(folder: pathlib.Path, cases):
    """A record for every request of every case."""
    return asyncio.run(_record(folder, cases))


async def _record(folder, cases):
    absent = set().union(*(set(case.get("absent", [])) for case in cases))
    named = set().union(*(clusters([case["route_config"], case.get("http_filters", [])])
                          for case in cases))  # fmt: skip
    upstreams, log, names = Upstreams(), folder / "access.log", range(len(cases))
    await upstreams.start(named - absent)
    listeners = [listener(f"l{at}", case, log) for at, case in zip(names, cases)]
    (folder / "lds.json").write_text(json.dumps({"resources": listeners}))
    source = {"path_config_source": {"path": str(folder / "lds.json")}, "resource_api_version": "V3"}
    envoy = Envoy(folder, {
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {"lds_config": source},
        "static_resources": {"clusters": [
            static_cluster(*pair) for pair in upstreams.ports.items()]},
    }, "--file-flush-interval-msec", "5")  # fmt: skip
    try:
        ports = await asyncio.to_thread(envoy.eventually_ports)
        sent = []
        for at, case in zip(names, cases):
            for request in case["requests"] if f"l{at}" in ports else []:
                sent.append((at, await ask(upstreams, ports[f"l{at}"], case, request)))
        refused = {at for at in names if f"l{at}" not in ports}
    finally:
        # It writes the rest of its log when it is asked to end.
        await asyncio.to_thread(envoy.ask_to_end)
    logged = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        logged[entry["listener"], str(entry["port"])] = entry
    records = [made(cases[at], None, {"outcome": "config_rejected"}) for at in refused]
    for at, (port, request, answer, seen) in sent:
        entry = logged.get((f"l{at}", str(port)), {})
        records.append(made(cases[at], request, expectation(request, answer, seen, entry)))
    return records


def made(case, request, expect):
    kept = ("route_config", "hcm", "http_filters", "absent")
    return {"id": case["id"], "request": request, "expect": expect} | {
        key: case[key] for key in kept if key in case}  # fmt: skip


async def ask(upstreams, port, case, request):
    """Sends a request over a connection of its own."""
    request = REQUEST | request
    upstreams.seen.clear()
    upstreams.answer = request.get("upstream_response", {})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own_port = writer.get_extra_info("sockname")[1]
    content = request.get("body", "")
    lines = [("host", request["authority"]), *map(tuple, request["headers"])]
    if content:
        lines.append(("content-length", len(content)))
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    first = f"{request['method']} {request['path']} HTTP/1.1\r\n"
    writer.write(f"{first}{text}\r\n{content}".encode("latin1"))
    start, headers = head(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5))
    empty = request["method"] == "HEAD"
    answer = (int(start.split(" ")[1]), headers, "" if empty else await body(reader, headers))
    writer.close()
    if re.search("mirror", json.dumps(case)):
        await asyncio.sleep(MIRRORS_S)
    return own_port, request, answer, list(upstreams.seen)


def expectation(request, answer, seen, entry):
    """What came of it, as `check-routes` says it."""
    status, headers, content = answer
    expect = {"status": status, "response_headers": headers}
    for field in LOGGED:
        if field != "port" and entry.get(field) not in (None, "-"):
            expect[field] = entry[field]
    mine = [one for one in seen if one[0] == entry.get("cluster")]
    is_upstream = entry.get("response_code_details") == "via_upstream" and mine
    location = dict(headers).get("location")
    if is_upstream:
        expect |= {"outcome": "upstream", "upstream": changes(request, mine.pop(0))}
    elif location and 300 <= status < 400:
        expect |= {"outcome": "redirect", "location": location, "body": content}
    else:
        expect |= {"outcome": "local_reply", "body": content}
        expect.pop("cluster", None)
    others = [one for one in seen if one[0] != entry.get("cluster")] + mine
    expect["mirrored"] = [changes(request, one) | {"cluster": one[0]} for one in others]
    return expect


def changes(request, seen):
    """What reached an upstream, beside what was sent."""
    _, method, path, headers = seen
    removed = [(name.lower(), value.strip()) for name, value in request["headers"]]
    added = []
    for header in headers:
        if header in removed:
            removed.remove(header)
        elif header[0] != "host":
            added.append(header)
    authority = dict(headers).get("host")
    return {"method": method, "path": path, "authority": authority,
            "headers_added": added, "headers_removed": removed}  # fmt: skip

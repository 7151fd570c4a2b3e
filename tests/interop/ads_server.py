"""An ADS server (state of the world) that does as it is told and remembers what it was asked.

It answers what is subscribed; what it should not do of itself it is told by `hold` and `say`.
"""

import queue
import threading
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import any_pb2

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

# Streams served at once; each holds a thread of the pool for as long as it is open.
MAX_STREAMS = 16


@dataclass(frozen=True)
class Seen:
    """One request of a client."""

    stream: int
    type_url: str
    names: tuple
    version: str
    nonce: str
    error: str | None
    has_node: bool
    # Whether its nonce, if it has one, is of a response to this type on the stream.
    nonce_known: bool


@dataclass
class Subscription:
    names: list = field(default_factory=list)
    version: int | None = None
    nonce: int = 0


class AdsServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """Serves what `put` was given; `log` has every request."""

    def __init__(self):
        self._lock = threading.Condition()
        self._resources = {}
        self._versions = {}
        self._streams = {}
        self._stream_count = 0
        self._held = set()
        self._server = None
        self.port = 0
        # Resources come in `envoy.service.discovery.v3.Resource`.
        self.wrapped = False
        self.log = []

    def start(self):
        """Listens; after `stop`, at the same port."""
        pool = futures.ThreadPoolExecutor(MAX_STREAMS)
        self._server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def stop(self):
        """Ends every stream and listens no more."""
        with self._lock:
            for events in self._streams.values():
                events.put(None)
        self._server.stop(grace=None).wait()

    def put(self, type_url, messages):
        """Puts resources, by name, in place of earlier ones; sent in one answer."""
        with self._lock:
            packed = self._resources.setdefault(type_url, {})
            for name, message in messages.items():
                packed[name] = any_pb2.Any(
                    type_url=type_url, value=message.SerializeToString()
                )
            self._bump(type_url)

    def remove(self, type_url, name):
        """Takes a resource away."""
        with self._lock:
            del self._resources[type_url][name]
            self._bump(type_url)

    def hold(self, type_url):
        """Answers nothing of a type until it is released."""
        with self._lock:
            self._held.add(type_url)

    def release(self, type_url):
        with self._lock:
            self._held.discard(type_url)
            for events in self._streams.values():
                events.put(type_url)

    def say(self, type_url, resources):
        """Sends just these, which are packed already, to every stream that asked for the type."""
        with self._lock:
            self._versions[type_url] = self._versions.get(type_url, 0) + 1
            for events in self._streams.values():
                events.put((type_url, resources))

    def version(self, type_url):
        with self._lock:
            return str(self._versions.get(type_url, 0))

    def open_streams(self):
        with self._lock:
            return len(self._streams)

    def requests(self, type_url=None):
        """The requests so far, in order."""
        with self._lock:
            return [seen for seen in self.log if type_url in (None, seen.type_url)]

    def wait_for(self, is_it, timeout=30):
        """The first request, also an earlier one, of which `is_it` holds."""
        with self._lock:
            found = self._lock.wait_for(
                lambda: next((seen for seen in self.log if is_it(seen)), None), timeout
            )
        assert found, f"no such request in {self.log}"
        return found

    def _wrap(self, name, resource):
        if not self.wrapped:
            return resource
        packed = any_pb2.Any()
        packed.Pack(discovery_pb2.Resource(name=name, resource=resource))
        return packed

    def _bump(self, type_url):
        self._versions[type_url] = self._versions.get(type_url, 0) + 1
        for events in self._streams.values():
            events.put(type_url)

    # The name is that of the service's method.
    def StreamAggregatedResources(self, request_iterator, context):
        events = queue.SimpleQueue()
        with self._lock:
            self._stream_count += 1
            stream = self._stream_count
            self._streams[stream] = events
        reader = threading.Thread(target=_read, args=(request_iterator, events), daemon=True)
        reader.start()
        subscriptions = {}
        try:
            while (event := events.get()) is not None:
                resources = None
                if isinstance(event, str):
                    type_url = event
                elif isinstance(event, tuple):
                    type_url, resources = event
                elif self._asked(stream, event, subscriptions):
                    type_url = event.type_url
                else:
                    continue
                answer = self._answer(type_url, subscriptions, resources)
                if answer is not None:
                    yield answer
        finally:
            with self._lock:
                del self._streams[stream]

    def _asked(self, stream, request, subscriptions):
        """Notes a request; false when it answers something older than the last answer."""
        error = request.error_detail.message if request.HasField("error_detail") else None
        subscription = subscriptions.setdefault(request.type_url, Subscription())
        seen = Seen(
            stream=stream,
            type_url=request.type_url,
            names=tuple(request.resource_names),
            version=request.version_info,
            nonce=request.response_nonce,
            error=error,
            has_node=request.HasField("node"),
            nonce_known=int(request.response_nonce or 0) <= subscription.nonce,
        )
        with self._lock:
            self.log.append(seen)
            self._lock.notify_all()
        if request.response_nonce and int(request.response_nonce) != subscription.nonce:
            return False
        if subscription.names != list(request.resource_names):
            subscription.names = list(request.resource_names)
            subscription.version = None
        return True

    def _answer(self, type_url, subscriptions, resources=None):
        subscription = subscriptions.get(type_url)
        if subscription is None or not subscription.names:
            return None
        with self._lock:
            version = self._versions.get(type_url, 0)
            there = self._resources.get(type_url, {})
            found = resources
            if found is None:
                found = [self._wrap(n, there[n]) for n in subscription.names if n in there]
            held = type_url in self._held
        if version == subscription.version or held:
            return None
        subscription.version = version
        subscription.nonce += 1
        return discovery_pb2.DiscoveryResponse(
            version_info=str(version),
            resources=found,
            type_url=type_url,
            nonce=str(subscription.nonce),
        )


def _read(requests, events):
    try:
        for request in requests:
            events.put(request)
    except grpc.RpcError:
        pass  # The client is gone, or the server stops: either way the stream is over.
    events.put(None)

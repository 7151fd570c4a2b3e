"""xDS resources, as small as they can be."""

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)


def _ads():
    source = config_source_pb2.ConfigSource()
    source.ads.SetInParent()
    return source


def listener(name, routes):
    """A Listener whose routes are in the RouteConfiguration `routes`."""
    manager = hcm_pb2.HttpConnectionManager()
    manager.rds.config_source.CopyFrom(_ads())
    manager.rds.route_config_name = routes
    router = manager.http_filters.add(name="router")
    router.typed_config.Pack(router_pb2.Router())
    made = listener_pb2.Listener(name=name)
    made.api_listener.api_listener.Pack(manager)
    return made


def routes(name, clusters_by_prefix):
    """A RouteConfiguration for every host: path prefixes and the clusters they lead to."""
    made = route_pb2.RouteConfiguration(name=name)
    host = made.virtual_hosts.add(name="all", domains=["*"])
    for prefix, cluster in clusters_by_prefix.items():
        route = host.routes.add()
        route.match.prefix = prefix
        route.route.cluster = cluster
    return made


def cluster(name):
    """A Cluster whose endpoints come by EDS under its own name."""
    made = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS)
    made.eds_cluster_config.eds_config.CopyFrom(_ads())
    return made


def invalid_cluster(name):
    """A Cluster that does not say where its endpoints come from."""
    return cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS)


def endpoints(name, *ports):
    """The endpoints of a cluster, on the loopback address, in one locality."""
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = made.endpoints.add()
    locality.locality.region = "here"
    locality.load_balancing_weight.value = 1
    for port in ports:
        socket = locality.lb_endpoints.add().endpoint.address.socket_address
        socket.address, socket.port_value = "127.0.0.1", port
    return made

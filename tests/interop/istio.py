"""Istio YAML for a greeter."""

_HEAD = "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: greeter}}\nspec:\n"


def service(ports_by_version, port=9080, protocol="GRPC"):
    """A ServiceEntry `greeter` and a DestinationRule with a subset for each version."""
    endpoints = "".join(
        f"  - {{address: 127.0.0.1, ports: {{main: {at}}}, labels: {{version: {version}}}}}\n"
        for version, at in ports_by_version.items()
    )
    subsets = "".join(
        f"  - {{name: {version}, labels: {{version: {version}}}}}\n" for version in ports_by_version
    )
    return (
        _HEAD.format(kind="ServiceEntry")
        + "  hosts: [greeter.default.svc.cluster.local]\n"
        + "  location: MESH_INTERNAL\n  resolution: STATIC\n"
        + f"  ports: [{{number: {port}, name: main, protocol: {protocol}}}]\n"
        + f"  endpoints:\n{endpoints}---\n"
        + _HEAD.format(kind="DestinationRule")
        + f"  host: greeter\n  subsets:\n{subsets}"
    )


def weights(weight_by_subset):
    """A VirtualService that splits by weight."""
    routes = "".join(
        f"    - {{destination: {{host: greeter, subset: {subset}}}, weight: {weight}}}\n"
        for subset, weight in weight_by_subset.items()
    )
    head = _HEAD.format(kind="VirtualService")
    return f"{head}  hosts: [greeter]\n  http:\n  - route:\n{routes}"

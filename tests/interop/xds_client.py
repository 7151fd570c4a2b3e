"""gRPC's xDS client in a process of its own: it reads its bootstrap once.

Arguments: the folder of the generated stubs, and a target. Each line of standard input is a
command, each line of standard output its result as JSON:

    calls N    N unary calls: {"versions": {version: count}, "errors": [text]}
    csds       the client's own status: [{"type", "name", "version", "status", "error"}]
"""

import collections
import json
import sys

import grpc
import grpc_csds
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.service.status.v3 import csds_pb2

# Longer than any call takes; without it a call to a broken mesh would wait for ever.
DEADLINE_S = 20


def calls(stub, message, count):
    versions, errors = collections.Counter(), []
    for _ in range(count):
        try:
            versions[stub.Unary(message, timeout=DEADLINE_S).version] += 1
        except grpc.RpcError as error:
            errors.append(f"{error.code()}: {error.details()}")
    return {"versions": versions, "errors": errors}


def csds():
    servicer = grpc_csds.ClientStatusDiscoveryServiceServicer
    response = servicer.FetchClientStatus(csds_pb2.ClientStatusRequest(), None)
    status = config_dump_shared_pb2.ClientResourceStatus
    return [
        {
            "type": entry.type_url.rsplit(".", 1)[-1],
            "name": entry.name,
            "version": entry.version_info,
            "status": status.Name(entry.client_status),
            "error": entry.error_state.details,
        }
        for config in response.config
        for entry in config.generic_xds_configs
    ]


def main():
    stubs, target = sys.argv[1:]
    sys.path.insert(0, stubs)
    from mesh.echo.v1 import echo_pb2, echo_pb2_grpc

    with grpc.insecure_channel(target) as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        for line in sys.stdin:
            match line.split():
                case ["calls", count]:
                    result = calls(stub, echo_pb2.EchoRequest(message="hello"), int(count))
                case ["csds"]:
                    result = csds()
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

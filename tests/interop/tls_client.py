"""One call by gRPC's own xDS client, secured as its control plane says. Arguments: a target.

The bootstrap is in the environment, as for any such client.
"""

import json
import sys

import grpc
import grpc.experimental

credentials = grpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())
with grpc.secure_channel(sys.argv[1], credentials) as channel:
    who = channel.unary_unary("/test/Who")
    try:
        answer = {"who": who(b"", timeout=20).decode()}
    except grpc.RpcError as error:
        answer = {"code": error.code().name, "details": error.details()}
print(json.dumps(answer), flush=True)
sys.stdin.read()

"""A grpcio server that asks for certificates, and says who asks. Arguments: its folder."""

import json
import sys
from concurrent import futures
from pathlib import Path

import grpc

folder = Path(sys.argv[1])


class Who(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        def answer(request, context):
            names = context.auth_context().get("x509_subject_alternative_name", [b"nobody"])
            return names[0]

        return grpc.unary_unary_rpc_method_handler(answer)


def read(name):
    return (folder / name).read_bytes()


pair = (read("key.pem"), read("cert-chain.pem"))
credentials = grpc.ssl_server_credentials([pair], read("root-cert.pem"), require_client_auth=True)
server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Who()])
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
sys.stdin.read()

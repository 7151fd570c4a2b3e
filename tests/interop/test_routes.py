"""Routes, changes of headers and filters: `check-routes` and real requests end as in Envoy."""

import json
import os
import subprocess

import envoy_records
import route_tables
import wider_tables

# What a connection or a codec adds, which says nothing of a decision.
ITS_OWN = {
    "connection", "content-length", "date", "server", "transfer-encoding", "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-service-time", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-envoy-internal",
}  # fmt: skip
FIELDS = (
    "outcome", "status", "location", "cluster", "route_name", "virtual_cluster", "response_flags",
    "response_code_details", "body",
)  # fmt: skip


def headers(pairs):
    return sorted(list(pair) for pair in pairs or [] if pair[0] not in ITS_OWN)


def request(one):
    """What of a request that reaches an upstream is compared."""
    one = one or {}
    plain = [one.get(field) for field in ("cluster", "method", "path", "authority")]
    return [*plain, headers(one.get("headers_added")), headers(one.get("headers_removed"))]


def compared(expect):
    if expect["outcome"].startswith("config_"):
        return {"refused": expect["outcome"] == "config_rejected"}
    return {field: expect.get(field) or None for field in FIELDS} | {
        "response_headers": headers(expect.get("response_headers")),
        "upstream": request(expect.get("upstream")),
        "mirrored": sorted(map(request, expect.get("mirrored") or []), key=str),
    }


def is_of_the_codec(record):
    """Refused before anything is decided; or an answer that HTTP/1.1 could not carry."""
    details = record["expect"].get("response_code_details", "")
    return details.startswith("http1.")


def is_of_no_uri(record):
    """Rewritten to a path that no URI has, which hyper does not send."""
    path = (record["expect"].get("upstream") or {}).get("path", "/")
    return not path.startswith(("/", "*")) or "<" in path


def differences(records, answers, untold=()):
    assert len(answers) == len(records)
    pairs = [pair for pair in zip(records, answers) if "unsent" not in pair[1]]
    differ = []
    for record, answer in pairs:
        theirs, ours = compared(record["expect"]), compared(answer["expect"])
        if "refused" in theirs or "refused" in ours:
            theirs, ours = theirs.get("refused", False), ours.get("refused", False)
        else:
            for field in untold:
                theirs.pop(field), ours.pop(field)
        if theirs != ours:
            differ.append(f"{record['id']} {record['request']}:\n  Envoy {theirs}\n  ours  {ours}")
    print(f"{len(pairs)} requests, {len(differ)} differ")
    return differ


def over_sockets(file):
    command = [os.environ["MESH_RECORDS"], file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_requests_end_as_in_envoy(meshctl, tmp_path):
    narrow = list(route_tables.everything())
    records = envoy_records.record(tmp_path, [*narrow, *wider_tables.everything()])
    records = [record for record in records if not is_of_the_codec(record)]
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    differ = differences(records, meshctl.run("check-routes", file))
    assert not differ, "\n".join(differ[:10])
    assert len(records) > 6_000

    # The others are about whom a request comes from, and an application's comes from nobody.
    asked = {one["id"] for one in [*narrow, *wider_tables.local_replies()]}
    records = [record for record in records if record["id"] in asked]
    records = [record for record in records if record["request"] and not is_of_no_uri(record)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    differ = differences(records, over_sockets(file), untold=("virtual_cluster",))
    assert not differ, f"{len(differ)} differ\n" + "\n".join(differ[:10])
    assert len(records) > 3_000

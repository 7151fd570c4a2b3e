"""Routes, changes of headers and filters: `check-routes` decides as Envoy does."""

import json

import envoy_records
import route_tables

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


def test_requests_end_as_in_envoy(meshctl, tmp_path):
    records = envoy_records.record(tmp_path, list(route_tables.everything()))
    records = [record for record in records if not is_of_the_codec(record)]
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    answers = meshctl.run("check-routes", file)
    assert len(answers) == len(records)
    differ = []
    for record, answer in zip(records, answers):
        theirs, ours = compared(record["expect"]), compared(answer["expect"])
        if "refused" in theirs or "refused" in ours:
            theirs, ours = "refused" in theirs and theirs["refused"], ours.get("refused", False)
        if theirs != ours:
            differ.append(f"{record['id']} {record['request']}:\n  Envoy {theirs}\n  ours  {ours}")
    print(f"{len(records)} requests, {len(differ)} differ")
    assert not differ, "\n".join(differ[:10])
    assert len(records) > 3_000

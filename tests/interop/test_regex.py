"""Regular expressions: what RE2 in Envoy refuses is refused, and programs are as large as there."""

import json
import random
import re

from conftest import eventually
from envoy_process import Envoy
from envoy_records import listener

SEED, COUNT, AT_ONCE = 1, 1_000, 250
SIZE = re.compile(r"RE2 program size of (\d+) > max program size of")
# Told of what did not compile.
NONE = (1 << 32) - 1
ATOMS = ("a", "b", "ab", "abc", "/", "/api", "x", "-", "1", r"\.", "é", "日", ".", "^", "$",
         r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\b", r"\B", r"\A", r"\z", r"\C", r"\pL", r"\P{Lu}", r"\x41",
         "[a-z]", "[^/]", "[^a-c]", "[A-Za-z0-9_-]", "[ab]", "[aA]", "[.]", "[éa]", "[[:alpha:]]",
         r"[^\x00-\xff]", "(*", r"\x{100}", "[b-a]", r"\8")  # fmt: skip
FLAGS = ("(?i)", "(?s)", "(?m)", "(?U)", "(?-i)")
GROUPS = ("(", "(", "(?:", "(?:", "(?i:", "(?s:", "(?U:")
COUNTS = ("*", "+", "?", "*?", "+?", "??", "{2}", "{0,3}", "{1,}", "{2,4}", "{0}", "{3,}?", "{0,1}")


def expression(draw, depth):
    """Any expression; most of them are valid."""
    branches = [concatenation(draw, depth) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    return "|".join(branches)


def concatenation(draw, depth):
    made = ""
    for _ in range(draw.choice((0, 1, 2, 3) if depth < 2 else (1, 2, 3, 4))):
        is_group = depth and draw.random() < 0.3
        inner = f"{draw.choice(GROUPS)}{expression(draw, depth - 1)})" if is_group else draw.choice(ATOMS)
        made += inner + (draw.choice(COUNTS) if draw.random() < 0.3 else "")
        # A count behind flags repeats what is before them, and is refused here.
        made += draw.choice(FLAGS) + "f" if draw.random() < 0.05 else ""
    return made


def route_config(regex):
    matcher = {"regex": regex, "google_re2": {"max_program_size": 0}}
    route = {"match": {"safe_regex": matcher}, "direct_response": {"status": 200}}
    return {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}


def told(error):
    """The size a refusal speaks of; nothing when it is about something else."""
    found = SIZE.search(error)
    size = int(found.group(1)) if found else NONE
    return None if size == NONE else size


def of_envoy(folder, regexes):
    """As each is allowed no instruction, a refusal tells how many it has."""
    listeners = [listener(str(at), {"route_config": route_config(regex)}, folder / "log")
                 for at, regex in enumerate(regexes)]  # fmt: skip
    (folder / "lds.json").write_text(json.dumps({"resources": listeners}))
    source = {"path_config_source": {"path": str(folder / "lds.json")}, "resource_api_version": "V3"}
    envoy = Envoy(folder, {
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {"lds_config": source},
    })  # fmt: skip

    def refusals():
        dumped = json.loads(envoy.admin("/config_dump?resource=dynamic_listeners") or "{}")
        states = [one["error_state"] for one in dumped.get("configs", []) if "error_state" in one]
        found = {int(one["failed_configuration"]["name"]): told(one["details"]) for one in states}
        return found if len(found) == len(regexes) else None

    try:
        found = eventually(refusals, "refusal of every listener")
    finally:
        envoy.end()
    return [found[at] for at in range(len(regexes))]


def test_sizes_of_programs_are_those_of_envoy(meshctl, tmp_path):
    draw = random.Random(SEED)
    regexes = sorted({expression(draw, 2) for _ in range(COUNT)} - {""})
    theirs = []
    for start in range(0, len(regexes), AT_ONCE):
        theirs += of_envoy(tmp_path, regexes[start : start + AT_ONCE])
    records = [{"id": str(at), "scope": "config", "route_config": route_config(regex), "request": None,
                "expect": {"outcome": "config_rejected"}} for at, regex in enumerate(regexes)]  # fmt: skip
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    ours = [told(answer["expect"].get("error", "")) for answer in meshctl.run("check-routes", file)]
    differ = [f"{regex}: Envoy {their}, ours {our}"
              for regex, their, our in zip(regexes, theirs, ours, strict=True) if their != our]  # fmt: skip
    print(f"{len(regexes)} expressions, {theirs.count(None)} refused, {len(differ)} differ")
    assert not differ, f"{len(differ)} differ\n" + "\n".join(differ[:20])
    assert theirs.count(None) < len(regexes) / 2

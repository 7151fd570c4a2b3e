"""What of two clients' requests is compared."""


def comparable(trace):
    """What of the requests for a type is to be the same: by stream, the versions in order, whether
    with a nonce of that stream, and whether as a refusal; and the names.

    How many requests it takes is left out: grpcio asks for names one by one, and answers and changes
    apart, where ours does both in one. So is the version beside a refusal, which grpcio takes from
    the refused response if any resource in it was good; ours is held to the rule.
    """
    said, names = [], []
    for seen in trace:
        version = "refused" if seen.error else seen.version
        known = seen.nonce_known and bool(seen.nonce)
        step = {"stream": seen.stream, "version": version, "nonce": bool(seen.nonce), "known": known}
        if not said or said[-1] != step:
            said.append(step)
        wanted = {"stream": seen.stream, "names": set(seen.names)}
        if names and names[-1]["stream"] == seen.stream and names[-1]["names"] <= wanted["names"]:
            names.pop()
        names.append(wanted)
    return said, [(wanted["stream"], sorted(wanted["names"])) for wanted in names]


def refusals(trace):
    """Of each refusal, its version and the one that was accepted last."""
    made, accepted = [], ""
    for seen in trace:
        if seen.error:
            made.append((seen.version, accepted))
        else:
            accepted = seen.version
    return made

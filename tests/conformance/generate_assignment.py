"""Writes assignment.json: `python tests/conformance/generate_assignment.py > tests/conformance/assignment.json`.

The implementation here follows docs/assignment.md word by word, slowly: exact fractions where genux compares bytes, one
pass over every rule where genux compiles closures. Targeting knows `eq` only; targeting.json has every operator.
GrowthBook's own answers come from its package, by generate_growthbook.py.
"""

import hashlib
import json
import sys
from fractions import Fraction

UNITS = ["a", "user-42", "user-43", "0", "42", "Ünïcødé", "한국어", "🙂", " spaced out ", "x" * 256, "null"]
MANY = [*UNITS, *(f"u{i}" for i in range(20))]
TWO = [{"key": "control", "surface": "chat"}, {"key": "summary", "surface": "action"}]
THREE = [*TWO, {"key": "inline", "surface": "inline"}]
HALVES = [0.5, 0.5]


def halves(salt, unit_id):
    """The two numbers of genux-1, as fractions of 2^64."""
    digest = hashlib.blake2b(salt.encode() + bytes([0]) + unit_id.encode(), digest_size=16).digest()
    return tuple(Fraction(int.from_bytes(part, "big"), 2**64) for part in (digest[:8], digest[8:]))


def floored(share):
    return Fraction(int(share * 2**64), 2**64)


def fnv1a32(text):
    value = 2166136261
    data = text.encode("utf-16-le")
    for index in range(0, len(data), 2):
        value = (value ^ int.from_bytes(data[index : index + 2], "little")) * 16777619 % 2**32
    return value


def growthbook(version, seed, unit_id):
    if version == 1:
        return fnv1a32(unit_id + seed) % 1000 / 1000
    return fnv1a32(str(fnv1a32(seed + unit_id))) % 10000 / 10000


def matches(rules, attributes):
    """By JSON text, in which true is not 1."""
    return any(all(json.dumps(attributes.get(c["attribute"])) == json.dumps(c["value"]) for c in g) for g in rules)


def epochs(experiment):
    yield from experiment.get("bands", [])
    yield {
        "epoch": experiment.get("epoch", 1),
        "coverage": experiment.get("coverage", 1.0),
        "allocation": experiment["allocation"],
    }


def genux_choice(experiment, unit_id):
    choice, coverage = halves(experiment["salt"], unit_id)
    for epoch in epochs(experiment):
        if coverage < floored(epoch["coverage"]):
            total = 0.0
            last = max(i for i, share in enumerate(epoch["allocation"]) if share > 0)
            for index, share in enumerate(epoch["allocation"]):
                total += share
                if index == last or choice < floored(total):
                    return index, epoch["epoch"]
    return None


def growthbook_choice(experiment, unit_id):
    """In a list of free pieces of 0 to 1, each epoch takes its ranges; what it does not take stays free."""
    number = growthbook(int(experiment["scheme"][-1]), experiment["salt"], unit_id)
    free, before = [(0.0, 1.0)], 0.0
    for epoch in epochs(experiment):
        if epoch["coverage"] <= before:
            continue
        room = sum(end - start for start, end in free)
        portion = (epoch["coverage"] - before) / (1 - before)
        place, offset = None, 0.0
        for start, end in free:
            if start <= number < end:
                place = offset + number - start
            offset += end - start
        total, taken = 0.0, []
        for index, share in enumerate(epoch["allocation"]):
            first = total * room
            total += share
            last = total * room if portion == 1 else first + portion * share * room
            if place is not None and first <= place < last:
                return index, epoch["epoch"]
            taken.append((first, last))
        free, before = _without(free, taken), epoch["coverage"]
    return None


def _without(free, taken):
    left, offset = [], 0.0
    for start, end in free:
        edge = 0.0
        for first, last in taken:
            low, high = max(first - offset, 0.0), min(last - offset, end - start)
            if high > low:
                left.append((start + edge, start + low))
                edge = high
        left.append((start + edge, end))
        offset += end - start
    return [(start, end) for start, end in left if end > start]


def in_layer(layer, ranges, unit_id):
    if layer.get("scheme", "genux-1") == "growthbook-1":
        number = growthbook(1, "__" + layer["salt"], unit_id)
        return any(start <= number < end for start, end in ranges)
    place, _ = halves("layer:" + layer["salt"], unit_id)
    return any(floored(start) <= place < floored(end) for start, end in ranges)


def is_held_out(snapshot, experiment, unit_id):
    return any(
        halves("holdout:" + holdout["salt"], unit_id)[0] < floored(holdout["share"])
        for holdout in snapshot.get("holdouts", [])
        if holdout.get("unit_kind", "user") == experiment.get("unit_kind", "user")
        and (experiment["key"] in holdout.get("experiments", []) or not holdout.get("experiments"))
    )


def assign(snapshot, key, unit_id, attributes):  # noqa: C901, PLR0911 the specification is one list of tests
    experiment = next(each for each in snapshot["experiments"] if each["key"] == key)
    epoch = experiment.get("epoch", 1)

    def refused(reason):
        return experiment["control"], reason, epoch

    status = experiment.get("status", "running")
    if status in {"paused", "stopped"}:
        return refused("STOPPED")
    held_out = is_held_out(snapshot, experiment, unit_id)
    if status == "shipped":
        return refused("HOLDOUT") if held_out else (experiment["shipped"], "SHIPPED", epoch)
    if unit_id in experiment.get("forced_units", {}):
        return experiment["forced_units"][unit_id], "FORCED", epoch
    if matches(snapshot.get("exclusions", []), attributes):
        return refused("EXCLUDED")
    if held_out:
        return refused("HOLDOUT")
    if experiment.get("targeting") and not matches(experiment["targeting"], attributes):
        return refused("NOT_TARGETED")
    if experiment.get("layer"):
        layer = next(each for each in snapshot["layers"] if each["key"] == experiment["layer"])
        if not in_layer(layer, experiment["layer_ranges"], unit_id):
            return refused("EXCLUDED")
    for required in experiment.get("prerequisites", []):
        if assign(snapshot, required["experiment"], unit_id, attributes)[0] not in required["variants"]:
            return refused("PREREQUISITE")
    choose = genux_choice if experiment.get("scheme", "genux-1") == "genux-1" else growthbook_choice
    choice = choose(experiment, unit_id)
    if choice is None:
        return refused("NOT_IN_COVERAGE")
    return experiment["variants"][choice[0]]["key"], "ASSIGNED", choice[1]


def experiment(key, salt, variants=TWO, allocation=HALVES, **more):
    return {"key": key, "salt": salt, "control": "control", "variants": variants, "allocation": allocation, **more}


def snapshots():
    yield (
        "shares",
        [{}],
        [
            experiment("halves", "halves"),
            experiment("thirds", "s-1", THREE, [1 / 3, 1 / 3, 1 / 3]),
            experiment("skew", "s-2", THREE, [0.1, 0.2, 0.7]),
            experiment("first-off", "s-3", THREE, [0.0, 0.5, 0.5]),
            experiment("last-off", "s-3", THREE, [0.9, 0.1, 0.0]),
        ],
        {},
    )
    yield (
        "coverage",
        [{}],
        [experiment(f"coverage-{coverage}", "소금", coverage=coverage) for coverage in (0.0, 0.1, 0.5, 0.999)],
        {},
    )
    yield (
        "statuses",
        [{}],
        [
            experiment("paused", "s", status="paused"),
            experiment("stopped", "s", status="stopped"),
            experiment("shipped", "s", status="shipped", shipped="summary", layer="page", layer_ranges=[[0.0, 0.1]]),
            experiment("forced", "s", forced_units={"user-42": "summary", "null": "control"}, coverage=0.0),
        ],
        {"layers": [{"key": "page", "salt": "page"}]},
    )
    yield (
        "epochs",
        [{}],
        [
            experiment(
                "bands",
                "s-4",
                allocation=[0.1, 0.9],
                epoch=3,
                coverage=0.9,
                bands=[
                    {"epoch": 1, "coverage": 0.2, "allocation": [0.5, 0.5]},
                    {"epoch": 2, "coverage": 0.6, "allocation": [0.9, 0.1]},
                ],
            ),
            experiment(
                "empty-band",
                "s-5",
                epoch=2,
                bands=[{"epoch": 1, "coverage": 0.0, "allocation": [1.0, 0.0]}],
                coverage=0.5,
            ),
        ],
        {},
    )
    yield (
        "layers",
        [{}],
        [
            experiment("left", "l", layer="page", layer_ranges=[[0.0, 0.25], [0.5, 0.75]]),
            experiment("right", "r", layer="page", layer_ranges=[[0.25, 0.5]]),
            experiment("namespace", "n", layer="gb", layer_ranges=[[0.1, 0.6]]),
        ],
        {"layers": [{"key": "page", "salt": "page-1"}, {"key": "gb", "salt": "pricing", "scheme": "growthbook-1"}]},
    )
    yield (
        "holdouts",
        [{}],
        [
            experiment("held", "h-1"),
            experiment("held-twice", "h-2"),
            experiment("held-though-shipped", "h-3", status="shipped", shipped="summary"),
            experiment("document", "h-4", unit_kind="document"),
        ],
        {
            "holdouts": [
                {"key": "all", "salt": "all-2026", "share": 0.2},
                {"key": "some", "salt": "some", "share": 0.3, "experiments": ["held-twice"]},
            ]
        },
    )
    yield (
        "prerequisites",
        [{}],
        [
            experiment("first", "p-1", coverage=0.7),
            experiment("second", "p-2", prerequisites=[{"experiment": "first", "variants": ["summary"]}]),
            experiment("third", "p-3", prerequisites=[{"experiment": "second", "variants": ["summary", "control"]}]),
            experiment("after-shipped", "p-4", prerequisites=[{"experiment": "done", "variants": ["summary"]}]),
            experiment("done", "p-5", status="shipped", shipped="summary"),
        ],
        {},
    )
    kr = [[{"attribute": "country", "value": "KR"}]]
    yield (
        "rules",
        [{}, {"bot": True}, {"bot": 1}, {"country": "KR"}, {"country": "KR", "bot": True}],
        [
            experiment("targeted", "t-1", targeting=kr),
            experiment("everyone", "t-2", forced_units={"user-42": "summary"}),
        ],
        {"exclusions": [[{"attribute": "bot", "value": True}]]},
    )
    yield (
        "order",
        [{"country": "KR"}, {"bot": True}, {}],
        [
            experiment(
                "all-gates",
                "o-1",
                targeting=kr,
                coverage=0.6,
                layer="page",
                layer_ranges=[[0.0, 0.6]],
                prerequisites=[{"experiment": "open", "variants": ["summary"]}],
            ),
            experiment("open", "o-2"),
        ],
        {
            "layers": [{"key": "page", "salt": "page-1"}],
            "holdouts": [{"key": "all", "salt": "all-2026", "share": 0.3}],
            "exclusions": [[{"attribute": "bot", "value": True}]],
        },
    )
    yield (
        "growthbook",
        [{}],
        [
            experiment("gb-2", "gb-2", THREE, [0.2, 0.3, 0.5], scheme="growthbook-2", coverage=0.5),
            experiment("gb-1", "gb-1", THREE, [0.2, 0.3, 0.5], scheme="growthbook-1", coverage=0.5),
            experiment(
                "gb-bands",
                "gb-2",
                allocation=[0.2, 0.8],
                scheme="growthbook-2",
                epoch=2,
                bands=[{"epoch": 1, "coverage": 0.5, "allocation": [0.5, 0.5]}],
                coverage=0.8,
            ),
        ],
        {},
    )


def made():
    groups = []
    for name, situations, experiments, rules in snapshots():
        snapshot = {"version": name, **rules, "experiments": experiments}
        cases = []
        for each in experiments:
            for attributes in situations:
                for unit_id in MANY:
                    variant, reason, epoch = assign(snapshot, each["key"], unit_id, attributes)
                    case = {"experiment": each["key"], "unit_id": unit_id, "attributes": attributes}
                    cases.append({**case, "variant": variant, "reason": reason, "epoch": epoch})
        groups.append({"snapshot": snapshot, "cases": cases})
    salts = ["s-1", "소금", "layer:page-1", "holdout:all-2026"]
    return {
        "source": "docs/assignment.md, computed by generate_assignment.py",
        "hashes": [
            {"salt": salt, "unit_id": unit_id, "choice": str(choice * 2**64), "coverage": str(coverage * 2**64)}
            for salt in salts
            for unit_id in ["", *UNITS]
            for choice, coverage in [halves(salt, unit_id)]
        ],
        "growthbook_hashes": [
            {"version": version, "seed": seed, "unit_id": unit_id, "number": growthbook(version, seed, unit_id)}
            for version in (1, 2)
            for seed in ("", "pricing", "가격")
            for unit_id in UNITS
        ],
        "groups": groups,
    }


def written():
    """One row per case: a diff then shows which."""
    data = made()
    lines = ["{", f' "source": {json.dumps(data["source"])},']
    for name in ("hashes", "growthbook_hashes"):
        rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in data[name])
        lines += [f' "{name}": [', rows, " ],"]
    groups = []
    for group in data["groups"]:
        rows = ",\n".join("   " + json.dumps(row, ensure_ascii=False) for row in group["cases"])
        snapshot = json.dumps(group["snapshot"], ensure_ascii=False)
        groups.append(f'  {{"snapshot": {snapshot},\n   "cases": [\n{rows}\n  ]}}')
    lines += [' "groups": [', ",\n".join(groups), " ]", "}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(written())

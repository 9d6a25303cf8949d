import pytest

from genux.assignment import assign, compile_snapshot
from genux.config import load_config, parse_config, snapshot_experiment, snapshot_from_config
from genux.errors import ConfigError, SnapshotError

TWO = "variants: [{key: a}, {key: b}]"


def test_yaml_means_what_people_mean():
    config = parse_config(
        f"experiments: [{{key: e, {TWO}, targeting: [[{{attribute: c, op: in, value: [NO, on, yes, 2026-01-01]}}]]}}]"
    )
    assert config.experiments[0].targeting[0][0].value == ["NO", "on", "yes", "2026-01-01"]
    assert parse_config("metrics: [{key: m, numerator: {event: x}, margin_relative: true}]").metrics[0].margin_relative


def test_an_empty_file_is_an_empty_config():
    assert parse_config("").experiments == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: [", "f.yaml: not YAML"),
        ("experimants: []", "f.yaml: Object contains unknown field `experimants`"),
        (f"experiments: [{{key: e, {TWO}, coverage: 2}}]", r"\$\.experiments\[0\]\.coverage"),
        ("experiments: [{key: e, variants: [{key: a}]}]", r"\$\.experiments\[0\]\.variants"),
        (f"experiments: [{{key: 'a b', {TWO}}}]", r"\$\.experiments\[0\]\.key"),
        (f"experiments: [{{key: e, {TWO}}}, {{key: e, {TWO}}}]", r"experiments\[1\]\.key: `e` stands twice"),
        (f"experiments: [{{key: e, {TWO}, control: c}}]", r"experiments\[0\]\.control: no variant `c`; there are a, b"),
        (f"experiments: [{{key: e, {TWO}, allocation: {{c: 1}}}}]", r"experiments\[0\]\.allocation\.c: no variant `c`"),
        (f"experiments: [{{key: e, {TWO}, allocation: {{a: 0.5}}}}]", r"the shares sum to 0\.5, not 1"),
        (f"experiments: [{{key: e, {TWO}, forced_units: {{u: c}}}}]", r"forced_units\.u: no variant `c`"),
        (f"experiments: [{{key: e, key: f, {TWO}}}]", "the key `key` stands twice"),
        ("experiments: [{1: e}]", "the key 1 is not text"),
        (
            f"experiments: [{{key: e, {TWO}, targeting: [[{{attribute: c, op: in, value: KR}}]]}}]",
            r"experiments\[0\]\.targeting\[0\]\[0\]\.value: `in` needs a list",
        ),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
        ("- a", "Expected `object`, got `array`"),
    ],
)
def test_a_mistake_is_said_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(text, "f.yaml")


PAGE = "layers: [{key: page}]\nexperiments:\n"


def part(key, ranges, more=""):
    return f"  - {{key: {key}, {TWO}, layer: {{key: page, ranges: {ranges}}}{more}}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PAGE + part("e", [[0, 0.6]]) + part("f", [[0.8, 1], [0.5, 0.7]]),
            r"experiments\[1\]\.layer\.ranges\[1\]: 0\.5",
        ),
        (PAGE + part("e", [[0.6, 0.6]]), r"experiments\[0\]\.layer\.ranges\[0\]: begins at 0\.6 and ends at 0\.6"),
        (PAGE + part("e", [[0, 2]]), r"\$\.experiments\[0\]\.layer\.ranges\[0\]\[1\]"),
        (
            PAGE + part("e", [[0, 0.5]]) + part("f", [[0.5, 1]], ", unit_kind: document"),
            "by user, this one by document",
        ),
        (PAGE.replace("page", "other") + part("e", [[0, 1]]), "there is no layer `page`"),
        (f"holdouts: [{{key: h, share: 0.1, experiments: [x]}}]\nexperiments: [{{key: e, {TWO}}}]", r"holdouts\[0\]"),
        (
            (
                "holdouts: [{key: h, share: 0.1, unit_kind: document, experiments: [e]}]\n"
                f"experiments: [{{key: e, {TWO}}}]"
            ),
            "`e` assigns a user, not a document",
        ),
        (f"experiments: [{{key: e, {TWO}, scheme: growthbook-3}}]", r"\$\.experiments\[0\]\.scheme"),
        (f"experiments: [{{key: e, {TWO}, prerequisites: [{{experiment: e, variants: [a]}}]}}]", "e -> e"),
    ],
)
def test_what_holds_for_all_experiments_is_checked_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(text, "f.yaml")


def test_layers_holdouts_and_exclusions_of_a_file_assign():
    text = (
        "layers: [{key: page}]\nholdouts: [{key: h, share: 0.2}]\n"
        "exclusions: [[{attribute: bot, value: true}]]\nexperiments:\n"
        + part("e", [[0, 0.5]])
        + part("f", [[0.5, 1]], ", scheme: growthbook-2, prerequisites: [{experiment: e, variants: [a]}]")
    )
    compiled = compile_snapshot(snapshot_from_config(parse_config(text)))
    reasons = {key: {assign(compiled, key, f"u{i}", {}).reason for i in range(300)} for key in "ef"}
    assert reasons["e"] == {"ASSIGNED", "EXCLUDED", "HOLDOUT"}
    assert reasons["f"] == {"ASSIGNED", "EXCLUDED", "HOLDOUT"}
    assert assign(compiled, "e", "u1", {"bot": True}).reason == "EXCLUDED"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.yaml: cannot be read"):
        load_config(tmp_path / "nope.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "latin.yaml")


def test_the_version_of_a_local_snapshot_is_its_content():
    one = snapshot_from_config(parse_config(f"experiments: [{{key: e, {TWO}}}]"))
    same = snapshot_from_config(parse_config(f"# a comment\nexperiments: [{{{TWO}, key: e}}]"))
    other = snapshot_from_config(parse_config(f"experiments: [{{key: e, {TWO}, coverage: 0.5}}]"))
    assert one.version == same.version != other.version


def spec():
    return parse_config(f"experiments: [{{key: e, {TWO}, allocation: {{a: 0.2, b: 0.8}}, coverage: 0.5}}]").experiments[
        0
    ]


def test_a_spec_becomes_what_the_sdk_evaluates():
    experiment = snapshot_experiment(spec(), salt="s", epoch=3, coverage=1.0, allocation={"b": 1.0})
    assert (experiment.control, experiment.allocation, experiment.coverage) == ("a", [0.0, 1.0], 1.0)
    assert (snapshot_experiment(spec(), salt="s").allocation, snapshot_experiment(spec(), salt="s").coverage) == (
        [0.2, 0.8],
        0.5,
    )


def test_a_shipped_experiment_gives_its_variant_to_everyone():
    experiment = snapshot_experiment(spec(), salt="s", status="shipped", shipped="b", coverage=0.0)
    from genux.wire import Snapshot

    compiled = compile_snapshot(Snapshot(version="v", experiments=[experiment]))
    assignment = assign(compiled, "e", "anyone", {})
    assert (assignment.key, assignment.reason) == ("b", "SHIPPED")
    with pytest.raises(SnapshotError, match=r"experiment\.shipped: no variant ``"):
        snapshot_experiment(spec(), salt="s", status="shipped")


@pytest.mark.parametrize("status", ["paused", "stopped"])
def test_a_stopped_experiment_gives_control_to_everyone(status):
    from genux.wire import Snapshot

    compiled = compile_snapshot(
        Snapshot(version="v", experiments=[snapshot_experiment(spec(), salt="s", status=status)])
    )
    assert {assign(compiled, "e", f"u{i}", {}).key for i in range(50)} == {"a"}
    assert assign(compiled, "e", "u", {}).reason == "STOPPED"

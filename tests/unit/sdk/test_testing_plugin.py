"""The pytest plugin, as another project's tests meet it: installed, and found by its entry point."""

import pytest

import genux
from genux import testing

pytest_plugins = ["pytester"]

APP = """
import genux
import pytest

@pytest.fixture(scope="session", autouse=True)
def gx():
    client = genux.Client()
    yield client
    client.close()

def visit(user="user-1"):
    with genux.unit(user):
        key = genux.variant("ai-entry").key
        genux.track("answer_accepted")
        return key
"""


@pytest.fixture
def project(pytester):
    """A project whose tests are given as text; answers how they went."""
    pytester.makeconftest(APP)

    def run(text, *options):
        pytester.makepyfile("import genux, pytest\nfrom conftest import visit\n" + text)
        return pytester.runpytest_subprocess("-q", "--strict-markers", "-p", "no:cacheprovider", *options)

    return run


def test_a_marker_forces_variants_for_a_test_and_its_fixtures_and_no_longer(project):
    run = project("""
pytestmark = pytest.mark.genux(layout="rich")

@pytest.fixture
def early():
    return visit()

@pytest.mark.genux({"ai-entry": "summary"})
def test_forced(early):
    assert (early, visit()) == ("summary", "summary")
    with genux.unit("u"):
        assert genux.variant("layout").key == "rich"

def test_after():
    assert visit() == "control"

@pytest.mark.genux({"ai-entry": "chat"})
class TestClass:
    def test_of_the_class(self):
        assert visit() == "chat"

    @pytest.mark.genux({"ai-entry": "action"})
    def test_the_closest_marker_wins(self):
        assert visit() == "action"

@pytest.mark.parametrize("key", [pytest.param("a", marks=pytest.mark.genux({"ai-entry": "a"}))])
def test_a_parameter(key):
    assert visit() == key
""")
    run.assert_outcomes(passed=5)


def test_forcing_ends_when_a_test_fails(project):
    run = project("""
@pytest.mark.genux({"ai-entry": "summary"})
def test_fails():
    assert visit() == "chat"

def test_after(genux_force):
    assert visit() == "control"
    genux_force({"ai-entry": "chat"})
    genux_force(layout="rich")
    assert visit() == "chat"

def test_after_the_fixture():
    assert visit() == "control"
""")
    run.assert_outcomes(passed=2, failed=1)


def test_a_variant_that_does_not_exist_is_an_error_of_the_test_that_forced_it(project, pytester):
    pytester.makefile(".yaml", genux="experiments: [{key: ai-entry, variants: [{key: chat}, {key: summary}]}]")
    run = project("""
@pytest.fixture(autouse=True)
def gx():
    genux.Client(config="genux.yaml")

@pytest.mark.genux({"ai-entry": "sumary"})
def test_marked():
    assert visit() in ("chat", "summary")

def test_fixture(genux_force):
    genux_force({"ai-entry": "sumary"})
    visit()

@pytest.mark.genux({"ai-entry": "sumary"})
def test_that_never_asks():
    pass

def test_after():
    assert visit() in ("chat", "summary")
""")
    run.assert_outcomes(passed=4, errors=2)
    run.stdout.fnmatch_lines(["*ConfigError: `ai-entry` has no variant `sumary` to be forced"])


def test_each_test_hears_its_own_events_whatever_ran_before(project):
    run = project("""
@pytest.mark.genux({"ai-entry": "summary"})
@pytest.mark.parametrize("n", range(3))
def test_recorded(genux_recording, n):
    visit()
    (exposure,) = genux_recording.exposures
    (event,) = genux_recording.tracks
    assert (exposure.variant, exposure.forced, event.name) == ("summary", True, "answer_accepted")
""")
    run.assert_outcomes(passed=3)


def test_a_clock_stands_still_until_it_is_told_to_move(project):
    run = project("""
@pytest.mark.genux({"ai-entry": "summary"})
def test_clock(genux_clock, genux_recording):
    began = genux_clock.now
    visit()
    genux_clock.advance(3600)
    visit()
    first, second = genux_recording.tracks
    assert first.at == began
    assert (second.at - first.at).total_seconds() == 3600
    with genux.unit("user-1"):
        genux.variant("ai-entry")
        token = genux.resume_token(lifetime_seconds=60)
    assert genux.resume(token).refused == ""
    genux_clock.advance(61)
    assert genux.resume(token).refused == "expired"
""")
    run.assert_outcomes(passed=1)


def test_it_works_in_parallel(project):
    run = project(
        """
@pytest.mark.parametrize("key", ["chat", "summary"] * 10)
def test_forced(genux_force, genux_recording, key):
    genux_force({"ai-entry": key})
    visit()
    assert [event.variant for event in genux_recording.exposures] == [key]
""",
        "-n2",
    )
    run.assert_outcomes(passed=20)


def test_without_the_service_its_tests_are_skipped_with_the_reason(project, pytester):
    pytester.makeconftest(f"import sys\nsys.modules['flask'] = None  # as though it were not installed\n{APP}")
    run = project("def test_service(genux_service):\n    pass\n", "-rs")
    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*the service cannot be imported*pip install 'genux[[]server[]]'*"])


def test_a_report_is_there_where_warnings_are_errors(project, pytester):
    pytester.makefile(
        ".yaml",
        genux="""
            metrics: [{key: accepted, numerator: {event: answer_accepted}}]
            experiments: [{key: ai-entry, primary: accepted, variants: [{key: chat}, {key: summary}]}]
        """,
    )
    run = project(
        """
def test_report(genux_service):
    genux_service.apply("genux.yaml")
    genux_service.client()
    for n in range(10):
        visit(f"user-{n}")
    assert genux_service.report("ai-entry")["n_units"] == 10
""",
        "-Werror",
    )
    run.assert_outcomes(passed=1)


def test_whoever_does_not_use_it_pays_for_one_small_module(pytester):
    pytester.makepyfile("""
import sys

def test_nothing_of_genux():
    loaded = {name for name in sys.modules if name.partition(".")[0] == "genux"}
    assert loaded == {"genux", "genux.integrations", "genux.integrations.pytest"}
    assert not {"msgspec", "yaml", "openai", "flask"} & set(sys.modules)
""")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly").assert_outcomes(passed=1)


def test_the_marker_and_the_fixtures_explain_themselves(pytester):
    pytester.runpytest_subprocess("--markers").stdout.fnmatch_lines(['@pytest.mark.genux({"experiment": "variant"}*'])
    shown = pytester.runpytest_subprocess("--fixtures").stdout.str()
    assert all(f"genux_{name}" in shown for name in ("force", "recording", "clock", "service"))


def test_a_recording_hears_exposures_that_were_recorded_before(gx):
    def visit():
        with gx.unit("user-1", country="KR"):
            genux.variant("ai-entry")

    visit()
    with testing.recording() as seen:
        visit()
        visit()
    assert len(seen.exposures) == 1

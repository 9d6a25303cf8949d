"""What `pip install` brings: both packages, the migrations, the pages; and a light SDK that stands alone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("flask", "sqlalchemy", "numpy", "scipy", "statsmodels", "openai", "click", "duckdb", "ibis", "deltalake")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("genux-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked far from the source."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed, code):
    """Runs code that sees the unpacked wheel, the light dependencies and the standard library, and nothing else."""
    prelude = f"""
import importlib.abc, sys
sys.path.insert(0, {str(installed)!r})
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {HEAVY!r} else found(name, package)
"""
    return subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False, cwd=installed
    )


def test_the_wheel_holds_two_packages_the_migrations_and_the_pages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"genux", "genux_server"}
    for needed in (
        "genux/py.typed",
        "genux_server/migrations/env.py",
        "genux_server/pages/templates/",
        "genux_server/pages/static/",
    ):
        assert any(name.startswith(needed) for name in names), needed
    assert any(name.startswith("genux_server/migrations/versions/") for name in names)


def test_the_light_sdk_assigns_and_tracks_without_the_server_libraries(installed):
    done = run(
        installed,
        """
import genux
assert genux.__file__.startswith(sys.path[0]), genux.__file__
from genux import testing
gx = genux.Client()
with testing.recording() as seen, gx.unit("u"):
    print(gx.variant("nothing").reason)
    gx.track("answer_accepted")
print(len(seen.tracks))
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["NO_SNAPSHOT", "1"]


def test_the_command_of_a_bare_install_says_what_to_install(installed):
    done = run(installed, "sys.argv = ['genux', 'serve']\nfrom genux_server.cli import main\nmain()")
    assert done.returncode == 2
    assert "pip install 'genux[server]'" in done.stderr


def test_the_doctor_of_a_bare_install_works(installed):
    done = run(installed, "sys.argv = ['genux', 'doctor']\nfrom genux_server.cli import main\nmain()")
    assert "Traceback" not in done.stderr
    assert "url" in done.stdout

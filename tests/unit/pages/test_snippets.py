import ast

import pytest

from genux.specs import ExperimentSpec, VariantSpec
from genux_server.pages.snippets import python_snippet


def spec(n_variants, unit_kind="user"):
    variants = [VariantSpec(key=f"v{i}") for i in range(n_variants)]
    return ExperimentSpec(key="ai-entry", unit_kind=unit_kind, variants=variants)


@pytest.mark.parametrize("given", [None, spec(2), spec(3), spec(8), spec(2, "document")])
def test_the_snippet_is_python_and_names_experiment_and_outcome(given):
    code = python_snippet(given, "task_finished")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    named = {c.func.attr: c for c in calls if isinstance(c.func, ast.Attribute)}
    assert named["variant"].args[0].value == "ai-entry"
    assert named["track"].args[0].value == "task_finished"


def test_a_unit_of_another_kind_is_named():
    assert 'kind="document"' in python_snippet(spec(2, "document"))


def test_a_unit_kind_cannot_break_out_of_its_string():
    ast.parse(python_snippet(spec(2, 'a"b\\')))

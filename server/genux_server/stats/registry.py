"""Every method by name: named inputs as JSON in, named outputs as JSON out.

A method is a plain function with typed parameters. Its input schema is made from its signature and the `Args` of its
docstring, its output schema from its result's type, so that neither can fall behind the code.
"""

import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from genux.errors import ConfigError
from genux_server.stats import (
    adjust,
    anytime,
    bayes,
    call_traps,
    conversion,
    duration,
    epochs,
    equivalence,
    evals,
    generality,
    multiplicity,
    named,
    named_proportions,
    named_sequential,
    paired_binary,
    pass_rates,
    power,
    quantile_summary,
    quantiles,
    rates,
    sample_size,
    traps,
)

__all__ = ["METHODS", "MethodError", "describe", "run"]


_LARGEST = 1e100


class MethodError(ConfigError):
    """A method was asked for in a way it cannot answer.

    Attributes:
        code: `unknown_method` or `bad_input`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


METHODS: Mapping[str, Callable[..., Any]] = types.MappingProxyType(
    {
        function.__name__: function
        for function in (
            adjust.cap_outliers,
            adjust.post_stratify,
            adjust.regression_adjusted,
            anytime.anytime_coefficient,
            anytime.anytime_f_test,
            anytime.anytime_regression,
            anytime.best_g,
            bayes.bayesian_means,
            bayes.bayesian_proportions,
            call_traps.cache_warmth,
            call_traps.completed_latency,
            call_traps.shared_keys,
            conversion.sequential_conversion,
            duration.kaplan_meier,
            duration.log_rank,
            duration.merge_risk_tables,
            duration.risk_table,
            epochs.combine_means,
            epochs.combine_rates,
            equivalence.equivalence,
            equivalence.equivalence_proportions,
            equivalence.non_inferiority,
            equivalence.non_inferiority_proportions,
            evals.cases_needed,
            evals.compare_cases,
            evals.score_mean,
            evals.variance_split,
            generality.generality,
            multiplicity.adjust_p_values,
            named_proportions.boschloo,
            named.compare_moments,
            named_proportions.compare_proportions,
            named.compare_summaries,
            named.compare_values,
            named.cost_of_gain,
            named.fieller_interval,
            named.merge_moments,
            named_proportions.wilson,
            named_sequential.classical_bounds,
            named_sequential.confidence_sequence,
            named_sequential.group_sequential_bounds,
            named_sequential.group_sequential_crossing,
            named_sequential.group_sequential_p_value,
            named_sequential.sequence_multiplier,
            named_sequential.split_anytime,
            named_sequential.split_once,
            paired_binary.marginal_logit,
            paired_binary.mcnemar,
            pass_rates.pass_all,
            power.achieved_power,
            quantile_summary.merge_quantile_summaries,
            quantile_summary.quantile_from_summary,
            quantile_summary.summarise_values,
            quantiles.compare_quantiles,
            quantiles.quantile_of_values,
            rates.compare_rates,
            sample_size.days_needed,
            sample_size.minimum_effect,
            sample_size.minimum_lift,
            sample_size.required_units,
            traps.among_callers,
            traps.differential_fallback,
        )
    }
)
"""Method name to function."""


def run(method: str, payload: bytes) -> bytes:
    """Runs a method on named inputs.

    Args:
        method: a name in `METHODS`.
        payload: the inputs, a JSON object; `describe` has its schema.

    Returns:
        The result as a JSON object (a bare number comes as `{"value": ...}`).

    Raises:
        MethodError: no such method, or inputs that it cannot use; the message says which.
    """
    function = METHODS.get(method)
    if function is None:
        raise MethodError("unknown_method", f'there is no method called "{method}"; --list names them')
    try:
        inputs = msgspec.json.decode(payload or b"{}", type=_input_type(method))
        _check_size(inputs)
        result = function(**{name: getattr(inputs, name) for name in inputs.__struct_fields__})
    except ArithmeticError as error:
        raise MethodError(
            "bad_input", f"{method}: these numbers divide by zero or leave the range of floats"
        ) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise MethodError("bad_input", f"{method}: {error}") from error
    return msgspec.json.encode(result if isinstance(result, msgspec.Struct) else {"value": result})


def describe() -> str:
    """All methods with what they do and the JSON schemas of their inputs and outputs, as JSON text."""
    methods = [
        {
            "method": name,
            "about": (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " "),
            "input": msgspec.json.schema(_input_type(name)),
            "output": msgspec.json.schema(_output_type(function)),
        }
        for name, function in sorted(METHODS.items())
    ]
    return msgspec.json.format(msgspec.json.encode(methods), indent=2).decode()


def _check_size(value: object) -> None:
    """Refuses with a ValueError numbers whose squares would leave the range of floats."""
    if isinstance(value, int | float):
        if abs(value) > _LARGEST:
            raise ValueError(f"numbers must lie within {_LARGEST:g} of 0")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _check_size(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            _check_size(item)


@functools.cache
def _input_type(method: str) -> type[msgspec.Struct]:
    """A struct with the function's parameters as its fields, described as its docstring describes them."""
    function = METHODS[method]
    hints = typing.get_type_hints(function, include_extras=True)
    about = _argument_texts(inspect.getdoc(function) or "")
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        described = msgspec.Meta(description=about.get(parameter.name, ""))
        annotated: Any = Annotated
        kind = annotated[hints[parameter.name], described]
        required = parameter.default is inspect.Parameter.empty
        fields.append((parameter.name, kind) if required else (parameter.name, kind, parameter.default))
    return msgspec.defstruct(f"{method}_input", fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


def _output_type(function: Callable[..., Any]) -> Any:
    kind: Any = typing.get_type_hints(function)["return"]
    return (
        kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else types.GenericAlias(dict, (str, kind))
    )


def _argument_texts(docstring: str) -> dict[str, str]:
    """The `Args` section of a Google-shaped docstring."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)*)", docstring, re.MULTILINE)
    if section is None:
        return {}
    entries = re.findall(r"^(\w+): (.*(?:\n[ ]+.*)*)", textwrap.dedent(section.group(1)), re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}

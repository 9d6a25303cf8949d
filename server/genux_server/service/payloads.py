"""Payloads of variants, checked against the JSON Schema that their experiment names."""

from genux.errors import ServiceError
from genux.specs import ExperimentSpec

__all__ = ["check_payloads", "payload_problems"]


def check_payloads(spec: ExperimentSpec) -> None:
    """Refuse a spec whose payloads do not fit its `payload_schema`, or whose schema is none.

    Raises:
        ServiceError: `invalid`; the message names every variant and place.
    """
    problems = payload_problems(spec)
    if problems:
        raise ServiceError("invalid", "; ".join(problems), 400)


def payload_problems(spec: ExperimentSpec) -> list[str]:
    """What is wrong with the payloads, each with its place; empty when all fit, or no schema is named.

    The schema is read as draft 2020-12 unless its `$schema` says otherwise. References stay within it: nothing is
    fetched.
    """
    if not spec.payload_schema:
        return []
    # Late: most experiments name no schema, and a process that serves snapshots only checks none.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    problems: list[str] = []
    try:
        kind = validator_for(spec.payload_schema, default=Draft202012Validator)
        kind.check_schema(spec.payload_schema)
        validator = kind(spec.payload_schema, registry=Registry())
        for index, variant in enumerate(spec.variants):
            problems += [
                f"$.variants[{index}].payload{error.json_path.removeprefix('$')}: variant `{variant.key}`: "
                f"{error.message}"
                for error in sorted(validator.iter_errors(variant.payload), key=lambda error: error.json_path)
            ]
    except SchemaError as error:
        place = error.json_path.removeprefix("$")
        return [f"$.payload_schema{place}: not a JSON Schema: {error.message}"]
    except Unresolvable as error:
        return [f"$.payload_schema: a reference leads nowhere: {error}"]
    except Exception as error:  # noqa: BLE001 a schema that refers to itself, or holds an odd pattern, fails anyhow
        return [f"$.payload_schema: cannot be used: {type(error).__name__}: {error}"]
    return problems

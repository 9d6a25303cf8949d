# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Specs through a DataStore; an experiment as its console writes one: inline targeting, then a rule a group."""

import json
from importlib.metadata import version

from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject
from statsig_python_core import ExperimentEvaluationOptions, Statsig, StatsigOptions, StatsigUser
from statsig_python_core.data_store import DataStore, DataStoreResponse


def subjects(url):
    def rule(name, condition, value):
        return {
            "name": name,
            "id": name,
            "groupName": name,
            "passPercentage": 100,
            "conditions": [condition],
            "returnValue": value,
            "salt": name,
            "idType": "userID",
        }

    bounds = dict(zip(VARIANTS, (334, 667, 1_000), strict=True))
    conditions = {
        "untargeted": {
            "type": "user_field",
            "field": "country",
            "operator": "none",
            "targetValue": COUNTRIES,
            "additionalValues": {},
            "idType": "userID",
        }
    } | {
        v: {
            "type": "user_bucket",
            "operator": "lt",
            "targetValue": bound,
            "field": None,
            "additionalValues": {"salt": KEY},
            "idType": "userID",
        }
        for v, bound in bounds.items()
    }
    experiment = {
        "type": "dynamic_config",
        "entity": "experiment",
        "salt": KEY,
        "enabled": True,
        "isActive": True,
        "hasSharedParams": False,
        "defaultValue": {},
        "idType": "userID",
        "rules": [
            rule("inlineTargetingRules", "untargeted", {}),
            *(rule(v, v, {"entry": v}) | {"isExperimentGroup": True} for v in VARIANTS),
        ],
    }
    specs = {
        "has_updates": True,
        "time": 1_790_000_000_000,
        "condition_map": conditions,
        "dynamic_configs": {KEY: experiment},
        "feature_gates": {},
        "layer_configs": {},
        "experiment_to_layer": {},
    }

    class Store(DataStore):
        def get(self, key):
            return DataStoreResponse(result=json.dumps(specs) if "specs" in key else None, time=specs["time"])

    options = StatsigOptions(
        data_store=Store(),
        disable_network=not url,
        log_event_url=f"{url}/v1/log_event" if url else None,
        specs_url=f"{url}/specs" if url else None,
        disable_all_logging=not url,
        output_log_level="none",
    )
    client = Statsig("secret-key", options)
    client.initialize().wait()
    evaluation = ExperimentEvaluationOptions(disable_exposure_logging=not url)
    return [
        Subject(
            f"statsig-python-core {version('statsig-python-core')}",
            lambda user: StatsigUser(user_id=user[0], country=user[1]["country"], custom={"plan": "pro"}),
            lambda user: client.get_experiment(user, KEY, evaluation).get_string("entry", NONE),
            lambda: client.flush_events().wait(),
        )
    ]

# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Local evaluation; definitions come through its documented cache provider instead of its service."""

from importlib.metadata import version

from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject
from posthog import Posthog


def subjects(url):
    shares = [33.34, 33.33, 33.33]
    flag = {
        "id": 1,
        "key": KEY,
        "active": True,
        "filters": {
            "groups": [
                {
                    "properties": [{"key": "country", "value": COUNTRIES, "operator": "exact", "type": "person"}],
                    "rollout_percentage": 100,
                }
            ],
            "multivariate": {
                "variants": [{"key": v, "rollout_percentage": share} for v, share in zip(VARIANTS, shares, strict=True)]
            },
        },
    }

    class Definitions:
        def should_fetch_flag_definitions(self):
            return False

        def get_flag_definitions(self):
            return {"flags": [flag], "group_type_mapping": {}, "cohorts": {}}

        def on_flag_definitions_received(self, _data):
            """There are none but these."""

        def shutdown(self):
            """Nothing is held."""

    client = Posthog(
        "phc_key",
        host=url or "http://127.0.0.1:9",
        secret_key="phs_key",
        flag_definition_cache_provider=Definitions(),
        send=bool(url),
    )
    client.load_feature_flags()

    def assign(user):
        result = client.get_feature_flag_result(
            KEY,
            user[0],
            person_properties=user[1],
            only_evaluate_locally=True,
            send_feature_flag_events=bool(url),
        )
        return result.variant if result is not None and result.enabled else NONE

    return [Subject(f"posthog {version('posthog')}, local", tuple, assign, client.flush)]

"""Find out which generative UX wins, what it costs, and roll it out.

```python
import genux

gx = genux.Client()
with gx.unit("user-42", country="KR"):
    entry = genux.variant("ai-entry")
    genux.track("answer_accepted")
```

Importing this loads nothing but itself: names come from their modules when first used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from genux._default import (
        Assignment,
        Client,
        Resumed,
        Route,
        Status,
        Target,
        alias,
        call,
        carry,
        default_client,
        executor,
        expose,
        feature,
        feedback,
        flush,
        peek,
        resume,
        resume_token,
        status,
        track,
        unit,
        variant,
        wrap,
    )

__all__ = [
    "Assignment",
    "Client",
    "Resumed",
    "Route",
    "Status",
    "Target",
    "alias",
    "call",
    "carry",
    "default_client",
    "executor",
    "expose",
    "feature",
    "feedback",
    "flush",
    "peek",
    "resume",
    "resume_token",
    "status",
    "track",
    "unit",
    "variant",
    "wrap",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'genux' has no attribute {name!r}")
    from genux import _default

    value: object = getattr(_default, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

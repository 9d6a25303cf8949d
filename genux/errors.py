"""The exceptions of genux, as one tree.

```
GenuxError
├── ConfigError            a file, variable or argument that a person wrote is wrong
│   └── SnapshotError      a snapshot or experiment file cannot be used
├── UsageError             a measuring call was given something unusable; reaches only a strict client's host
├── TokenError             a resume token was refused; `.code` says why
├── TransportError         the service could not be reached or refused the request
└── ServiceError           the service understood the request and said no; `.code`, `.status`
```

Nothing in this tree reaches a host application from the measuring calls (`unit`, `variant`, `track`, a wrapped
client, `resume`): they count the failure, log it once, and go on. It is raised by what a person runs on purpose:
constructing a client from a broken file, the command line, `genux.testing`.
"""

__all__ = [
    "ConfigError",
    "GenuxError",
    "ServiceError",
    "SnapshotError",
    "TokenError",
    "TransportError",
    "UsageError",
]


class GenuxError(Exception):
    """Root of every exception that genux raises on purpose."""


class ConfigError(GenuxError):
    """Something a person wrote (file, variable, argument) is wrong; the message says where."""


class SnapshotError(ConfigError):
    """A snapshot or a local experiment file cannot be used; the message names the path inside it."""


class UsageError(GenuxError):
    """A measuring call was given something unusable. Counted and logged; raised by a client with `strict=True` only.

    Attributes:
        code: what `Status.dropped` or `Status.refused` counts it under, such as `bad_value`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TokenError(GenuxError):
    """A token was refused.

    Attributes:
        code: `malformed`, `bad_signature`, `unknown_key`, `expired` or `wrong_kind`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TransportError(GenuxError):
    """The service could not be reached, or answered something that is not its protocol."""


class ServiceError(GenuxError):
    """The service understood the request and refused it.

    Attributes:
        code: a stable word, such as `unknown_key`.
        status: the HTTP status, 400 to 599.
    """

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

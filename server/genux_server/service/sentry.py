"""Where the service's own errors go, when an operator says so."""

from genux_server.config import Config

__all__ = ["watch_errors"]


def watch_errors(config: Config) -> None:
    """Report this process's errors to the Sentry of `config.sentry_dsn`; nothing without one.

    Stack traces go, but no bodies, local variables, addresses or cookies: they hold what others sent to be measured.
    """
    if config.sentry_dsn:
        import sentry_sdk

        sentry_sdk.init(
            dsn=config.sentry_dsn,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
        )

"""The service as a Ray Serve application: N replicas of `create_app`, each with a router and a backbone.

`build` is what a Serve config names (`router/ray_serve.yaml`); ``m3-router serve --ray`` makes the same.

Not covered: reloading a bundle in place (deploy again: Serve replaces replica after replica); numbers of all
replicas together (`/metrics`, `/v1/quality` and every limit of `Settings` are one replica's).
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp

from router.cli.loading import load_engine, load_router
from router.errors import M3Error, Unavailable
from router.ray_cluster import require_ray
from router.ray_front import FULL, NAME, Marked
from router.service import logs
from router.service.app import create_app
from router.service.patience import Patience
from router.settings import Settings, SettingsError

HEALTH_CHECK_S = 2.0
"""Between two looks at a replica: one that died is replaced after so long."""

_PROBES = 16
"""Health checks and metrics that `Settings.max_in_flight` does not count."""


class Replica:
    """One engine and its router, behind the app. Serve keeps ``settings`` with the code that it starts."""

    def __init__(self, settings: Settings) -> None:
        logs.set_up(settings.log_level, settings.log_format)
        _check_name()
        engine = load_engine(settings)
        self._patience = Patience(engine, settings.give_up_s)
        self._app = create_app(settings, engine, load_router(settings, engine))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        from ray import serve

        return Marked(self._app, serve.get_replica_context().replica_id.unique_id)

    def check_health(self) -> None:
        """Serve replaces a replica of which this raises."""
        if self._patience.is_over():
            raise Unavailable("The engine was not ready for too long.")


def _check_name() -> None:
    from ray import serve

    name = serve.get_replica_context().app_name
    if not name.startswith(NAME):
        raise M3Error(
            f"The application has name '{name}', by which router.ray_front does not know it. Give it one "
            f"that begins with {NAME}.",
            code="invalid_name",
        )


def require_deployable(settings: Settings) -> None:
    """Raises `SettingsError` for what no replica can serve."""
    if settings.engine == "vllm":
        raise SettingsError(
            "Ray gives a replica one device, and vLLM takes its own. Serve one of both, or name a vLLM that "
            "runs elsewhere (--engine vllm+http://HOST:PORT)."
        )


def deployment(settings: Settings) -> Any:
    """Serve's deployment for ``settings``: a request that a replica would refuse does not wait for one.

    Raises as `require_deployable`.
    """
    require_deployable(settings)
    require_ray()
    from ray import serve

    return serve.deployment(
        name=NAME,
        max_ongoing_requests=settings.max_in_flight + _PROBES,
        max_queued_requests=settings.max_in_flight,
        backpressure_config={"status_code": FULL, "retry_after_s": 1},
        health_check_period_s=HEALTH_CHECK_S,
        health_check_timeout_s=settings.stall_s,
        graceful_shutdown_timeout_s=settings.drain_timeout_s + 5,
    )(serve.ingress()(Replica))


def build(args: dict[str, Any]) -> Any:
    """The application. args: settings (`router.settings`), over those of the environment."""
    settings = Settings.load(**args)
    return deployment(settings).bind(settings)

"""Calls of code that is not the engine's own: a caller's event callback, the metrics, a backend's figures."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import structlog

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.engine")

Answer = TypeVar("Answer")
Parameters = ParamSpec("Parameters")


def call_outside(
    fallback: Answer, function: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Answer:
    """What the function answers; `fallback` where it raised, which is logged by type alone: a text may hold a prompt.

    A slot serves everybody, so a mistake in one listener must not end it.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever a listener raises
        name = getattr(function, "__qualname__", type(function).__name__)
        _log.error("listener_failed", listener=name, error=type(error).__name__, where=where_raised(error))
        return fallback


def where_raised(error: BaseException) -> str:
    """File and line of the innermost frame, which say enough to find a fault and nothing of a request."""
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"

"""How a method is declared: its name, its parameters with how each is read, and what answers.

The declaration drives everything else: dispatch, the errors for bad parameters, and the OpenRPC document. A module of
methods has one function that makes its declarations for a chain, as the REST routers have.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from chain.api.rpc.errors import INVALID_PARAMETERS, RpcError
from chain.primitives.rejection import Rejected

Schema = Mapping[str, Any]
"""A JSON schema."""

REQUIRED: Final = object()
"""Stands for the default of a parameter that has none."""


class Kind(msgspec.Struct, frozen=True):
    """One kind of value: `parse` reads it from decoded JSON, or raises Rejected; the schema says the same."""

    parse: Callable[[Any], Any]
    schema: Schema


class Parameter(msgspec.Struct, frozen=True):
    """One positional parameter; null counts as absent where there is a default."""

    name: str
    kind: Kind
    default: Any = REQUIRED

    @property
    def is_required(self) -> bool:
        """Whether a call must give it."""
        return self.default is REQUIRED


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One method. `handler(*arguments)` returns anything that msgspec encodes as JSON, or raises RpcError or Rejected.

    It runs on the event loop and must be quick there, unless `is_heavy` or `is_heavy(*arguments)`: then in a thread.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    result: Schema
    handler: Callable[..., Any]
    is_heavy: bool | Callable[..., bool] = False
    handle_all: Callable[[Sequence[Sequence[Any]]], Awaitable[Sequence[Any]]] | None = None
    """Answers neighbouring calls of a batch together: for each its result, or the RpcError that it has come to."""
    is_early: Callable[..., bool] | None = None
    """Whether such a call had better be answered a moment later; `wait` is awaited first then. On the event loop."""
    wait: Callable[..., Awaitable[None]] | None = None
    """Until it is early no longer, or for as long as that is worth it."""

    def read(self, values: Sequence[Any]) -> list[Any]:
        """The arguments from what a client has sent; raises RpcError in geth's words."""
        parameters = self.parameters
        if len(values) > len(parameters):
            raise RpcError(INVALID_PARAMETERS, f"too many arguments, want at most {len(parameters)}")
        arguments: list[Any] = []
        for index, parameter in enumerate(parameters):
            value = values[index] if index < len(values) else None
            if value is None:
                if parameter.is_required:
                    raise RpcError(INVALID_PARAMETERS, f"missing value for required argument {index}")
                arguments.append(parameter.default)
                continue
            try:
                arguments.append(parameter.kind.parse(value))
            except Rejected as rejected:
                raise RpcError(INVALID_PARAMETERS, f"invalid argument {index}: {rejected}") from None
        return arguments

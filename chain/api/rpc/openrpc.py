"""The OpenRPC document: every method with JSON schemas of its parameters and its result, from the declarations."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter

from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.schemas import COMPONENTS
from chain.web.application import create_router

OPENRPC_VERSION: Final = "1.3.2"
DISCOVER: Final = "rpc.discover"
"""The name that the OpenRPC specification reserves for asking for the document."""


def discover_method(document: Mapping[str, Any]) -> Method:
    """Answers the document, which does not describe this method. It is encoded once, and goes where answers of its size
    are counted."""
    encoded = msgspec.Raw(msgspec.json.encode(document))
    return Method(
        name=DISCOVER,
        summary="This document",
        result={"type": "object"},
        handler=lambda: encoded,
        is_heavy=True,
    )


def openrpc_router(document: Mapping[str, Any]) -> APIRouter:
    """The same over REST."""
    router = create_router(prefix="/v1", tag="json-rpc")

    @router.get("/openrpc", summary="What POST /rpc answers, as an OpenRPC document")
    async def openrpc() -> Mapping[str, Any]:
        return document

    return router


def openrpc_document(methods: Iterable[Method], *, version: str) -> dict[str, Any]:
    """The document as JSON values."""
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "AITBC node",
            "version": version,
            "description": "Ethereum's JSON-RPC over an AITBC chain. Parameters are given by position.",
        },
        "methods": [_method_object(method) for method in methods],
        "components": {"schemas": COMPONENTS},
    }


def _method_object(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-position",
        "params": [_parameter_object(parameter) for parameter in method.parameters],
        "result": {"name": "result", "schema": method.result},
    }


def _parameter_object(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "required": parameter.is_required, "schema": parameter.kind.schema}

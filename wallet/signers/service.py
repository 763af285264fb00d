"""The signer's HTTP face: Web3Signer's API for secp256k1 keys, as far as nodes and hubs need it."""

from collections.abc import Sequence
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey, format_public_key
from chain.primitives.signable import recognise
from chain.web.application import create_application, create_router
from chain.web.problems import Problem, not_found
from wallet.signers.purposes import MAX_SIGNED_BYTES, Purpose, is_allowed

_MAX_BODY_BYTES: Final = 2 * MAX_SIGNED_BYTES + 1024
_DESCRIPTION: Final = "Signs for nodes and hubs of this network, with keys that never leave this process."

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("wallet.signer")


class SignRequest(BaseModel):
    """What is to be hashed with Keccak-256 and signed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data: Annotated[
        str,
        Field(max_length=2 + 2 * MAX_SIGNED_BYTES, pattern="^0x([0-9a-fA-F]{2})*$", description="0x and hex digits"),
    ]


def create_signer_api(
    keys: Sequence[PrivateKey],
    purposes: Sequence[Purpose],
    *,
    chain_id: int | None,
    version: str,
    registry: CollectorRegistry,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """An application that signs with these keys. `hosts`: the names that it may be called by in requests."""
    application = create_application(
        title="AITBC signer",
        version=version,
        description=_DESCRIPTION,
        registry=registry,
        max_body_bytes=_MAX_BODY_BYTES,
    )
    application.include_router(_router(keys, tuple(purposes), chain_id))
    # A web page could otherwise reach a signer on loopback under a name of its own, which points there.
    application.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return application


def _router(keys: Sequence[PrivateKey], purposes: tuple[Purpose, ...], chain_id: int | None) -> APIRouter:
    router = create_router(tag="signer")
    held = {format_public_key(key.public_key, compressed=False)[1:].hex(): key for key in keys}

    @router.get("/upcheck", summary="Whether the signer is there", response_class=PlainTextResponse)
    async def upcheck() -> str:
        return "OK"

    @router.get("/api/v1/eth1/publicKeys", summary="The keys, each as 64 bytes x‖y")
    async def public_keys() -> list[str]:
        return ["0x" + name for name in held]

    @router.post(
        "/api/v1/eth1/sign/{identifier}",
        summary="65 bytes r‖s‖v over the Keccak-256 of `data`, as 0x and hex digits",
        response_class=PlainTextResponse,
    )
    async def sign(
        identifier: Annotated[str, Path(max_length=132, description="A key of `publicKeys`, with or without 0x.")],
        body: SignRequest,
        request: Request,
    ) -> Response:
        if "origin" in request.headers:
            # Browsers say with every POST whose page it is, and no node does. Names alone are no guard where this
            # listens on other addresses than loopback: DNS can make a page's own name mean any of them.
            raise Problem(403, "not_for_pages", "this signer signs for nodes and hubs, not for web pages")
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Problem(415, "unsupported_media_type", "the body must be application/json")
        key = held.get(identifier.lower().removeprefix("0x"))
        if key is None:
            raise not_found("this signer does not hold that key", field="identifier")
        preimage = parse_hex(body.data, field="data")
        form = recognise(preimage)
        told = {
            "address": to_checksum_address(key.address),
            "form": form.value if form is not None else "unknown",
            "digest": to_hex(keccak256(preimage)),
        }
        if not is_allowed(preimage, purposes, chain_id=chain_id):
            _log.warning("signature_refused", **told)
            raise Problem(
                403,
                "not_allowed",
                f"this signer signs {', '.join(purposes)} only; this is: {told['form']}",
                field="data",
            )
        _log.info("signed", **told)
        return PlainTextResponse(to_hex(key.sign_keccak(preimage)))

    return router

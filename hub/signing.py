"""The hub's attester: its key from a keystore, or in a remote signer; its log beside the database either way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from chain.primitives.hexadecimal import parse_hash, parse_hex
from chain.primitives.keys import PrivateKey, SignerUnavailable
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from chain.remote_signer import RemoteSigner, SignerMistaken, SignerSettings
from hub.errors import HubConfigurationError
from hub.settings import HubSettings
from wallet.attester import AttesterNetwork, AttesterSigner, open_attester, open_remote_attester
from wallet.keystore import load_key

_SIGNER_TIMEOUT_S: Final = 5.0
"""Nothing waits for an attestation but its own job."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


@asynccontextmanager
async def opened_attester(
    settings: HubSettings, password: str, network: AttesterNetwork, log_path: Path
) -> AsyncIterator[AttesterSigner]:
    """The signer of attestations for this network; a remote one that is away may come back.

    Raises KeystoreError and AttestationLogError as `open_attester`, HubConfigurationError for a mistaken remote signer.
    """
    async with AsyncExitStack() as opened:
        if settings.attester_keystore is not None:
            open_it = partial(open_attester, settings.attester_keystore, password)
        else:
            signer, genesis_hash = _remote_signer(settings)
            opened.callback(signer.close)
            await _try(signer)
            open_it = partial(open_remote_attester, signer, genesis_hash)
        attester = await asyncio.to_thread(open_it, network, log_path)
        opened.callback(attester.close)
        yield attester


def account_key(settings: HubSettings, password: str) -> PrivateKey | None:
    """The attester's key as that of an account, where it is to write providers' outcomes on the chain; else None.

    Raises KeystoreError.
    """
    if not settings.record_outcomes:
        return None
    assert settings.attester_keystore is not None
    return load_key(settings.attester_keystore, password)


def _remote_signer(settings: HubSettings) -> tuple[RemoteSigner, Hash32]:
    """And the genesis hash of the network that its key serves."""
    assert settings.attester_signer_url is not None
    try:
        where = SignerSettings(
            url=settings.attester_signer_url,
            public_key=parse_hex(settings.attester_signer_public_key, field="--attester-signer-public-key"),
            certificate=settings.attester_signer_certificate,
            ca=settings.attester_signer_ca,
            timeout_s=_SIGNER_TIMEOUT_S,
        )
        genesis_hash = parse_hash(settings.attester_signer_genesis_hash, "--attester-signer-genesis-hash")
        return RemoteSigner(where), genesis_hash
    except (Rejected, ValueError) as error:
        raise HubConfigurationError(str(error)) from None


async def _try(signer: RemoteSigner) -> None:
    try:
        await asyncio.to_thread(signer.check)
    except SignerMistaken as mistaken:
        raise HubConfigurationError(str(mistaken)) from None
    except SignerUnavailable as error:
        _log.error("signer_away", detail=str(error))

"""An attester's log that was lost or rolled back: the database has what it forgot, and no job is signed for twice."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from hub.attestation.remembering import complete_log
from hub.errors import HubConfigurationError
from hub.store.receipts import Form
from tests.hub.attestation.evidences import CHAIN_ID, PROVIDERS, SPLIT, Job
from tests.hub.attestation.hubs import ATTESTERS, PATIENCE_S, Hub, TwoAttesterChain, serving
from wallet.attestation_log import AttestationLog, ConflictingAttestationError
from wallet.attester import AttesterNetwork, AttesterSigner


def fresh(job: Job, **changes: Any) -> Job:
    return job.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time()) - 1, **changes)


def another_log(hub: Hub, path: Path) -> AttesterSigner:
    """The same key with a log that knows nothing."""
    log = AttestationLog(path, hub.chain.genesis_hash)
    return AttesterSigner(ATTESTERS[hub.name], AttesterNetwork(CHAIN_ID, hub.chain.genesis_hash), log)


async def test_what_the_log_forgot_is_entered_before_anything_is_signed(
    network: TwoAttesterChain, tmp_path: Path
) -> None:
    kinds = [fresh(SPLIT), fresh(Job()), fresh(SPLIT, is_paid=True)]
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        ids = [east.bring(kind.evidence()) for kind in kinds]
        attesting = east.attesting([west], fee_recipient=PROVIDERS[2].address, fee_basis_points=100)
        async with asyncio.timeout(PATIENCE_S):
            while any(east.job(job_id).ended_at_ms is None for job_id in ids):  # noqa: ASYNC110 - the database says when
                await asyncio.sleep(min(0.3, await attesting.attest_due()))
        for hub in (east, west):
            assert complete_log(hub.store, hub.attester, east.asked_of) == 0
            lost = another_log(hub, tmp_path / hub.name / "other.sqlite3")
            assert complete_log(hub.store, lost, east.asked_of) == len(kinds)
            assert complete_log(hub.store, lost, east.asked_of) == 0
            for job_id in ids:
                assert lost._log.find("east", job_id) == hub.attester._log.find("east", job_id)
            rival = kinds[1].but(micro_units=7_654_321).evidence().receipt
            with pytest.raises(ConflictingAttestationError):
                lost.sign_mint(rival)
            lost.close()


async def test_a_log_that_says_otherwise_is_anothers(network: TwoAttesterChain, tmp_path: Path) -> None:
    job = fresh(Job())
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(job.evidence())
        attesting = east.attesting([west])
        async with asyncio.timeout(PATIENCE_S):
            while east.job(job_id).ended_at_ms is None:  # noqa: ASYNC110 - the database says when
                await asyncio.sleep(min(0.3, await attesting.attest_due()))
        assert east.receipt(job_id).form == Form.MINT
        other = another_log(east, tmp_path / "other.sqlite3")
        other.sign_mint(job.but(micro_units=7_654_321).evidence().receipt)
        with pytest.raises(HubConfigurationError, match="do not belong together"):
            complete_log(east.store, other, east.asked_of)
        other.close()

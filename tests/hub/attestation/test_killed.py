"""kill -9 of an attesting hub at any moment: every receipt is signed in one form, ends one job once, is minted once."""

import asyncio
import json
import random
import secrets
import sys
import time
from pathlib import Path

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from hub.store import audit
from hub.store.jobs import JobState
from tests.hub.attestation.evidences import SPLIT
from tests.hub.attestation.hubs import PATIENCE_S, Hub, TwoAttesterChain, serving

KILLS = 4


async def test_killed_again_and_again(network: TwoAttesterChain, tmp_path: Path) -> None:
    draw = random.Random(7)
    async with serving("west", tmp_path, network) as west:
        east = Hub("east", tmp_path / "east", network)
        now_s = int(time.time())
        evidences = [SPLIT.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=now_s).evidence() for _ in range(24)]
        ids = [east.bring(evidence) for evidence in evidences]
        await east.close()
        config = {
            "chain_url": network.url,
            "genesis_hash": to_hex(network.genesis_hash),
            "folder": str(tmp_path / "east"),
            "west_url": west.url,
        }
        for _ in range(KILLS):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.hub.attestation.attester_process",
                json.dumps(config),
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"attesting\n"
            await asyncio.sleep(draw.uniform(0.0, 0.4))
            process.kill()
            await process.wait()

        east = Hub("east", tmp_path / "east", network)
        east.pictures.kept = {sha256(octets).hex(): octets for octets in evidences[0].pictures}
        attesting = east.attesting([west])
        async with asyncio.timeout(PATIENCE_S):
            while any(east.job(job_id).ended_at_ms is None for job_id in ids):  # noqa: ASYNC110 - the database says when
                await asyncio.sleep(min(0.2, await attesting.attest_due()))

        assert all(east.job(job_id).state == JobState.DONE for job_id in ids)
        entries = east.store.read_now(lambda c: audit.after(c, 0))
        assert sorted(entry.subject for entry in entries) == sorted(to_hex(each.receipt.hash) for each in evidences)
        for evidence in evidences:
            mine = east.attester._log.find("east", evidence.receipt.job_id)
            theirs = west.attester._log.find("east", evidence.receipt.job_id)
            assert mine is not None and theirs is not None and mine.digest == theirs.digest
        network.mint(east.receipt(ids[0]), evidences[0])
        await east.close()

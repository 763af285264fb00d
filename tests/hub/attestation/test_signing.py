"""A signer that hangs stops signatures, and nothing else."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey, SignerUnavailable
from chain.primitives.types import Hash32
from chain.remote_signer import RemoteSigner, SignerSettings
from hub.attestation.signing import SigningThreads
from tests.hub.attestation.evidences import CHAIN_ID, SPLIT
from wallet.attester import AttesterNetwork, open_remote_attester

GENESIS = Hash32(bytes(32))
KEY = PrivateKey(b"\x2a" * 32)
EVIDENCE = SPLIT.evidence()


async def test_a_signer_that_hangs_keeps_no_other_thread_waiting(tmp_path: Path) -> None:
    # given a signer that takes connections and never answers, and one thread for everything else
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        signer = RemoteSigner(SignerSettings(f"http://127.0.0.1:{silent.getsockname()[1]}", KEY.public_key))
        attester = open_remote_attester(signer, GENESIS, AttesterNetwork(CHAIN_ID, GENESIS), tmp_path / "log.sqlite3")
        own = SigningThreads(attester)

        # when several signatures wait for it
        waiting = [asyncio.create_task(own.sign(EVIDENCE.form, EVIDENCE.receipt, EVIDENCE.request)) for _ in range(8)]
        connection, _ = await loop.sock_accept(silent)

        # then a thread can do something else before any of them has come to an end
        assert await asyncio.to_thread(lambda: "taken in") == "taken in"
        assert not any(task.done() for task in waiting)

        connection.close()
        signer.close()
        for task in waiting:
            with pytest.raises(SignerUnavailable):
                await task
        attester.close()

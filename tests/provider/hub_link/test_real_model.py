"""A whole provider with the embedded model at a hub: pictures, the steps that it opens, and steps computed again."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from chain.primitives.profiles import profiles_hash
from chain.primitives.trajectory import Opening, TrajectoryContext, trajectory_root, verify_opening
from chain.primitives.types import Hash32
from chain.primitives.worker_fields import PictureRun, Place
from genesis.processes import free_port
from hub.workers.desk import Delivery, Grant
from hub.workers.errors import WorkerRefused
from provider.receipts.profiles import parse_profile
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from tests.hub.workers.rig import HUB, KeepingDesk, RunningHub, grant_to, key_of, run_of, serving
from wallet.keystore import LIGHT_SCRYPT_N, save_key

RUN = run_of(2, steps=6, seed=41)
PLACES = (Place(picture=0, step=0), Place(picture=0, step=3), Place(picture=1, step=6))
PATIENCE_S = 240.0


def grant(key: PrivateKey, lease_id: str, run: PictureRun) -> Grant:
    made = grant_to(1, lease_id, run=run, unit_type="gpu_seconds", price_per_unit=str(10**17))
    return replace(made, provider=key.address)


async def waited(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what a desk has heard
            await asyncio.sleep(0.05)


def context_of(delivery: Delivery) -> TrajectoryContext:
    receipt = delivery.receipt
    return TrajectoryContext(
        chain_id=receipt.chain_id,
        hub_id=receipt.hub_id,
        job_id=receipt.job_id,
        provider=receipt.provider,
        request_hash=receipt.request_hash,
        artifact_sha256=receipt.artifact_sha256,
        profiles_hash=profiles_hash([parse_profile(each.to_object()) for each in delivery.profiles]),
    )


async def check_openings(hub: RunningHub, key: PrivateKey, delivery: Delivery) -> dict[Place, bytes]:
    """The opened latents, after their proofs were checked as a hub does it."""
    opened, latents = await hub.workers.orders.open_steps(key.address, lease_id="lease-1", places=PLACES)
    root = delivery.receipt.trajectory_root
    assert root is not None
    assert opened.profiles == delivery.profiles
    for message, octets in zip(opened.openings, latents, strict=True):
        opening = Opening.from_object(message.to_object())
        assert opening.latents_sha256 == hashlib.sha256(octets).digest()
        assert verify_opening(root, context_of(delivery), opening)
    return dict(zip(PLACES, latents, strict=True))


async def test_its_commitment_is_opened_and_computed_again(
    tmp_path: Path, start_provider: Any, provider_key: PrivateKey
) -> None:
    key = provider_key
    async with serving(tmp_path) as hub:
        provider = await asyncio.to_thread(start_provider, hub=(hub.url,), hub_check_limit="20/hour", max_pictures=2)
        await waited(lambda: hub.workers.count == 1)
        hub.desk.waiting.append(grant(key, "lease-1", RUN))
        await waited(lambda: hub.desk.deliveries)
        delivery = hub.desk.deliveries["lease-1"]
        opened = await check_openings(hub, key, delivery)

        plan = await hub.workers.orders.plan_check(key.address, RUN, PLACES)
        assert plan.evaluations == 6
        needed = [
            Place(picture=place.picture, step=entry)
            for place, entries in zip(PLACES, plan.needed, strict=True)
            for entry in entries
        ]
        entries, latents = await hub.workers.orders.open_steps(key.address, lease_id="lease-1", places=needed)
        checked, again = await hub.workers.orders.check_steps(
            key.address,
            RUN,
            PLACES,
            dict(zip(needed, latents, strict=True)),
            batch_rows=entries.profiles[0].batch_rows,
            dtype="bfloat16",
        )
        assert len(checked.rounding) == len(PLACES)
        assert all(rounding > 0 for rounding in checked.rounding)
        assert again == tuple(opened[place] for place in PLACES)
        assert checked.profile == delivery.profiles[0]
        assert all(rms > 0 for rms in checked.expected_rms)

        computed, pictures, last = await hub.workers.orders.compute(key.address, RUN, purpose="check")
        assert pictures == hub.desk.delivered_pictures["lease-1"]
        assert last[1] == opened[PLACES[2]]
        digests = [[Hash32(bytes.fromhex(digest)) for digest in entries] for entries in computed.digests]
        assert trajectory_root(context_of(delivery), digests) == delivery.receipt.trajectory_root

        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.check_steps(key.address, RUN, PLACES, {}, batch_rows=1)
        assert caught.value.reason == "bad_latents"
        for refused, reason in (
            (hub.workers.orders.open_steps(key.address, lease_id="lease-9", places=PLACES), "unknown_lease"),
            (
                hub.workers.orders.open_steps(key.address, lease_id="lease-1", places=(Place(picture=0, step=7),)),
                "out_of_range",
            ),
        ):
            with pytest.raises(WorkerRefused) as caught:
                await refused
            assert caught.value.reason == reason
        for _ in range(20):
            with contextlib.suppress(WorkerRefused):
                await hub.workers.orders.plan_check(key.address, RUN, PLACES)
        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.plan_check(key.address, RUN, PLACES)
        assert caught.value.reason == "check_limit"

        health = await asyncio.to_thread(lambda: provider.get("/v1/health").json())
        assert health["hubs"] == [
            {"hub_id": "main-hub", "state": "connected", "detail": None, "leases": 0, "outstanding": None}
        ]
        await asyncio.to_thread(provider.stop)
        await waited(lambda: hub.workers.count == 0)


def command(folder: Path, key: PrivateKey, url: str) -> list[str]:
    """`aitbc provider run` on a folder that knows its chain, so that no node is needed; for hubs only, so no keys."""
    folder.mkdir()
    with Database(folder / "data") as database:
        identity = FolderIdentity(database)
        identity.bind("genesis_hash", HUB.genesis_hash)
        identity.bind("chain_id", str(HUB.chain_id))
    save_key(folder / "key.json", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    (folder / "password.txt").write_text("secret\n")
    (folder / "password.txt").chmod(0o600)
    flags = {
        "--data-dir": folder / "data",
        "--keystore": folder / "key.json",
        "--password-file": folder / "password.txt",
        "--node-url": "http://127.0.0.1:9",
        "--port": 0,
        "--cpu-threads": 1,
        "--hub": url,
    }
    words = [str(part) for pair in flags.items() for part in pair]
    return [sys.executable, "-m", "genesis.cli", "provider", "run", *words]


async def test_killed_at_work_it_does_the_lease_once_when_it_is_back(tmp_path: Path) -> None:
    """kill -9 of the provider in the middle of the pictures; then the hub goes, and comes back with its database."""
    key, port, desk = key_of(1), free_port(), KeepingDesk()
    words = command(tmp_path / "provider", key, f"ws://127.0.0.1:{port}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=clean)

    process = start()
    try:
        async with serving(tmp_path, desk=desk, port=port):
            desk.waiting.append(grant(key, "lease-1", run_of(steps=40, seed=3)))
            await waited(lambda: desk.progresses)
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        process = start()
        async with serving(tmp_path, desk=desk, port=port):
            desk.progresses.clear()
            await waited(lambda: desk.progresses)
        async with serving(tmp_path, desk=desk, port=port):
            await waited(lambda: desk.deliveries)
            assert desk.deliveries["lease-1"].receipt.nonce == "lease-1"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()

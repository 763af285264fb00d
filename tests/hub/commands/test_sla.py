"""`aitbc hub sla`: a published promise against what the hub has measured; a breach goes on to the chain's record."""

import json
import time
from functools import partial
from pathlib import Path

from sqlalchemy import update
from typer.testing import CliRunner, Result

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import PUBLISH_SLA, REGISTRY
from chain.primitives.sla import ServiceLevel, sign_service_level
from chain.primitives.types import Amount
from hub.cli import app
from hub.opening import DATABASE_NAME
from hub.reputation.service_levels import LEAST_SAMPLES
from hub.store import outcomes, waiting
from hub.store.leases import LeaseState, NewLease
from hub.store.outcomes import OutcomeKind, OutcomeState
from hub.store.store import Store, now_ms
from hub.store.tables.jobs import LEASES
from hub.store.transaction import Transaction
from tests.hub.running import Chain
from tests.hub.store.conftest import IDENTITY, add_job

PIECES = 50


def hub(folder: Path, chain: Chain, *words: str) -> Result:
    return CliRunner().invoke(app, ["sla", *words, "--data-dir", str(folder), "--node", chain.url])


def serve(folder: Path, provider: str, *, took_ms: int, pieces: int) -> None:
    """So many pictures that the provider made, each in a turn of its own."""
    store = Store(f"sqlite:///{folder / DATABASE_NAME}", IDENTITY)
    for start in range(0, pieces, PIECES):
        job_id, count = f"job-{start}", min(PIECES, pieces - start)
        add_job(store, job_id, images=count, request_hash=f"0x{start:064x}")
        turns = [
            NewLease(
                lease_id=f"{job_id}-{number}",
                job_id=job_id,
                first_picture=number,
                pictures=1,
                provider=provider,
                session="s",
                deadline_ms=now_ms() + 10**6,
            )
            for number in range(count)
        ]
        store.write_now(partial(waiting.take, wanted=turns, process="p", now_ms=now_ms()))

    def end(transaction: Transaction) -> None:
        ended = {"state": LeaseState.DELIVERED, "started_at_ms": now_ms() - took_ms, "ended_at_ms": now_ms()}
        transaction.execute(update(LEASES).values(**ended))

    store.write_now(end)
    store.close_now()


def statement_in(folder: Path, chain: Chain, key: PrivateKey, p95_latency_ms: int) -> tuple[Path, ServiceLevel]:
    statement = ServiceLevel(
        chain_id=chain.chain_id,
        provider=key.address,
        endpoint="https://provider.example",
        availability_basis_points=9_000,
        p95_latency_ms=p95_latency_ms,
        price_per_unit=Amount(1),
        unit_type="images",
        valid_from=int(time.time()) - 3_600,
        valid_until=int(time.time()) + 86_400,
    )
    path = folder / f"sla-{p95_latency_ms}.json"
    path.write_text(json.dumps(sign_service_level(key, statement).to_object()))
    return path, statement


def test_a_promise_against_measurements(chain: Chain, provider_keys: list[PrivateKey], tmp_path: Path) -> None:
    key = provider_keys[2]
    Store(f"sqlite:///{tmp_path / DATABASE_NAME}", IDENTITY).close_now()
    path, statement = statement_in(tmp_path, chain, key, 1_000)
    assert "does not link to this statement" in hub(tmp_path, chain, str(path)).stderr
    chain.send(key, REGISTRY, PUBLISH_SLA.encode(statement.hash))
    assert "too few to say" in hub(tmp_path, chain, str(path)).stdout

    name = to_checksum_address(key.address)
    serve(tmp_path, name, took_ms=5_000, pieces=LEAST_SAMPLES)
    told = hub(tmp_path, chain, str(path), "--note", "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["samples"], document["noted"]) == (LEAST_SAMPLES, True)
    assert [each["promise"] for each in document["breaches"]] == ["p95_latency_ms"]
    store = Store(f"sqlite:///{tmp_path / DATABASE_NAME}", IDENTITY)
    (noted,) = store.read_now(lambda r: outcomes.of_provider(r, name, OutcomeState.WAITING, limit=9))
    assert noted.kind == OutcomeKind.BREACH
    assert json.loads(noted.evidence)["breaches"] == document["breaches"]
    store.close_now()

    kept, statement = statement_in(tmp_path, chain, key, 10_000)
    chain.send(key, REGISTRY, PUBLISH_SLA.encode(statement.hash))
    assert "kept, over 200 pieces" in hub(tmp_path, chain, str(kept)).stdout
    assert hub(tmp_path, chain, str(path)).exit_code == 1  # No longer in force.
    kept.write_text("{}")
    assert hub(tmp_path, chain, str(kept)).exit_code == 1
    assert hub(tmp_path, chain, str(tmp_path / "nothing")).exit_code == 1

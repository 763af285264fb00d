"""`aitbc hub sla`: what a provider has promised in its signed statement, and what this hub has measured."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.commands.database import opened_store
from hub.commands.flags import AsJson, DatabaseUrl, DataDir
from hub.commands.outcome import failed, reporting

if TYPE_CHECKING:
    from chain.primitives.sla import ServiceLevel
    from hub.reputation.service_levels import Breach, Sample
    from hub.store.store import Store

_MOST_TURNS: Final = 10_000

File = Annotated[Path, typer.Argument(metavar="FILE", help="The statement, as `aitbc provider sla` writes it.")]


def sla(
    file: File,
    node_url: Annotated[
        str, typer.Option("--node-url", "--node", envvar="AITBC_HUB_NODE_URL", help="URL of a chain node.")
    ],
    note: Annotated[
        bool, typer.Option("--note", help="Hand a breach to the chain's record; needs a hub with record_outcomes.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compare what this hub has measured of a provider with the service level that it has signed and published."""
    from chain.primitives.hexadecimal import to_checksum_address
    from hub.reputation.service_levels import LEAST_SAMPLES, breaches_of

    statement = _in_force(file, node_url)
    name = to_checksum_address(statement.provider)
    with reporting(), opened_store(data_dir, database_url) as store:
        samples = [sample for sample in _samples(store, name, statement) if statement.holds_at(sample.at_s)]
        breaches = breaches_of(statement, samples)
        if breaches and note:
            _note(store, name, statement, samples, breaches)
    document: dict[str, Any] = {
        "provider": name,
        "samples": len(samples),
        "least_samples": LEAST_SAMPLES,
        "breaches": [breach.to_object() for breach in breaches],
        "noted": bool(breaches and note),
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    if len(samples) < LEAST_SAMPLES:
        print(f"{name}: {len(samples)} pieces of work, too few to say ({LEAST_SAMPLES} are needed)")
    elif not breaches:
        print(f"{name}: kept, over {len(samples)} pieces of work")
    for breach in breaches:
        print(f"{name}: {breach.promise} {breach.promised} promised, {breach.measured} over {breach.samples}")


def _in_force(file: Path, node_url: str) -> "ServiceLevel":
    """The statement, once the registry says that it is the provider's present one."""
    from chain.client import NodeClient, NodeError
    from chain.primitives.hexadecimal import to_checksum_address
    from chain.primitives.rejection import Rejected
    from chain.primitives.sla import MAX_STATEMENT_BYTES, SignedServiceLevel
    from hub.reputation.service_levels import is_in_force

    try:
        with file.open("rb") as opened:
            statement = SignedServiceLevel.from_json(opened.read(MAX_STATEMENT_BYTES + 1)).statement
        name = to_checksum_address(statement.provider)
        with NodeClient(node_url) as node:
            entry, chain_id = node.provider(name), node.status().chain_id
    except OSError as error:
        raise failed(f"cannot read {file}: {error.strerror or error}") from None
    except Rejected as rejected:
        raise failed(f"{file}: {rejected.message}") from None
    except (NodeError, ValueError) as error:
        raise failed(str(error)) from None
    if not is_in_force(statement, name, entry.sla_hash, chain_id):
        raise failed(f"the registry of chain {chain_id} does not link to this statement")
    return statement


def _samples(store: "Store", name: str, statement: "ServiceLevel") -> "list[Sample]":
    """Time for each picture, of every turn that the provider was given."""
    from hub.reputation.service_levels import Sample
    from hub.store import leases
    from hub.store.leases import LeaseState

    since_ms = statement.valid_from * 1_000
    turns = store.read_now(lambda r: leases.accepted_turns(r, name, since_ms=since_ms, limit=_MOST_TURNS))
    found: list[Sample] = []
    for turn in turns:
        assert turn.ended_at_ms is not None
        took_ms = -(-max(0, turn.ended_at_ms - turn.started_at_ms) // turn.pictures)
        found.append(Sample(turn.started_at_ms // 1_000, took_ms if turn.state == LeaseState.DELIVERED else None))
    return found


def _note(
    store: "Store", name: str, statement: "ServiceLevel", samples: "list[Sample]", breaches: "list[Breach]"
) -> None:
    from hub.reputation.noting import note_breach
    from hub.reputation.service_levels import evidence_of
    from hub.store.store import now_ms

    evidence = evidence_of(statement, breaches)
    evidence |= {"from_s": min(each.at_s for each in samples), "to_s": max(each.at_s for each in samples)}
    store.write_now(lambda t: note_breach(t, name, evidence["sla_hash"], evidence, now_ms()))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sla)

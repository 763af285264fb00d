"""`aitbc wallet attest`: an attester puts on the chain's record what it saw of a provider.

The evidence stays with the attester: the chain has its Keccak-256, and counts it once for a provider. So a command
whose answer was lost can be given again.
"""

from typing import Annotated, Final

import typer

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import RECORD_BREACH, RECORD_OUTCOME, REGISTRY
from chain.primitives.sla import MAX_STATEMENT_BYTES, SignedServiceLevel
from chain.primitives.types import Hash32
from wallet.commands.arguments import payee_of, read_octets
from wallet.commands.calling import Calling, Words, calls_chain
from wallet.options import complete_names
from wallet.terminal import EXIT_CODES, CommandError, ExitCode

MAX_EVIDENCE_BYTES: Final = 64 * 1024 * 1024
MAX_COUNTED: Final = 1_000
"""The chain's bound on one record."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

Provider = Annotated[
    str, typer.Argument(help="Address, or the name of an account of this home.", autocompletion=complete_names)
]
Evidence = Annotated[
    str,
    typer.Option(
        "--evidence", metavar="FILE", help="What shows it: its hash is recorded, and counts once. Keep the file."
    ),
]


@app.callback()
def attest() -> None:
    """Record, as an attester, what a provider failed to do; its receipts count themselves."""


def _evidence_of(file: str) -> tuple[Hash32, Words]:
    content = read_octets(file, MAX_EVIDENCE_BYTES)
    if not content:
        raise CommandError(f"{file} is empty: that shows nothing", ExitCode.USAGE)
    hash_ = keccak256(content)
    return hash_, [("evidence", f"{to_hex(hash_)} ({len(content)} bytes of {file}, which you keep)")]


@app.command()
@calls_chain
def outcome(
    provider: Provider,
    evidence: Evidence,
    failures: Annotated[int, typer.Option("--failures", min=0, max=MAX_COUNTED, help="Jobs that it failed.")] = 0,
    disputes: Annotated[int, typer.Option("--disputes", min=0, max=MAX_COUNTED, help="Of what it delivered.")] = 0,
    *,
    calling: Calling,
) -> None:
    """Record failures and disputes of a provider."""
    if not failures + disputes:
        raise CommandError("nothing to record: --failures or --disputes", ExitCode.USAGE)
    evidence_hash, words = _evidence_of(evidence)
    with calling.session() as session:
        address = payee_of(session.keys, provider)
        session.call(
            REGISTRY,
            RECORD_OUTCOME.encode(address, failures, disputes, evidence_hash),
            words=[
                ("provider", to_checksum_address(address)),
                ("counts", f"{failures} failures, {disputes} disputes: for good"),
                *words,
            ],
            details={
                "provider": to_checksum_address(address),
                "failures": failures,
                "disputes": disputes,
                "evidence_hash": to_hex(evidence_hash),
            },
        )


@app.command()
@calls_chain
def breach(
    statement: Annotated[
        str, typer.Argument(metavar="FILE", help="The provider's signed service level, as `provider sla` writes it.")
    ],
    evidence: Evidence,
    *,
    calling: Calling,
) -> None:
    """Record that a provider broke a service level that it had published."""
    promised = SignedServiceLevel.from_json(read_octets(statement, MAX_STATEMENT_BYTES)).statement
    evidence_hash, words = _evidence_of(evidence)
    provider, sla_hash = to_checksum_address(promised.provider), to_hex(promised.hash)
    with calling.session() as session:
        session.call(
            REGISTRY,
            RECORD_BREACH.encode(promised.provider, promised.hash, evidence_hash),
            words=[("provider", provider), ("broke", f"service level {sla_hash}: counts for good"), *words],
            details={"provider": provider, "sla_hash": sla_hash, "evidence_hash": to_hex(evidence_hash)},
        )

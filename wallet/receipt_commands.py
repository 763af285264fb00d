"""`aitbc wallet receipt`: whoever has a receipt can check it."""

from pathlib import Path
from typing import Annotated

import typer

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.rejection import Rejected
from wallet.documents import read_document
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, OptionalNodeUrl
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit
from wallet.verification import Check, Document, check_document, parse_attestation

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)


@app.callback()
def receipt() -> None:
    """Check receipts of served jobs."""


@app.command()
def verify(
    home: Home,
    receipt_file: Annotated[Path, typer.Argument(help="A receipt's JSON, or an answer that has it; - for stdin.")],
    receipt_hash: Annotated[str | None, typer.Option("--hash", help="What its hash should be.")] = None,
    signature: Annotated[str | None, typer.Option("--signature", help="The provider's, 0x-hex.")] = None,
    attestation: Annotated[str | None, typer.Option("--attestation", help="The attesters', 0x-hex.")] = None,
    node_url: OptionalNodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a receipt's hash and check every signature that is there; with --node-url also attesters and mint."""
    document: Document | None = None
    try:
        document = _with_options(read_document(receipt_file), receipt_hash, signature, attestation)
        checks = check_document(document)
    except Rejected as refusal:
        checks = [Check("receipt", False, refusal.message)]
    if document is not None and node_url:
        from wallet.chain_verification import check_on_chain

        with open_node(node_url, home, chain_id) as (client, status):
            checks += check_on_chain(document, client, status)
    failed = [check.name for check in checks if check.passed is False]
    _emit(document, checks, not failed, as_json)
    if failed:
        raise CommandError(f"the receipt does not hold: {', '.join(failed)}", ExitCode.NOT_VERIFIED)


def _with_options(
    document: Document, receipt_hash: str | None, signature: str | None, attestation: str | None
) -> Document:
    """Options say it better than the file."""
    return Document(
        receipt=document.receipt,
        image=document.image,
        claimed_hash=parse_hash(receipt_hash) if receipt_hash else document.claimed_hash,
        provider_signature=(
            parse_hex(signature, length=65, field="signature") if signature else document.provider_signature
        ),
        attestation=parse_attestation(attestation) if attestation else document.attestation,
    )


def _emit(document: Document | None, checks: list[Check], holds: bool, as_json: bool) -> None:
    marks = {True: "ok", False: "WRONG", None: "-"}
    rows = [[marks[check.passed], check.name, check.detail] for check in checks]
    described: dict[str, object] = {"verified": holds}
    lines = columns(rows)
    if document is not None:
        receipt = document.receipt
        described |= {
            "receipt_hash": to_hex(receipt.hash),
            "provider": to_checksum_address(receipt.provider),
            "amount_atoms": str(receipt.amount),
            "chain_id": receipt.chain_id,
        }
        lines.insert(0, f"receipt {to_hex(receipt.hash)}")
    described["checks"] = [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in checks]
    emit(as_json, described, lines)

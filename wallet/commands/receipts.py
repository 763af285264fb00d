"""`aitbc wallet receipt`: whoever has a receipt can check it."""

from pathlib import Path
from typing import Annotated

import typer

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.rejection import Rejected
from chain.primitives.shards import split_amount
from wallet.actions import describe_amount
from wallet.commands.arguments import parse_argument
from wallet.documents import read_document
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl, OptionalNodeUrl
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit
from wallet.verification import Check, Document, check_document, parse_attestation, rows_of

ReceiptFile = Annotated[Path, typer.Argument(help="A receipt's JSON, or an answer that has it; - for stdin.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)


@app.callback()
def receipt() -> None:
    """Check receipts of served jobs."""


@app.command("hash")
def hash_(receipt_file: ReceiptFile, as_json: AsJson = False) -> None:
    """Recompute a receipt's hash: Keccak-256 of its canonical JSON. Asks no node."""
    document = read_document(receipt_file)
    emit(as_json, _describe(document), [to_hex(document.receipt.hash)])


@app.command()
def verify(
    home: Home,
    receipt_file: ReceiptFile,
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


@app.command("status")
def status_(
    home: Home,
    hash_or_file: Annotated[str, typer.Argument(help="0x and 64 hex digits, or a receipt's file; - for stdin.")],
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Whether a receipt was minted or settled, where, and who attested it; exit code 6 while it was not."""
    if hash_or_file.startswith("0x"):
        receipt_hash = parse_argument(lambda: parse_hash(hash_or_file))
    else:
        receipt_hash = read_document(Path(hash_or_file)).receipt.hash
    with open_node(node_url, home, chain_id) as (client, _):
        from wallet.sending import find_receipt

        used = find_receipt(client, receipt_hash)
    state = "unused" if used is None else "final" if used.finalized else "included"
    document = {
        "receipt_hash": to_hex(receipt_hash),
        "state": state,
        "height": used and used.height,
        "transaction_hash": used and used.transaction_hash,
        "amount_atoms": used and str(used.units),
        "shares": used and [{"provider": share.provider, "amount_atoms": str(share.units)} for share in used.shares],
        "attesters": used and used.attesters,
        "settled_from": used and used.settlement and used.settlement.client,
    }
    lines = [f"{to_hex(receipt_hash)}  not used yet"]
    if used is not None:
        where = f"{state} in block {used.height}, transaction {used.transaction_hash}"
        lines = [f"{to_hex(receipt_hash)}  {where}"]
        lines += [f"for          {share.provider}  {describe_amount(share.units)}" for share in used.shares]
        lines += [f"attested by  {attester}" for attester in used.attesters]
        if used.settlement is not None:
            lines.append(f"paid by      {used.settlement.client}, from its deposit for {used.settlement.audience}")
    emit(as_json, document, lines)
    if state != "final":
        raise CommandError("neither minted nor settled, and final, yet", ExitCode.NOT_FINAL)


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


def _describe(document: Document) -> dict[str, object]:
    receipt = document.receipt
    root, shards = receipt.trajectory_root, receipt.shards
    return {
        "receipt_hash": to_hex(receipt.hash),
        "provider": to_checksum_address(receipt.provider),
        "amount_atoms": str(receipt.amount),
        "chain_id": receipt.chain_id,
        "trajectory_root": None if root is None else to_hex(root),
        "shards": shards
        and [
            {"provider": to_checksum_address(provider), "amount_atoms": str(share)}
            for provider, share in split_amount(shards, receipt.amount)
        ],
    }


def _emit(document: Document | None, checks: list[Check], holds: bool, as_json: bool) -> None:
    described: dict[str, object] = {"verified": holds}
    lines = columns(rows_of(checks))
    if document is not None:
        described |= _describe(document)
        lines.insert(0, f"receipt {to_hex(document.receipt.hash)}")
    described["checks"] = [check.to_object() for check in checks]
    emit(as_json, described, lines)

"""From a draft to its outcome, as commands show it: ask, sign, submit, wait, report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import Hash32
from wallet.accounts import Account
from wallet.options import Wait
from wallet.terminal import CommandError, ExitCode, Progress, columns, confirm, emit, say

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.client import NodeClient
    from chain.primitives.transaction import Transaction
    from wallet.drafts import Draft
    from wallet.sending import Outcome


def sign_and_submit(
    client: "NodeClient",
    draft: "Draft",
    account: Account,
    password_file: Path | None,
    *,
    yes: bool,
    words: Sequence[tuple[str, str]] = (),
) -> "Transaction":
    """Once the user has agreed and the key is open; raises CommandError where it is not known what became of it.

    `words`: what it means, shown above what the bytes say.
    """
    confirm([*words, *draft.lines()], yes=yes)
    transaction = draft.sign(account.open(password_file))
    hand_in(client, transaction)
    return transaction


def hand_in(client: "NodeClient", transaction: "Transaction") -> None:
    """Submits a signed transaction; raises CommandError where it is not known whether it arrived."""
    from chain.client import NodeUnavailable
    from wallet.sending import submit

    try:
        submit(client, transaction)
    except NodeUnavailable as error:
        raise CommandError(
            f"{error}. Whether transaction {to_hex(transaction.hash)} arrived is not known: look at "
            f"`aitbc wallet history` before you send again, or send with --nonce {transaction.nonce}",
            ExitCode.NODE_UNAVAILABLE,
        ) from error
    say(f"Sent as {to_hex(transaction.hash)}")


def follow(
    client: "NodeClient", transaction_hash: Hash32, wait: Wait, timeout_s: float, receipt_hash: Hash32 | None = None
) -> "Outcome":
    """What becomes of a transaction, as far as the user wants to wait."""
    from wallet.sending import Outcome, wait_until_final

    if wait is Wait.NONE:
        return Outcome(to_hex(transaction_hash))
    progress = Progress("Waiting until it is final" if wait is Wait.FINAL else "Waiting until it is in a block")
    try:
        return wait_until_final(
            client,
            transaction_hash,
            timeout_s=timeout_s,
            receipt_hash=receipt_hash,
            included_suffices=wait is Wait.INCLUDED,
            on_progress=progress.show,
        )
    finally:
        progress.clear()


def report(outcome: "Outcome", wait: Wait, as_json: bool, details: dict[str, Any], lines: Sequence[str] = ()) -> None:
    """The outcome on stdout, with `lines` about it for people, and the exit code that says the same."""
    status = None if outcome.succeeded is None else ("success" if outcome.succeeded else "failed")
    document = {
        "transaction_hash": outcome.transaction_hash,
        "state": outcome.state,
        "status": status,
        "height": outcome.height,
        "reason": outcome.reason,
        **details,
    }
    where = {
        "final": f"final in block {outcome.height}: {status}",
        "included": f"in block {outcome.height}, not final yet: {status}",
        "pending": "sent, not final yet",
        "unknown": "unknown to this node",
    }
    emit(as_json, document, [f"{outcome.transaction_hash}  {where[outcome.state]}", *lines])
    if outcome.succeeded is False:
        raise CommandError(f"the transaction failed: {outcome.reason}", ExitCode.TRANSACTION_FAILED)
    if not outcome.is_final and (wait is Wait.FINAL or (wait is Wait.INCLUDED and outcome.height is None)):
        raise CommandError(f"not final in time ({outcome.reason}); it may still become final", ExitCode.NOT_FINAL)


def report_dry_run(
    client: "NodeClient",
    draft: "Draft",
    as_json: bool,
    details: dict[str, Any],
    words: Sequence[tuple[str, str]] = (),
) -> None:
    """What would be signed, and what the node says would become of it; exit code 5 where it would be refused."""
    from wallet.drafts import try_draft

    tried = try_draft(client, draft)
    document = {
        "dry_run": True,
        "would_succeed": tried.refusal is None,
        "gas": tried.gas,
        "reason": tried.refusal,
        **draft.to_object(),
        **details,
    }
    verdict = "it would succeed now" if tried.refusal is None else f"it would be refused: {tried.refusal}"
    emit(as_json, document, [*columns([*words, *draft.lines()]), f"Nothing was signed; {verdict}"])
    if tried.refusal is not None:
        raise CommandError(f"it would be refused: {tried.refusal}", ExitCode.REFUSED)

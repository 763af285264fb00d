"""`aitbc wallet escrow`: AIT that a client puts aside for a hub, and is paid out for jobs that the client signed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.client_request import check_audience
from chain.primitives.escrow import (
    DEPOSIT,
    MAX_DEPOSIT_S,
    NOTICE_S,
    REFUND_DEPOSIT,
    REQUEST_WITHDRAWAL,
    WITHDRAW_DEPOSIT,
)
from chain.primitives.hexadecimal import format_ait, to_checksum_address
from chain.primitives.modules import ESCROW
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import Address, Amount
from wallet.accounts import Accounts
from wallet.actions import describe_amount, describe_time
from wallet.commands.arguments import address_of, amount_of, parse_argument
from wallet.commands.balances import NameOrAddress
from wallet.commands.calling import Calling, Session, calls_chain
from wallet.node_session import open_node
from wallet.options import AsJson, Atoms, ChainId, Home, NodeUrl, complete_names
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.client import NodeClient
    from chain.escrow_answers import DepositView

_DAY_S: Final = 86_400
_DEFAULT_DAYS: Final = 30
_ALL: Final = "all"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

Hub = Annotated[str, typer.Argument(metavar="HUB", help="The hub's id, or a provider's address, as requests name it.")]
AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help="AIT, such as 1.5.")]
MaybeAmount = Annotated[
    str | None,
    typer.Argument(
        metavar="AMOUNT", help="AIT to ask for, or `all`; 0 takes that back. Without it, takes what was asked for."
    ),
]
Days = Annotated[
    int,
    typer.Option(
        "--days",
        min=1,
        max=MAX_DEPOSIT_S // _DAY_S,
        help="The hub can be paid from it for so long; then anybody can have it refunded to you.",
    ),
]
Client = Annotated[
    str | None,
    typer.Option(
        "--client", help="Whose deposit: name or address; your own without it.", autocompletion=complete_names
    ),
]


@app.callback()
def escrow() -> None:
    """AIT put aside for a hub: it is paid for your signed jobs only, and what is left comes back."""


@app.command()
@calls_chain
def deposit(
    hub: Hub, amount: AmountText, days: Days = _DEFAULT_DAYS, atoms: Atoms = False, *, calling: Calling
) -> None:
    """Put AIT aside for a hub, or add to what is there. A later deadline is never shortened."""
    audience, value = _audience(hub), amount_of(amount, atoms=atoms)
    with calling.session() as session:
        held = _find(session.client, session.account.address, audience)
        deadline = max(int(time.time()) + days * _DAY_S, held.deadline if held else 0)
        session.call(
            ESCROW,
            DEPOSIT.encode(audience, value, deadline),
            words=[
                ("for", audience),
                ("does", f"puts {format_ait(value)} AIT aside, beside {format_ait(held.balance if held else 0)} AIT"),
                ("paid out", "for jobs that you sign, each up to the maximum that you sign"),
                ("comes back", f"from {describe_time(deadline)}, or {NOTICE_S // _DAY_S} days after you ask for it"),
            ],
            details={"audience": audience, "value_atoms": str(value), "deadline": deadline},
        )


@app.command()
def show(
    home: Home,
    account: NameOrAddress = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """What an account has put aside, for whom, and from when it can have it back."""
    keys = Accounts(home)
    address = address_of(keys, account) if account else keys.only().address
    with open_node(node_url, home, chain_id) as (client, _):
        view = client.deposits(address)
    rows = [["for", "AIT", "refunded from", "asked for", "taken out from"]]
    rows += [
        [
            each.audience,
            format_ait(each.balance),
            describe_time(each.deadline),
            format_ait(each.withdrawal) if each.withdrawal else "-",
            describe_time(each.withdrawable_from) if each.withdrawal else "-",
        ]
        for each in view.deposits
    ]
    document = {
        "address": to_checksum_address(address),
        "deposits": [_document(each) for each in view.deposits],
        "height": view.height,
    }
    emit(as_json, document, columns(rows) if view.deposits else ["nothing is put aside"])


@app.command()
@calls_chain
def withdraw(hub: Hub, amount: MaybeAmount = None, atoms: Atoms = False, *, calling: Calling) -> None:
    """Ask for AMOUNT back; and once the notice is over, without AMOUNT, take it."""
    audience = _audience(hub)
    wanted = None if amount in (None, _ALL) else amount_of(str(amount), atoms=atoms)
    with calling.session() as session:
        held = _get(session.client, session.account.address, audience)
        if amount is None:
            _take(session, held)
        else:
            _ask(session, held, Amount(held.balance) if wanted is None else wanted)


def _ask(session: Session, held: "DepositView", value: Amount) -> None:
    until = f"{NOTICE_S // _DAY_S} days from now, about {describe_time(int(time.time()) + NOTICE_S)}"
    does = f"asks for {format_ait(value)} of {format_ait(held.balance)} AIT" if value else "asks for nothing any more"
    session.call(
        ESCROW,
        REQUEST_WITHDRAWAL.encode(held.audience, value),
        words=[
            ("for", held.audience),
            ("does", does),
            *([("can be taken", f"{until}; until then the hub can still be paid from it")] if value else []),
        ],
        details={"audience": held.audience, "asked_atoms": str(value)},
    )


def _take(session: Session, held: "DepositView") -> None:
    if not held.withdrawal:
        raise CommandError(
            f"nothing was asked for: first `aitbc wallet escrow withdraw {held.audience} AMOUNT`", ExitCode.FAILED
        )
    with _dated(RejectionReason.NOTICE_PERIOD, held.withdrawable_from):
        session.call(
            ESCROW,
            WITHDRAW_DEPOSIT.encode(held.audience),
            words=[
                ("for", held.audience),
                ("does", f"takes {describe_amount(held.withdrawal)} back"),
                ("can be taken", f"from {describe_time(held.withdrawable_from)}"),
            ],
            details={"audience": held.audience, "value_atoms": str(held.withdrawal)},
        )


@app.command()
@calls_chain
def refund(hub: Hub, client: Client = None, *, calling: Calling) -> None:
    """After its deadline, give what is left of a deposit back to its client, whoever that is."""
    audience = _audience(hub)
    with calling.session() as session:
        address = session.account.address if client is None else address_of(session.keys, client)
        held = _get(session.client, address, audience)
        with _dated(RejectionReason.DEADLINE_AHEAD, held.deadline):
            session.call(
                ESCROW,
                REFUND_DEPOSIT.encode(address, audience),
                words=[
                    ("for", audience),
                    ("does", f"gives {describe_amount(held.balance)} back to {held.client}"),
                    ("possible", f"from {describe_time(held.deadline)}"),
                ],
                details={"audience": audience, "client": held.client, "value_atoms": str(held.balance)},
            )


@contextmanager
def _dated(reason: RejectionReason, from_s: int) -> Iterator[None]:
    """What fails because it is too early says from when on it will not, as people read a time."""
    try:
        yield
    except CommandError as error:
        if reason.value not in str(error) and str(from_s) not in str(error):
            raise
        raise CommandError(f"{error}; it is possible from {describe_time(from_s)} on", error.code) from None


def _audience(text: str) -> str:
    parse_argument(lambda: check_audience(text))
    return text


def _get(client: "NodeClient", address: Address, audience: str) -> "DepositView":
    held = _find(client, address, audience)
    if held is None:
        raise CommandError(f"{to_checksum_address(address)} has nothing put aside for {audience}", ExitCode.FAILED)
    return held


def _find(client: "NodeClient", address: Address, audience: str) -> "DepositView | None":
    return next((each for each in client.deposits(address).deposits if each.audience == audience), None)


def _document(view: "DepositView") -> dict[str, Any]:
    return {
        "audience": view.audience,
        "balance_atoms": str(view.balance),
        "deadline": view.deadline,
        "withdrawal_atoms": str(view.withdrawal),
        "withdrawable_from": view.withdrawable_from,
    }

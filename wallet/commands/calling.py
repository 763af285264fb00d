"""What every command has that calls the market or an asset: its options, and the way from words to an outcome."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chain.primitives.types import Address
from wallet.accounts import Account, Accounts
from wallet.commands.arguments import account_of
from wallet.commands.outcomes import follow, report, report_dry_run, sign_and_submit
from wallet.node_session import open_node
from wallet.options import (
    AsJson,
    ChainId,
    DryRun,
    From,
    Home,
    NodeUrl,
    Nonce,
    PasswordFile,
    TimeoutS,
    Wait,
    WaitFor,
    Yes,
)
from wallet.terminal import say

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView, TransactionView
    from chain.client import NodeClient

Words = list[tuple[str, str]]
"""Label and text, above what the transaction's own bytes say."""


class Calling(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a command that signs and sends a call."""

    home: Path
    sender: str | None
    wait: Wait
    timeout_s: float
    nonce: int | None
    dry_run: bool
    yes: bool
    node_url: str | None
    chain_id: int | None
    password_file: Path | None
    as_json: bool

    @contextmanager
    def session(self) -> "Iterator[Session]":
        """Its account, at a node of its network."""
        keys = Accounts(self.home)
        account = account_of(keys, self.sender)
        with open_node(self.node_url, self.home, self.chain_id) as (client, status):
            yield Session(self, keys, account, client, status)


_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "home": (Home, inspect.Parameter.empty),
    "sender": (From, None),
    "wait": (WaitFor, Wait.FINAL),
    "timeout_s": (TimeoutS, 60),
    "nonce": (Nonce, None),
    "dry_run": (DryRun, False),
    "yes": (Yes, False),
    "node_url": (NodeUrl, None),
    "chain_id": (ChainId, None),
    "password_file": (PasswordFile, None),
    "as_json": (AsJson, False),
}


def calls_chain(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `Calling` on its command line, and itself the argument `calling`."""

    def run(**given: Any) -> None:
        calling = Calling(**{name: given.pop(name) for name in _OPTIONS})
        command(calling=calling, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        parameter.replace(kind=keyword)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name != "calling"
    ]
    shared = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


class Session:
    """One command's account and node, and the call that it makes."""

    def __init__(
        self, calling: Calling, keys: Accounts, account: Account, client: "NodeClient", status: "StatusView"
    ) -> None:
        self._calling = calling
        self._status = status
        self.keys = keys
        self.account = account
        self.client = client

    def call(
        self,
        to: Address,
        call_data: bytes = b"",
        *,
        value: int = 0,
        words: Words,
        details: dict[str, Any],
        read: "Callable[[TransactionView], tuple[dict[str, Any], list[str]]] | None" = None,
    ) -> None:
        """Shows the words and the transaction, signs, submits, follows and reports.

        `read` gets the transaction once it has succeeded: members for the JSON, and lines for people.
        """
        from wallet.drafts import plan_transaction

        given, account = self._calling, self.account
        with self.keys.hold(account, say):
            draft = plan_transaction(
                self.client,
                self._status,
                account.address,
                account.name,
                to=to,
                value=value,
                call_data=call_data,
                nonce=given.nonce,
            )
            if given.dry_run:
                report_dry_run(self.client, draft, given.as_json, details, words)
                return
            transaction = sign_and_submit(self.client, draft, account, given.password_file, yes=given.yes, words=words)
        outcome = follow(self.client, transaction.hash, given.wait, given.timeout_s)
        became: dict[str, Any] = {}
        lines: list[str] = []
        if read is not None and outcome.succeeded:
            became, lines = read(self.client.transaction(transaction.hash))
        report(outcome, given.wait, given.as_json, draft.to_object() | details | became, lines)

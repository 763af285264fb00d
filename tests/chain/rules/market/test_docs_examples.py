"""docs/market.md: its examples, played; its bounds, reasons and addresses, compared with the code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.market import (
    MARKET_EVENTS,
    TRADE_EVENT,
    CloseReason,
    MarketStatus,
    OrderKind,
    asset_address,
)
from chain.primitives.modules import MARKET, REGISTRY, TOKEN, TREASURY, functions_of
from chain.primitives.rejection import RejectionReason
from chain.rules.call import Operation
from genesis import market as devnet
from tests.chain.rules.market.documented import FEES, HELD, LOT_ATOMS, Story, words_of

if TYPE_CHECKING:
    from tests.chain.rules.conftest import MakeChain

PAGE = (Path(__file__).parents[4] / "docs" / "market.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
EXAMPLES = [
    (section.partition("\n")[0], block.strip().split("\n"))
    for section in SECTIONS
    for block in re.findall(r"^```market\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("lines", [lines for _, lines in EXAMPLES], ids=[title for title, _ in EXAMPLES])
def test_an_example_is_what_the_rules_do(make_chain: MakeChain, lines: list[str]) -> None:
    Story(make_chain(), lines).play()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("bob has +0.999 AIT, -0.615 DUSD", "bob has +0.999 AIT, -0.614999 DUSD"),
        ("maker pays 0.00012 DUSD", "maker pays 0.000121 DUSD"),
        ("value 0.24 DUSD", "value 0.25 DUSD"),
        ("100 at 2400 with order 1", "100 at 2500 with order 1"),
        ("  order 1 closes: filled\n", ""),
        ("order 2 rests", "order 3 rests"),
        ("refused: insufficient_funds", "refused: out_of_range"),
    ],
)
def test_a_wrong_figure_is_noticed(make_chain: MakeChain, line: str, wrong: str) -> None:
    lines = next(lines for title, lines in EXAMPLES if title == "Placing an order: escrow")
    text = "\n".join(lines)
    assert line in text
    with pytest.raises(AssertionError, match=r"docs/market\.md says"):
        Story(make_chain(), text.replace(line, wrong, 1).split("\n")).play()


def test_every_rule_has_its_example() -> None:
    titles = {title for title, _ in EXAMPLES}
    without = {section.partition("\n")[0] for section in SECTIONS} - titles
    assert without == {"Words and units", "Asking a node", "Following along", "The web exchange", "Trading"}
    text = "\n".join("\n".join(lines) for _, lines in EXAMPLES)
    for kind in OrderKind:
        name = kind.name.lower().replace("_", "-")
        assert kind is OrderKind.GOOD_TILL_CANCELLED or f", {name}" in text
        assert f"| {name} | {int(kind)} |" in PAGE
    assert [words_of(reason.name) for reason in CloseReason if words_of(reason.name) not in text] == []
    assert [status for status in MarketStatus if status.name.lower().replace("_", "-") not in PAGE] == []


def test_bounds_are_the_codes() -> None:
    found = re.findall(r"^\| .+ \| ([\d,]+|2\^200 − 1) \| `([\w.]+)\.(\w+)` \|$", PAGE, flags=re.MULTILINE)
    assert len(found) == 16
    for text, module, name in found:
        bound = 2**200 - 1 if text.startswith("2^") else int(text.replace(",", ""))
        assert getattr(import_module(module), name) == bound, name


def test_names_and_addresses_are_the_codes() -> None:
    for address in (MARKET, TREASURY, asset_address(1)):
        assert f"`{to_checksum_address(address)}`" in PAGE
    codes = set(re.findall(r"`((?!eth_|aitbc_)[a-z]+(?:_[a-z0-9]+)+)`", PAGE))
    assert codes <= {reason.value for reason in RejectionReason}
    modules = ("orders", "closing")
    operations: list[Operation] = [
        operation for name in modules for operation in import_module(f"chain.rules.market.{name}").OPERATIONS
    ]
    assert [each.function.name for each in operations if f"`{each.function.name}" not in PAGE] == []
    named = set(re.findall(r"`([a-z]+[A-Z][A-Za-z]+)[`(]", PAGE))
    declared = {function.name for module in (MARKET, REGISTRY, TOKEN) for function in functions_of(module)}
    assert named - declared == {"expiryHeight"}
    events = {event.name for event in MARKET_EVENTS} | {"Transfer", "Approval"}
    assert set(re.findall(r"`([A-Z][a-z]+[A-Z]?[a-z]*)`", PAGE)) - events == {"EventSource"}
    (signature,) = re.findall(r"'(Trade\(.*\))'", PAGE)
    assert signature == TRADE_EVENT.signature


def test_the_devnets_terms_are_the_examples() -> None:
    assert (devnet.LOT_ATOMS, devnet.TICK_ATOMS, devnet.SYMBOL, devnet.DECIMALS) == (LOT_ATOMS, 1, "DUSD", 6)
    assert (devnet.MAKER_FEE_BASIS_POINTS, devnet.TAKER_FEE_BASIS_POINTS) == FEES
    assert HELD["DUSD"] == devnet.HOLDER_ATOMS
    assert devnet.ASSET_NAME in PAGE

"""The pages as they come from the server: what they say, what they may do, and what they are made of."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.market import CREATE_MARKET, ISSUE_ASSET, Side, asset_address
from chain.primitives.modules import MARKET, TOKEN
from tests.chain.api.test_bad_input import assert_problem
from tests.chain.conftest import People, RunningNode
from tests.chain.trading import LOT, TICK, Trading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VENDORED: Final = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""As in https://registry.npmjs.org/uplot/-/uplot-1.6.32.tgz, by SHA-256."""
HOSTILE: Final = '"><img/src=x>'


class Seen(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As in HTMLParser."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """As in HTMLParser."""
        if data.strip():
            self.texts.append((self.tags[-1][0], data.strip()))


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, Trading]]:
    """A node with a market in which something rests and was traded, and one whose asset has a hostile name."""
    path: Path = tmp_path_factory.mktemp("pages") / "chain"
    people = People()
    node = RunningNode(people, path)
    trading = Trading(people)
    for transactions in trading.founding():
        node.settle(*transactions)
    node.settle(
        *trading.trade(700, 25),
        trading.place("ann", Side.SELL, 710, 100),
        trading.place("bob", Side.BUY, 690, 50),
        trading.call("issuer", MARKET, ISSUE_ASSET, "<script>alert(1)</script>", HOSTILE, 6, 0, 0, bytes(32)),
        *trading.decide(MARKET, CREATE_MARKET, TOKEN, asset_address(2), LOT, TICK, 1, 0, 0, 0),
    )
    yield node, trading
    node.stop()


def page(node: RunningNode, path: str, status: int = 200, **options: Any) -> httpx.Response:
    answer = httpx.get(node.url + path, **options)
    assert answer.status_code == status, answer.text
    return answer


PAGES: Final = ("/exchange", "/exchange/1", "/exchange/2", "/exchange/1?interval=1m")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_and_loads_nothing_but_files_of_this_node(floor: tuple[RunningNode, Trading], path: str) -> None:
    answer = page(floor[0], path)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    seen = Seen(answer.text)
    for tag, attributes in seen.tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action"):
            target = attributes.get(name)
            assert target is None or target.startswith(("/", "#", "?")), (tag, target)
            if target is not None and target.startswith("/exchange/static/"):
                page(floor[0], target)
    assert not [text for tag, text in seen.texts if tag in ("script", "style")]
    assert not [tag for tag, _ in seen.tags if tag in ("style", "img", "iframe", "object")]


def test_a_market_is_whole_as_the_server_sends_it(floor: tuple[RunningNode, Trading]) -> None:
    node, trading = floor
    bob = to_checksum_address(trading.people.address("bob"))
    texts = [text for _, text in Seen(page(node, f"/exchange/1?account={bob}").text).texts]
    for expected in ("AIT/COIN", "0.071", "1.00", "0.069", "0.50", "0.070", "0.25", bob, "good till cancelled"):
        assert expected in texts
    assert any("0.10 %" in text or "0.1 %" in text for text in texts)
    assert [text for text in texts if text.endswith("free, 0.0345 COIN in orders.")]


def test_an_issuers_words_are_text_and_nothing_else(floor: tuple[RunningNode, Trading]) -> None:
    for path in ("/exchange", "/exchange/2"):
        text = page(floor[0], path).text
        assert HOSTILE not in text
        assert "&#34;&gt;&lt;img/src=x&gt;" in text


def test_what_is_not_there(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    assert "No market has this number" in page(node, "/exchange/77", 404).text
    for name in ("nothing.js", "../files.py", "..%2ffiles.py", "%2e%2e/%2e%2e/files.py", "vendor", "/etc/passwd"):
        answer = page(node, f"/exchange/static/{name}", 404)
        assert_problem(answer, reason="not_found")
    assert_problem(page(node, "/exchange/static/" + "a" * 101, 422), reason="too_large")
    for query in ("interval=2h", "account=0x12", "account=<script>"):
        page(node, f"/exchange/1?{query}", 422)
    page(node, "/exchange/1?account=0x" + "Ab" * 20, 400)  # A mixed case that is no checksum.
    page(node, "/exchange/0", 422)
    page(node, "/exchange?from=0", 422)
    assert "No market" not in page(node, "/exchange?from=9").text


def test_a_browser_that_has_a_file_is_not_sent_it_again(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    first = page(node, "/exchange/static/exchange.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = page(node, "/exchange/static/exchange.js", 304, headers={"If-None-Match": first.headers["etag"]})
    assert again.content == b""
    assert page(node, "/exchange/static/exchange.js", headers={"If-None-Match": '"other"'}).content == first.content


def test_vendored_files_are_what_was_published() -> None:
    folder = files("chain.api.pages") / "static" / "vendor"
    found = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}
    assert found == VENDORED
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text()


def test_text_can_be_told_from_what_it_stands_on() -> None:
    style = (files("chain.api.pages") / "static" / "exchange.css").read_text()
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{([^}]*)\}", style)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for ground in ("page", "panel"):
            for ink in ("text", "text-soft", "accent", "buy", "sell"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
        assert contrast(scheme["accent-text"], scheme["accent"]) >= 4.5
        assert contrast(scheme["focus"], scheme["panel"]) >= 3


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

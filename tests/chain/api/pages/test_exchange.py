"""The pages as they come from the server: what they say, what they may do, and what they are made of."""

from __future__ import annotations

import hashlib
import http.client
import re
import tomllib
from contextlib import closing
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from chain.api.pages.exchange import MAX_SHOWN_LEVELS
from chain.api.pages.showing import NOTICES
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.market import (
    CREATE_MARKET,
    ISSUE_ASSET,
    SET_MARKET_STATUS,
    MarketStatus,
    Side,
    asset_address,
)
from chain.primitives.modules import MARKET, TOKEN
from tests.chain.conftest import People, RunningNode
from tests.chain.trading import COIN, LOT, TICK, Trading

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    path = tmp_path_factory.mktemp("pages") / "chain"
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
        *trading.open_market(),
        *trading.open_market(),
    )
    yield node, trading
    node.stop()


def page(node: RunningNode, path: str, status: int = 200, **options: Any) -> httpx.Response:
    answer = httpx.get(node.url + path, **options)
    assert answer.status_code == status, answer.text
    return answer


PAGES: Final = ("/exchange", "/exchange/77", "/exchange/1", "/exchange/2", "/exchange/1?interval=1m")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_and_loads_nothing_but_files_of_this_node(floor: tuple[RunningNode, Trading], path: str) -> None:
    answer = page(floor[0], path, 404 if path.endswith("77") else 200)
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


def test_each_link_leads_to_the_api_or_to_such_a_page(floor: tuple[RunningNode, Trading]) -> None:
    node, trading = floor
    bob = to_checksum_address(trading.people.address("bob"))
    seen = Seen(page(node, f"/exchange/1?account={bob}").text).tags + Seen(page(node, "/exchange").text).tags
    links = {str(given["href"]) for tag, given in seen if tag == "a"}
    assert {f"?interval=1d&account={bob}", "/v1/markets/1/book?depth=500"} <= links
    for link in links - {"#content"}:
        answer = page(node, f"/exchange/1{link}" if link.startswith("?") else link)
        is_page = answer.headers["content-type"].startswith("text/html")
        assert is_page == ("content-security-policy" in answer.headers), link


def test_a_market_is_whole_as_the_server_sends_it(floor: tuple[RunningNode, Trading]) -> None:
    node, trading = floor
    bob = to_checksum_address(trading.people.address("bob"))
    texts = [text for _, text in Seen(page(node, f"/exchange/1?account={bob}").text).texts]
    for expected in ("AIT/COIN", "0.071", "1.00", "0.069", "0.50", "0.070", "0.25", bob, "good till cancelled"):
        assert expected in texts
    assert any("0.10 %" in text or "0.1 %" in text for text in texts)
    assert [text for text in texts if text.endswith(" COIN free, 0.0345 COIN in orders")]
    assert to_checksum_address(COIN) in texts
    assert to_checksum_address(TOKEN) not in texts


def test_an_issuers_words_are_text_and_nothing_else(floor: tuple[RunningNode, Trading]) -> None:
    for path in ("/exchange", "/exchange/2"):
        text = page(floor[0], path).text
        assert HOSTILE not in text
        assert "&#34;&gt;&lt;img/src=x&gt;" in text


def raw(node: RunningNode, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request whose path no client has tidied up."""
    with closing(http.client.HTTPConnection(node.url.removeprefix("http://"))) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()


def test_what_is_not_there(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    for market in ("77", "0", "-1", "1x", "٣", "4294967296", "9" * 400, "static", "AIT", "<script>"):
        assert "No market has this number" in page(node, f"/exchange/{market}", 404).text
    assert "No market" not in page(node, "/exchange?from=9").text
    for query in ("interval=2h", "interval=" + "1" * 3_000, "account=" + "0" * 101):
        page(node, f"/exchange/1?{query}", 422)
    for first in ("0", "-1", "x", "4294967296", "9" * 3_000):
        page(node, f"/exchange?from={first}", 422)


def test_no_path_leads_out_of_the_static_files(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    ways = ("..", "%2e%2e", "..%2f..", "..%5c..", ".%00.", "....//", "vendor/..", "/", "//etc", "%252e%252e")
    for way in ways:
        for target in ("files.py", "exchange.py", "templates/base.html", "etc/passwd"):
            status, _, body = raw(node, "GET", f"/exchange/static/{way}/{target}")
            assert status in (400, 404, 422), (way, target)
            assert b"import" not in body
            assert b"root:" not in body
    for name in ("nothing.js", "vendor", "vendor/", "exchange.js/", "EXCHANGE.JS", "a" * 101, "a" * 7_000):
        status, headers, _ = raw(node, "GET", f"/exchange/static/{name}")
        assert status in (404, 422), name
        assert headers["content-type"] == "application/problem+json"


def test_it_is_read_with_get_and_head_and_changed_by_nothing(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    for path in ("/exchange", "/exchange/1", "/exchange/77", "/exchange/static/exchange.js"):
        status, headers, body = raw(node, "GET", path)
        assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")
        assert body
        head_status, head_headers, nothing = raw(node, "HEAD", path)
        assert (head_status, nothing) == (status, b"")
        assert {**head_headers, "date": ""} == {**headers, "date": ""}
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            assert raw(node, method, path)[0] == 405


def test_an_address_that_cannot_be_is_told_beside_where_it_was_typed(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    for text, told in (
        ("0x12", "must be 20 bytes long"),
        ("0x" + "Ab" * 20, "EIP-55"),
        ("bob", "0x and 40 hexadecimal digits"),
        ('"><script>alert(1)</script>', "0x and 40 hexadecimal digits"),
    ):
        answer = page(node, "/exchange/1", 400, params={"account": text})
        seen = Seen(answer.text)
        (fault,) = [said for tag, said in seen.texts if "address is 0x" in said]
        assert told in fault
        (field,) = [given for tag, given in seen.tags if given.get("id") == "account"]
        assert (field["value"], field["aria-invalid"]) == (text, "true")
        assert "<script>alert" not in answer.text
    assert "No open orders" in page(node, "/exchange/1?account=").text


def test_a_market_that_takes_no_orders_says_so(floor: tuple[RunningNode, Trading]) -> None:
    node, trading = floor
    open_market = page(node, "/exchange/3").text
    node.settle(*trading.decide(MARKET, SET_MARKET_STATUS, 3, MarketStatus.HALTED))
    halted = page(node, "/exchange/3").text
    node.settle(*trading.decide(MARKET, SET_MARKET_STATUS, 3, MarketStatus.CANCEL_ONLY))
    closed = page(node, "/exchange/3").text
    for text, notice in ((open_market, ""), (halted, NOTICES["halted"]), (closed, NOTICES["cancel_only"])):
        shown = [said for tag, said in Seen(text).texts if said in NOTICES.values()]
        assert shown == [notice] * (notice != "")


def test_of_a_deep_book_the_best_prices_are_shown(floor: tuple[RunningNode, Trading]) -> None:
    node, trading = floor
    prices = [TICK * (200 + step) for step in range(MAX_SHOWN_LEVELS + 5)]
    for at in range(0, len(prices), 10):
        node.settle(*(trading.place("cat", Side.BUY, price, 1, market=4) for price in prices[at : at + 10]))
    texts = [said for tag, said in Seen(page(node, "/exchange/4").text).texts if tag == "td"]
    assert texts[texts.index("bids ↓") + 1] == "0.219"
    assert "0.205" in texts
    assert "0.204" not in texts
    assert f"0.{MAX_SHOWN_LEVELS:02d}" in texts  # The total of all that is shown.


def test_a_browser_that_has_a_file_is_not_sent_it_again(floor: tuple[RunningNode, Trading]) -> None:
    node, _ = floor
    first = page(node, "/exchange/static/exchange.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = page(node, "/exchange/static/exchange.js", 304, headers={"If-None-Match": known})
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
    assert page(node, "/exchange/static/exchange.js", headers={"If-None-Match": '"other"'}).content == first.content


def test_vendored_files_are_what_was_published() -> None:
    folder = files("chain.api.pages") / "static" / "vendor"
    found = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}
    assert found == VENDORED
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text()


def test_all_that_the_pages_are_made_of_is_packaged() -> None:
    folder = Path(str(files("chain.api.pages")))
    patterns = tomllib.loads((folder.parents[2] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packaged = {each for pattern in patterns["chain.api.pages"] for each in folder.glob(pattern) if each.is_file()}
    there = {each for kind in ("static", "templates") for each in (folder / kind).rglob("*") if each.is_file()}
    assert packaged == there


def test_text_can_be_told_from_what_it_stands_on() -> None:
    style = (files("chain.api.pages") / "static" / "exchange.css").read_text()
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{([^}]*)\}", style)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for ground in ("page", "panel"):
            for ink in ("text", "text-soft", "accent", "buy", "sell", "warned"):
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

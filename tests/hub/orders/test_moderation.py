"""The operator's word list and judge."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import HubConfigurationError
from hub.orders.moderation import Moderation, ModerationUnavailable, PromptRefused, open_moderation


@pytest.mark.parametrize(
    "prompt",
    [
        "bad\u200bthing",
        "bad \u200b thing",
        "a\u200bwea\u00adpon\u200bhere",
        "\uff57\uff45\uff41\uff50\uff4f\uff4e",
        "caf\u200de\u0301",
        "cafe\u0301",
        "\ufb01st",
        "we\ufe0fap\u034fon",
        "bad\u3164thing",
        "\u2800weap\uffa0on",
        "a\u115fwea\U000e0100pon\u1160here",
        "_weapon_",
    ],
)
def test_what_nobody_sees_hides_nothing(prompt: str) -> None:
    with pytest.raises(PromptRefused):
        asyncio.run(Moderation(["weapon", "bad thing", "café", "fist"]).check([prompt]))


@pytest.mark.parametrize("prompt", ["a Weapon", "WEAPON!", "some\n  bad   thing here", "x", "the бомба"])
def test_words_and_phrases_whatever_their_case(prompt: str) -> None:
    moderation = Moderation(["weapon", "bad thing", "X", "Бомба"])
    with pytest.raises(PromptRefused) as refused:
        asyncio.run(moderation.check(["fine", prompt]))
    assert "weapon" not in str(refused.value)


@pytest.mark.parametrize("prompt", ["weaponry", "a bad, thing", "ox"])
def test_parts_of_words_are_none(prompt: str) -> None:
    asyncio.run(Moderation(["weapon", "bad thing", "x"]).check([prompt]))


def test_a_phrase_has_its_spaces_and_a_word_has_none() -> None:
    moderation = Moderation(["bad thing", "therapist", "the rapist", "c++", "a b c", "ab c d"])
    for served in ("badthing", "bad,thing", "the rapists", "wea pon", "c+", "abc", "ab cd", "a bcd"):
        asyncio.run(moderation.check([served]))
    for refused in (
        "the\u200brapist",
        "in c++.",
        "abc c++",
        "a\u200bb\u200bc",
        "so a b c d",
        "ab c\u200bd",
        "\u200bc++\u200b",
    ):
        with pytest.raises(PromptRefused):
            asyncio.run(moderation.check([refused]))


def test_whoever_sends_much_keeps_nobody_else_waiting() -> None:
    async def check() -> None:
        looking = asyncio.ensure_future(Moderation(["weapon"]).check(["\ufdfa" * 1_000] * 16 + ["a weapon"]))
        await asyncio.sleep(0)  # It has begun; nothing but the list is asked.
        assert not looking.done()
        with pytest.raises(PromptRefused):
            await looking

    asyncio.run(check())


UNSEEN = ("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u202e", "\U000e0041")
"""Soft hyphen, zero-width characters, a direction, a tag: nobody sees them."""


@given(
    word=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12),
    written=st.lists(
        st.tuples(st.sampled_from((0, 0, 0xFEE0, 0x1D3B9)), st.booleans(), st.sampled_from(("", "", *UNSEEN))),
        min_size=13,
        max_size=13,
    ),
)
def test_a_word_is_found_however_it_is_written(word: str, written: list[tuple[int, bool, str]]) -> None:
    hidden = ""
    for letter, (offset, is_upper, unseen) in zip(word, written, strict=False):
        # Full-width forms stand at one distance from all of ASCII; the bold ones of mathematics are of letters.
        shown = chr(ord(letter) + (offset if offset == 0xFEE0 or letter.isalpha() else 0))
        hidden += (shown.upper() if is_upper else shown) + unseen
    moderation = Moderation([word])
    for prompt in (hidden, f"a {hidden} here", f"a\u200b{hidden}\u200bhere"):
        with pytest.raises(PromptRefused):
            asyncio.run(moderation.check([prompt]))
    if hidden.isalnum():
        asyncio.run(moderation.check([f"un{hidden}"]))


@given(st.text(), st.text(max_size=20))
def test_any_word_is_found_in_itself_and_an_empty_one_nowhere(word: str, other: str) -> None:
    unseen = Moderation(["\u200b", " "])
    asyncio.run(unseen.check([word, other]))
    if word.split() == [word] and word.isalpha():
        with pytest.raises(PromptRefused):
            asyncio.run(Moderation([word]).check([f"{word.upper()} ({word})"]))


def test_characters_that_stand_for_many_others_are_served_within_bounds() -> None:
    """U+FDFA is 18 letters in NFKC: a job of 256 such prompts would be looked at for seconds."""
    moderation = Moderation(["weapon"])
    asyncio.run(moderation.check(["peace \ufdfa " * 100, "x" * 1_000, "\ufb01ne cafe\u0301 " * 100]))
    with pytest.raises(PromptRefused, match="write them out"):
        asyncio.run(moderation.check(["peace", "\ufdfa" * 1_000]))


def test_a_list_is_a_file_with_remarks(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# ours\nweapon\n\n  bad thing \n")
    with pytest.raises(PromptRefused):
        asyncio.run(open_moderation(path, None).check(["a bad thing"]))
    asyncio.run(open_moderation(path, None).check(["ours"]))
    with pytest.raises(HubConfigurationError):
        open_moderation(tmp_path / "none.txt", None)
    with pytest.raises(HubConfigurationError):
        open_moderation(None, "ftp://x")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b'{"allowed": true}', None),
        (b'{"allowed": false, "reason": "no\\u0000 cats"}', PromptRefused),
        (b'{"allowed": "yes"}', ModerationUnavailable),
        (b"\xff", ModerationUnavailable),
        (b"", ModerationUnavailable),
    ],
)
def test_the_judge_is_believed_or_nothing_is_served(answer: bytes, outcome: type[Exception] | None) -> None:
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    async def ask(url: str) -> None:
        moderation = open_moderation(None, url)
        try:
            await moderation.check(["a cat"])
        finally:
            await moderation.close()

    try:
        if outcome is None:
            asyncio.run(ask(f"http://127.0.0.1:{server.server_port}"))
        else:
            with pytest.raises(outcome):
                asyncio.run(ask(f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
    assert asked == [{"prompts": ["a cat"]}]

"""Words at a terminal: seen once, erased, asked back; and typed in without being seen."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account import Account

from wallet.words import check_words

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]

JUNK = "test " * 11 + "junk"
PASSWORD_TWICE = [("Password for ", PASSWORD), ("The same password again: ", PASSWORD)]


def shown_words(screen: str) -> list[str]:
    """The words that stand, numbered, on the screen."""
    return [word for _, word in sorted((int(number), word) for number, word in re.findall(r"(\d+)\. ([a-z]+)", screen))]


def test_a_person_sees_the_words_once_and_is_asked_for_some(run_at_terminal: RunWallet, tmp_path: Path) -> None:
    answers: list[Any] = [*PASSWORD_TWICE, ("press Enter, and they are erased here. ", "")]
    answers += [(": ", lambda screen: shown_words(screen)[int(re.findall(r"Word (\d+): ", screen)[-1]) - 1])] * 3
    made = run_at_terminal("new", "alice", "--words", "12", "--light", answers=answers)
    assert made.code == 0, made.stderr
    words = shown_words(made.stderr)
    assert len(check_words(" ".join(words)).split()) == 12
    before, shown, after = re.split(r"\x1b\[\?1049[hl]", made.stderr)  # Into the second screen, and back.
    assert shown_words(shown) == words
    assert "Word " in after
    assert not shown_words(before + after)
    assert not set(words) & set(made.stdout.split())
    Account.enable_unaudited_hdwallet_features()
    assert Account.from_mnemonic(" ".join(words)).address in made.stdout
    contents = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert contents
    assert not any(" ".join(words) in content for content in contents)


def test_words_that_were_not_written_down_make_nothing(run_at_terminal: RunWallet, tmp_path: Path) -> None:
    answers = [*PASSWORD_TWICE, ("press Enter, and they are erased here. ", ""), *[(": ", "zoology")] * 3]
    refused = run_at_terminal("new", "alice", "--words", "12", "--light", answers=answers)
    assert (refused.code, refused.stdout) == (9, "")
    assert "no account was made" in refused.stderr
    assert not list(tmp_path.rglob("alice.json"))


def test_an_interruption_erases_the_words_and_makes_nothing(run_at_terminal: RunWallet, tmp_path: Path) -> None:
    answers = [*PASSWORD_TWICE, ("press Enter, and they are erased here. ", "\x03")]
    ended = run_at_terminal("new", "alice", "--words", "12", "--light", answers=answers)
    assert (ended.code, ended.stdout) == (130, "")
    assert not shown_words(ended.stderr.rsplit("\x1b[?1049l", 1)[1])
    assert not list(tmp_path.rglob("alice.json"))


def test_words_are_hidden_while_they_are_typed(run_at_terminal: RunWallet) -> None:
    answers = [("The words, in their order: ", JUNK), ("Passphrase of these words: ", "TREZOR"), *PASSWORD_TWICE]
    made = run_at_terminal("import", "alice", "--words", "--passphrase", "--light", "--json", answers=answers)
    assert made.code == 0, made.stderr
    assert "junk" not in made.stderr + made.stdout
    assert "TREZOR" not in made.stderr + made.stdout
    Account.enable_unaudited_hdwallet_features()
    assert made.json["address"] == Account.from_mnemonic(JUNK, passphrase="TREZOR").address


def test_a_passphrase_is_the_last_line_of_stdin(run: RunWallet) -> None:
    options = ("--words", "--passphrase", "--light", "--json")
    made = run("import", "alice", *options, stdin=f"{JUNK}\nTREZOR\n", AITBC_PASSWORD=PASSWORD)
    Account.enable_unaudited_hdwallet_features()
    assert made.json["address"] == Account.from_mnemonic(JUNK, passphrase="TREZOR").address
    assert run("import", "bob", *options, stdin=JUNK, AITBC_PASSWORD=PASSWORD).code == 1

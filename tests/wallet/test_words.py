"""Words against the vectors of BIP-39, and every way of mistyping them."""

import contextlib
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.rejection import Rejected, RejectionReason
from wallet.words import check_words, new_words, seed_of

# https://github.com/trezor/python-mnemonic/blob/master/vectors.json, all with the passphrase TREZOR.
VECTORS = [
    (
        "abandon " * 11 + "about",
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141"
        "630c7a3c4ab7c81b2f001698e7463b04",
    ),
    (
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6fa457fe1296106559a3c80937a1c1069b"
        "e3a3a5bd381ee6260e8d9739fce1f607",
    ),
    (
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        "d71de856f81a8acc65e6fc851a38d4d7ec216fd0796d0a6827a3ad6ed5511a30fa280f12eb2e47ed2ac03b5c462a0358"
        "d18d69fe4f985ec81778c1b370b652a8",
    ),
    (
        "abandon " * 23 + "art",
        "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3"
        "de6f5d4a10be8ed2a5e608d68f92fcc8",
    ),
]
PHRASE = VECTORS[1][0]
JAPANESE = "あいこくしん　" * 11 + "あおぞら"  # The first of https://github.com/bip32JP/bip32JP.github.io


@pytest.mark.parametrize(("phrase", "seed"), VECTORS)
def test_vectors(phrase: str, seed: str) -> None:
    assert check_words(phrase) == phrase
    assert seed_of(phrase, "TREZOR").hex() == seed
    assert seed_of(phrase) != seed_of(phrase, "TREZOR")


@pytest.mark.parametrize("count", [12, 15, 18, 21, 24])
def test_new_words_are_valid_and_never_the_same(count: int) -> None:
    phrases = {new_words(count) for _ in range(20)}
    assert len(phrases) == 20
    for phrase in phrases:
        assert len(phrase.split()) == count
        assert check_words(phrase) == phrase


def test_spelling_that_does_not_matter() -> None:
    assert check_words("\n  " + PHRASE.upper().replace(" ", "\t \n") + "  ") == PHRASE


def test_words_of_another_language() -> None:
    checked = check_words(JAPANESE)
    assert check_words(checked) == checked
    # With the passphrase of that vector, which is to be composed differently as well.
    assert seed_of(checked, "㍍ガバヴァぱばぐゞちぢ十人十色").hex().startswith("a262d6fb6122ecf45be09c50492b31f9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not 0"),
        ("abandon", "not 1"),
        ("abandon " * 13, "not 13"),
        ("abandon " * 12, "checksum"),
        (" ".join(reversed(PHRASE.split())), "checksum"),
        (PHRASE.replace("winner", "winter"), "checksum"),
        (PHRASE.replace("winner", "loser"), "English words: number 2, 10"),
        ("x " * 12, "checksum"),
        ("abandon " * 200, "1024 characters"),
        ("a" * 100_000, "1024 characters"),
        ("\0 " * 12, "checksum"),
    ],
)
def test_refusals_name_no_word(text: str, message: str) -> None:
    with pytest.raises(Rejected, match=message) as caught:
        check_words(text)
    assert caught.value.reason is RejectionReason.MALFORMED
    assert not set(text.split()) & set(str(caught.value).split()) - {"x"}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=1100))
def test_any_text_is_refused_or_a_phrase(text: str) -> None:
    with contextlib.suppress(Rejected):
        assert len(check_words(text).split()) in (12, 15, 18, 21, 24)


def test_loading_the_library_keeps_nested_json_harmless() -> None:
    script = """
        import json, sys
        limit = sys.getrecursionlimit()
        from wallet.ethereum_libraries import load_library
        from wallet.words import new_words
        new_words(12)
        load_library("eth_account.messages")
        assert "py_ecc" in sys.modules
        assert sys.getrecursionlimit() == limit
        try:
            json.loads("[" * 100_000)
        except RecursionError:
            print("refused")
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "refused\n")

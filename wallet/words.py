"""The words from which keys can be made again (BIP-39): drawn, checked, and turned into a seed.

    phrase = new_words(12)
    seed = seed_of(phrase)                      then `wallet.derivation`: one key per path

The words are the keys: nothing here writes them anywhere, and no message repeats one.
"""

import unicodedata
from typing import Any, Final

from chain.primitives.rejection import Rejected, RejectionReason
from wallet.ethereum_libraries import load_library

WORD_COUNTS: Final = (12, 15, 18, 21, 24)
_LONGEST_PHRASE: Final = 1024  # 24 words have at most 8 letters each; other languages than English need some more.


def new_words(count: int) -> str:
    """A new phrase of English words, from the system's randomness."""
    assert count in WORD_COUNTS
    phrase: str = _mnemonic().generate(count)
    return phrase


def check_words(text: str) -> str:
    """The phrase in lower case with single spaces; raises Rejected that says what is wrong, without repeating a word.

    English words are what wallets write; a phrase from another of BIP-39's lists is taken as well.
    """
    if len(text) > _LONGEST_PHRASE:
        raise _malformed(f"more than {_LONGEST_PHRASE} characters")
    words = unicodedata.normalize("NFKD", text).lower().split()
    if len(words) not in WORD_COUNTS:
        raise _malformed(f"there are {', '.join(map(str, WORD_COUNTS[:-1]))} or {WORD_COUNTS[-1]}, not {len(words)}")
    phrase = " ".join(words)
    english = _mnemonic()
    if english.is_mnemonic_valid(phrase) or _is_valid_elsewhere(phrase):
        return phrase
    known = set(english.wordlist)
    unknown = [str(position) for position, word in enumerate(words, start=1) if word not in known]
    if unknown and len(unknown) < len(words):
        raise _malformed(f"not in BIP-39's list of English words: number {', '.join(unknown)}")
    raise _malformed("their checksum is wrong: one of them is another word, or their order is another")


def seed_of(phrase: str, passphrase: str = "") -> bytes:
    """The 64 bytes from which every key of a checked phrase is derived. Another passphrase gives other keys."""
    seed: bytes = _mnemonic().to_seed(phrase, passphrase)
    return seed


def _mnemonic() -> Any:
    return load_library("eth_account.hdaccount.mnemonic").Mnemonic()


def _is_valid_elsewhere(phrase: str) -> bool:
    mnemonic = load_library("eth_account.hdaccount.mnemonic").Mnemonic
    return any(mnemonic(language).is_mnemonic_valid(phrase) for language in mnemonic.list_languages_enum())


def _malformed(what: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"these are not the words of a wallet: {what}", field="words")

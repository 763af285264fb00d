"""Words between the wallet and a person: shown once and asked back, or typed in to make keys again."""

import secrets
import sys
from typing import Final

from chain.primitives.rejection import Rejected
from wallet.passwords import ask_hidden, is_person_asked, read_secret
from wallet.terminal import CommandError, ExitCode, ask, columns, say
from wallet.words import check_words, seed_of

_WORDS_PER_LINE: Final = 4
_ASKED_BACK: Final = 3
_ATTEMPTS: Final = 3
# A terminal's second screen, as editors use it: it has no lines to scroll back to, and leaves none behind.
_OTHER_SCREEN: Final = "\x1b[?1049h\x1b[2J\x1b[H"
_BACK: Final = "\x1b[2J\x1b[?1049l"
_LONGEST_TYPED: Final = 4096  # As much as a terminal's line holds; the words are bounded further by `check_words`.


def can_show() -> bool:
    """Whether a person sees the words: they must not end up in a file to which stderr goes."""
    return is_person_asked() and sys.stderr.isatty()


def show_once(phrase: str) -> None:
    """Shows the words, erases them, and asks for some; raises CommandError (not confirmed) where they differ."""
    words = phrase.split()
    numbered = [f"{number:2}. {word}" for number, word in enumerate(words, start=1)]
    print(_OTHER_SCREEN, end="", file=sys.stderr, flush=True)
    try:
        say(f"These {len(words)} words are the key: whoever has them has it.")
        say("They are shown this once and stored nowhere. Write them down, in this order:")
        for line in columns([*zip(*[iter(numbered)] * _WORDS_PER_LINE, strict=True)]):
            say(f"  {line}")
        ask("Then press Enter, and they are erased here. ")
    finally:
        print(_BACK, end="", file=sys.stderr, flush=True)
    for position in sorted(secrets.SystemRandom().sample(range(len(words)), _ASKED_BACK)):
        _ask_back(position + 1, words[position])


def _ask_back(number: int, word: str) -> None:
    for _ in range(_ATTEMPTS):
        if ask(f"Word {number}: ").lower() == word:
            return
        say("That is another word.")
    raise CommandError("the words were not confirmed; no account was made", ExitCode.NOT_CONFIRMED)


def read_seed(*, with_passphrase: bool) -> bytes:
    """From hidden prompts or, where stdin is no terminal, from stdin: the words, then the passphrase on a last line."""
    passphrase = ""
    text = read_secret("The words, in their order: ", longest=_LONGEST_TYPED)
    if with_passphrase and is_person_asked():
        passphrase = ask_hidden("Passphrase of these words: ")
    elif with_passphrase:
        text, _, passphrase = text.rpartition("\n")
    try:
        return seed_of(check_words(text), passphrase)
    except Rejected as error:
        raise CommandError(error.message, ExitCode.FAILED) from None

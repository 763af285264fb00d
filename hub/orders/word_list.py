"""A list of words and phrases, found in a text however they are written there."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

_MARK: Final = "\0"
"""In no prompt: `JobRequest` refuses it."""
_EMPTY_LETTERS: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""What is not shown and is not of category Cf: joiners, fillers, variation selectors, a Braille pattern of no dots."""


class WordList:
    """Whole words and phrases. How long a text is looked through depends on their lengths, not on how many they are."""

    def __init__(self, words: Sequence[str]) -> None:
        self._phrases: dict[str, set[frozenset[int]]] = {}
        """By their characters without the spaces; where these are."""
        for word in words:
            letters, gaps = _taken_apart(_compared(word, ""))
            if letters:
                self._phrases.setdefault(letters, set()).add(frozenset(gaps))
        self._lengths = sorted({len(letters) for letters in self._phrases})

    def finds(self, text: str) -> bool:
        """With marks where something is not shown, which may part words; and without, for accents that it parts."""
        return any(self._is_in(*_taken_apart(form)) for form in {_compared(text, _MARK), _compared(text, "")})

    def _is_in(self, letters: str, gaps: Mapping[int, str]) -> bool:
        for start in range(len(letters)):
            if not (start in gaps or start == 0 or not letters[start - 1].isalnum()):
                continue
            for length in self._lengths:
                end = start + length
                if end > len(letters):
                    break
                spacings = self._phrases.get(letters[start:end])
                if spacings is None or not (end in gaps or end == len(letters) or not letters[end].isalnum()):
                    continue
                between = {place: gaps.get(start + place) for place in range(1, length)}
                if any(_is_spaced(between, spaces) for spaces in spacings):
                    return True
        return False


def _is_spaced(between: Mapping[int, str | None], spaces: frozenset[int]) -> bool:
    """Whether spaces are where a phrase has them; a mark may be a space or nothing."""
    return all(gap == _MARK or (gap is not None) == (place in spaces) for place, gap in between.items())


def _taken_apart(compared: str) -> tuple[str, dict[int, str]]:
    """The characters without what parts them, and before which of them something does."""
    letters: list[str] = []
    gaps: dict[int, str] = {}
    for each in compared:
        if each == _MARK:
            gaps.setdefault(len(letters), each)
        elif each == " ":
            gaps[len(letters)] = each
        else:
            letters.append(each)
    return "".join(letters), gaps


def _compared(text: str, mark: str) -> str:
    """What is one word to a reader is one here: full-width letters, ligatures, case, spaces. `mark` stands for what is
    not shown."""
    if not text.isascii():
        text = "".join(mark if _is_unseen(each) else each for each in text)
        text = unicodedata.normalize("NFKC", text)
    folded = unicodedata.normalize("NFKC", text.casefold())
    return "".join(" " if each.isspace() else each for each in folded)


def _is_unseen(character: str) -> bool:
    return character in _EMPTY_LETTERS or unicodedata.category(character) == "Cf"

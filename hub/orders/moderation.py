"""Whether the operator serves a prompt: a list of words, and an outside judge. Asked before anything is kept."""

import asyncio
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
import msgspec
import structlog

from hub.errors import HubConfigurationError
from hub.orders.request import MAX_PROMPT_CHARACTERS
from hub.orders.word_list import WordList

_MOST_COMPARED_CHARACTERS: Final = 4 * MAX_PROMPT_CHARACTERS
"""Of a prompt as it is compared, where one character may stand for 18: else a few bytes cost seconds of looking."""
_MAX_LIST_BYTES: Final = 4 * 1024 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_REASON_CHARACTERS: Final = 200
_TIMEOUT_S: Final = 5.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.moderation")


class PromptRefused(Exception):
    """The operator does not serve this prompt; the message is for the client, without the words that were found."""


class ModerationUnavailable(Exception):
    """The judge does not answer: nothing is taken on trust meanwhile."""


class _Verdict(msgspec.Struct):
    """What a judge answers."""

    allowed: bool
    reason: str = ""


class Moderation:
    """The hook. Without a list and without a URL everything is served."""

    def __init__(self, words: Sequence[str] = (), url: str | None = None) -> None:
        """`words`: whole words or phrases, however they are written. `url` takes {"prompts": […]} by POST."""
        self._words = WordList(words) if words else None
        self._url = url
        self._http = (
            None if url is None else httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)
        )

    @property
    def asks_outside(self) -> bool:
        """Whether there is a judge at a URL."""
        return self._http is not None

    async def close(self) -> None:
        """Closes the connections to the judge."""
        if self._http is not None:
            await self._http.aclose()

    async def check(self, texts: Sequence[str]) -> None:
        """Raises PromptRefused or ModerationUnavailable."""
        if self._words is not None:
            # In a thread of its own: a job may have 256 prompts.
            await asyncio.to_thread(_check_words, self._words, texts)
        if self._http is not None:
            await self._ask(texts)

    async def _ask(self, texts: Sequence[str]) -> None:
        assert self._http is not None
        assert self._url is not None
        try:
            answer = await self._http.post(self._url, json={"prompts": list(texts)})
            if answer.status_code != httpx.codes.OK or len(answer.content) > _MAX_ANSWER_BYTES:
                raise ModerationUnavailable(f"the judge of prompts answered {answer.status_code}")
            verdict = msgspec.json.decode(answer.content, type=_Verdict)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("moderation_unavailable", error=type(error).__name__)
            raise ModerationUnavailable("the judge of prompts does not answer") from None
        if not verdict.allowed:
            words = "".join(character if character.isprintable() else "?" for character in verdict.reason)
            raise PromptRefused(words[:_MAX_REASON_CHARACTERS] or "this hub's operator does not serve such prompts")


def _check_words(words: WordList, texts: Sequence[str]) -> None:
    for text in texts:
        if len(unicodedata.normalize("NFKC", text)) > _MOST_COMPARED_CHARACTERS:
            raise PromptRefused("a prompt has too many characters that stand for several others: write them out")
        if words.finds(text):
            raise PromptRefused("this hub's operator does not serve such prompts")


def open_moderation(words_file: Path | None, url: str | None) -> Moderation:
    """From a file with a word or phrase a line, # before remarks; raises HubConfigurationError."""
    if url is not None and not url.startswith(("http://", "https://")):
        raise HubConfigurationError("--moderation-url must begin with http:// or https://")
    return Moderation(_read_words(words_file) if words_file is not None else (), url)


def _read_words(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LIST_BYTES + 1)
    except OSError as error:
        raise HubConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > _MAX_LIST_BYTES:
        raise HubConfigurationError(f"{path} is larger than {_MAX_LIST_BYTES} bytes")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise HubConfigurationError(f"{path} is not text in UTF-8") from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

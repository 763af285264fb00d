"""The URLs that have worked, kept in a small file so that a restart finds its peers again."""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from chain.node.whole_file import write_whole

_VERSION: Final = 1
_MAX_BYTES: Final = 256 * 1024

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


class _PeersFile(msgspec.Struct, frozen=True):
    """Typed, so that no file can be deep: Python's JSON decoder recurses, and overflows where the limit is lifted."""

    version: int
    urls: list[str | int | None]


def read_peers(path: Path) -> list[str]:
    """The URLs of an earlier run; none where there is no such file, or a damaged one: peers can be found anew."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        known = msgspec.json.decode(content, type=_PeersFile) if len(content) <= _MAX_BYTES else None
        if known is not None and known.version == _VERSION:
            return [url for url in known.urls if isinstance(url, str)]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.warning("peers_file_unreadable", path=str(path), fault=str(error))
        return []
    _log.warning("peers_file_unreadable", path=str(path), fault="not a file of peers")
    return []


def write_peers(path: Path, urls: list[str]) -> None:
    """Replaces the file as a whole. A disk that cannot take it is told to the log: the node works without."""
    content = msgspec.json.format(msgspec.json.encode(_PeersFile(_VERSION, [*urls])), indent=1)
    try:
        write_whole(path, content)
    except OSError as error:
        _log.warning("peers_file_not_written", path=str(path), fault=error.strerror or str(error))

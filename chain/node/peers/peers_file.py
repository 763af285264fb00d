"""The URLs that have worked, kept in a small file so that a restart finds its peers again."""

import json
import os
from pathlib import Path
from typing import Final

import structlog

_VERSION: Final = 1
_MAX_BYTES: Final = 256 * 1024

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


def read_peers(path: Path) -> list[str]:
    """The URLs of an earlier run; none where there is no such file, or a damaged one: peers can be found anew."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        fields = json.loads(content) if len(content) <= _MAX_BYTES else None
        if isinstance(fields, dict) and fields.get("version") == _VERSION and isinstance(fields.get("urls"), list):
            return [url for url in fields["urls"] if isinstance(url, str)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("peers_file_unreadable", path=str(path), fault=str(error))
        return []
    _log.warning("peers_file_unreadable", path=str(path), fault="not a file of peers")
    return []


def write_peers(path: Path, urls: list[str]) -> None:
    """Replaces the file as a whole. A disk that cannot take it is told to the log: the node works without."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            json.dump({"version": _VERSION, "urls": urls}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _log.warning("peers_file_not_written", path=str(path), fault=error.strerror or str(error))

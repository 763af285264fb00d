"""Path and query parameters: bounded by FastAPI, parsed here. Every refusal names the parameter."""

from typing import Annotated, Final

from fastapi import Path, Query

from chain.primitives.hexadecimal import parse_hex, to_hex

MAX_PAGE_ITEMS: Final = 200
DEFAULT_PAGE_ITEMS: Final = 50

# JSON's integers are exact up to here, and LevelDB's keys hold more.
_MAX_HEIGHT_DIGITS: Final = 15

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_ITEMS, description="How many items at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=258, pattern="^0x([0-9a-f]{2})+$", description="`next_cursor` of the page before; opaque."),
]
AddressPath = Annotated[
    str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="20 bytes in hex; mixed case needs its EIP-55 checksum.")
]
HashPath = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{64}$", description="32 bytes in hex.")]
HeightOrHash = Annotated[
    str,
    Path(
        pattern=f"^((0|[1-9][0-9]{{0,{_MAX_HEIGHT_DIGITS - 1}}})|0x[0-9a-fA-F]{{64}})$",
        description="A height, or a block hash in hex.",
    ),
]


def parse_cursor(cursor: str | None) -> bytes | None:
    """The index key that a cursor stands for. Raises Rejected."""
    return None if cursor is None else parse_hex(cursor, field="cursor")


def cursor_text(key: bytes | None) -> str | None:
    """The cursor that stands for an index key."""
    return None if key is None else to_hex(key)

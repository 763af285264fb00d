"""What a setting may be: each type checks its text and says what it should have looked like."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from provider.generation import SIZE_STEP_PIXELS

MAX_PRICE_ATOMS: Final = 2**128
"""The registry's bound (`chain.rules.registry`); a thousand million units at this price stay below 2^256 atoms."""

MAX_MODELS: Final = 16
"""As many as the registry takes."""

_MODEL_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
_SEPARATORS: Final = frozenset("=,")
_RATE: Final = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)")
_SIZE: Final = re.compile(r"([0-9]{3,4})x([0-9]{3,4})")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,240}")
_RAY_ADDRESS: Final = re.compile(r"auto|(ray://)?[A-Za-z0-9.\-\[\]:]{1,240}")
_MAX_LIST_ITEMS: Final = 64


def _atoms(value: object) -> int:
    """Decimal digits or an integer, never a float: 0.1 atoms do not exist."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRICE_ATOMS:
        raise ValueError("must be a whole number of atoms, at most 2^128")
    return value


def _address(value: str) -> str:
    try:
        return to_checksum_address(parse_address(value))
    except Rejected as error:
        raise ValueError(error.message) from None


def _rate(value: str) -> str:
    if not _RATE.fullmatch(value):
        raise ValueError("must look like 60/minute")
    return value


def _model_name(value: str) -> str:
    if not _MODEL_NAME.fullmatch(value) or _SEPARATORS & set(value):
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces, = and ,")
    return value


def _url(value: str) -> str:
    complaint = "must be an http:// or https:// URL"
    if not re.fullmatch(r"https?://[\x21-\x7e]{1,240}", value):
        raise ValueError(complaint)
    try:
        parts = urlsplit(value)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(complaint)
    return value.rstrip("/")


def _hub_url(value: str) -> str:
    """A WebSocket URL: of the hub's workers' path where none is named."""
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(value.partition("://")[0])
    if scheme is None:
        raise ValueError("must be a ws://, wss://, http:// or https:// URL")
    host, slash, path = _url("http://" + value.partition("://")[2]).partition("://")[2].partition("/")
    if set("@?#") & set(host + path):
        raise ValueError("must have neither a name and password nor ? or #")
    return f"{scheme}://{host.lower()}/{path}" if slash else f"{scheme}://{host.lower()}/v1/workers"


def _items(value: object) -> object:
    """A list in a variable: its items, separated by commas."""
    if not isinstance(value, str):
        return value
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Without repetitions."""
    return tuple(dict.fromkeys(values))


def _each(check: Callable[[str], str]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def check_all(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check(value) for value in values)

    return check_all


def _model_entry(value: str) -> str:
    """`SOURCE` or `NAME=SOURCE`."""
    name, source = split_model_entry(value)
    if name is not None:
        _model_name(name)
    if not 1 <= len(source) <= 1024 or not source.isprintable():
        raise ValueError("must be FOLDER, a model hub's id, or NAME=FOLDER, each at most 1024 characters long")
    return value


def _price_entry(value: str) -> str:
    name, separator, price = value.partition("=")
    if not separator:
        raise ValueError("must look like NAME=ATOMS")
    _model_name(name)
    _atoms(price)
    return value


def _size(value: str) -> str:
    match = _SIZE.fullmatch(value)
    sides = (int(match[1]), int(match[2])) if match else ()
    if not sides or any(not 256 <= side <= 1024 or side % SIZE_STEP_PIXELS for side in sides):
        raise ValueError(f"must look like 512x768: 256 to 1024 pixels, multiples of {SIZE_STEP_PIXELS}")
    return value


def _origin(value: str) -> str:
    if value != "*" and not _ORIGIN.fullmatch(value):
        raise ValueError("must look like https://example.org, without a path, or be *")
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("must be IP addresses or networks such as 127.0.0.1 or 10.0.0.0/8") from None


def _ray_address(value: str) -> str:
    if not _RAY_ADDRESS.fullmatch(value):
        raise ValueError("must be auto, HOST:PORT or ray://HOST:PORT")
    return value


def split_model_entry(entry: str) -> tuple[str | None, str]:
    """Name and source of `NAME=SOURCE`; the name is None where the entry is a source alone, such as a folder's path."""
    name, separator, source = entry.partition("=")
    if not separator or Path(entry).expanduser().is_dir():
        return None, entry
    return name, source


_List = (NoDecode, BeforeValidator(_items), Field(max_length=_MAX_LIST_ITEMS))

Atoms = Annotated[int, BeforeValidator(_atoms)]
ChecksumAddress = Annotated[str, AfterValidator(_address)]
Rate = Annotated[str, AfterValidator(_rate)]
ModelName = Annotated[str, AfterValidator(_model_name)]
Url = Annotated[str, AfterValidator(_url)]
RayAddress = Annotated[str, AfterValidator(_ray_address)]
ModelNames = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_model_name))]
ModelEntries = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_items),
    Field(min_length=1, max_length=MAX_MODELS),
    AfterValidator(_each(_model_entry)),
]
PriceEntries = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_price_entry))]
Sizes = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_size))]
HubUrls = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_hub_url)), AfterValidator(_once)]
Origins = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_origin))]
Networks = Annotated[tuple[str, ...], *_List, AfterValidator(_each(_network))]

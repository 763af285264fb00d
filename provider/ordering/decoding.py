"""JSON that somebody calls a provider's answer, read under bounds into types."""

from typing import Annotated, Final, TypeVar

import msgspec

from chain.primitives.strict_json import count_containers
from provider.ordering.errors import ProviderUnavailable, printable

T = TypeVar("T")

MAX_CONTAINERS: Final = 16_384
"""Arrays and objects in an answer; a page of 200 receipts with all their shards has fewer."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number that can be shown and divided: JSON's own may have thousands of digits."""


def decode_json(content: bytes, kind: type[T]) -> T:
    """The object; raises ProviderUnavailable for anything else."""
    if count_containers(content) > MAX_CONTAINERS:
        raise ProviderUnavailable("what answered is no AITBC provider: too many arrays and objects")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        complaint = f"what answered is no AITBC provider, or too new for this client: {printable(str(error))}"
        raise ProviderUnavailable(complaint) from None

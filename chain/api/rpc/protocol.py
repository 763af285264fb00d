"""JSON-RPC 2.0 in bytes: requests and batches decoded within bounds, responses encoded.

A request is decoded by types of bounded depth, never into just anything: a library that the process may have loaded
lifts Python's limit of recursion, and a document of a hundred thousand brackets would end the process.
"""

from typing import Any, Final, TypeVar

import msgspec

from chain.api.rpc.errors import INVALID_PARAMETERS, INVALID_REQUEST, PARSE_ERROR, RpcError
from chain.primitives.strict_json import count_containers

T = TypeVar("T")

VERSION: Final = "2.0"
MAX_BATCH_CALLS: Final = 1_000
"""As geth; ethers sends 100 at the most unless told otherwise."""
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""A batch of 100 transactions with room: a plain transfer takes 300 characters, the largest transaction 65,600."""
MAX_RESPONSE_BYTES: Final = 25 * 1024 * 1024
"""As geth: once a batch has come to this, the rest of it is refused."""
_MAX_CONTAINERS: Final = 16_384
_MAX_COMMAS: Final = 65_536
"""Two megabytes of `{},` become objects for half a second, in which nothing else happens in the process. The largest
batch of the busiest calls has 9,000 containers; what fills a body honestly is hashes and transactions."""
_UNCOUNTED_BYTES: Final = 8 * 1024

# What a parameter may hold, six containers deep: state overrides, which are refused by name, need four.
_Scalar = bool | int | float | str | None
_Depth1 = bool | int | float | str | None | list[_Scalar] | dict[str, _Scalar]
_Depth2 = bool | int | float | str | None | list[_Depth1] | dict[str, _Depth1]
_Depth3 = bool | int | float | str | None | list[_Depth2] | dict[str, _Depth2]
_Depth4 = bool | int | float | str | None | list[_Depth3] | dict[str, _Depth3]
_Depth5 = bool | int | float | str | None | list[_Depth4] | dict[str, _Depth4]
_Depth6 = bool | int | float | str | None | list[_Depth5] | dict[str, _Depth5]

CallId = int | float | str | None


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One request. Members that the standard does not know take the slower way of `_read_call`."""

    method: str
    jsonrpc: str
    id: CallId | msgspec.UnsetType = msgspec.UNSET
    params: list[_Depth5] | dict[str, _Depth5] | None = None

    @property
    def is_notification(self) -> bool:
        """Whether nobody waits for an answer; who names no version is told, as by geth."""
        return self.id is msgspec.UNSET and self.jsonrpc == VERSION


class InvalidCall(msgspec.Struct, frozen=True, gc=False):
    """Something in a batch that is no request; its id, where it has one."""

    id: CallId = None


class _Success(msgspec.Struct, frozen=True, gc=False):
    jsonrpc: str
    id: CallId | msgspec.UnsetType
    result: Any


class _ErrorObject(msgspec.Struct, frozen=True, gc=False):
    code: int
    message: str
    data: Any = msgspec.UNSET


class _Failure(msgspec.Struct, frozen=True, gc=False):
    jsonrpc: str
    id: CallId
    error: _ErrorObject


_decode_call: Final = msgspec.json.Decoder(Call).decode
_decode_calls: Final = msgspec.json.Decoder(list[Call]).decode
_decode_anything: Final = msgspec.json.Decoder(_Depth6).decode
_encode: Final = msgspec.json.Encoder().encode


Request = Call | InvalidCall | list[Call | InvalidCall]


def decode_request(body: bytes) -> Request:
    """One call, or a batch of them; raises RpcError where the whole is neither."""
    if len(body) > _UNCOUNTED_BYTES:
        _check_values(body)
    try:
        if body.lstrip()[:1] == b"[":
            return _check_batch(list(_decode_calls(body)))
        return _decode_call(body)
    except msgspec.ValidationError:
        return _read_slowly(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RpcError(PARSE_ERROR, f"parse error: {error}") from None


def _check_values(body: bytes) -> None:
    """Bounds how many objects a body becomes, before it does; what stands in strings counts too, and hardly matters."""
    if count_containers(body) > _MAX_CONTAINERS or body.count(b",") > _MAX_COMMAS:
        raise RpcError(INVALID_REQUEST, "invalid request: too many values")


def _read_slowly(body: bytes) -> Request:
    """The same for a body in which not everything is a call as it should be."""
    try:
        anything = _decode_anything(body)
    except msgspec.ValidationError:  # Deeper than any call, or a number without bounds.
        raise RpcError(INVALID_REQUEST, "invalid request: nested too deep, or a number too large") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RpcError(PARSE_ERROR, f"parse error: {error}") from None
    if isinstance(anything, list):
        return [_read_call(each) for each in _check_batch(anything)]
    return _read_call(anything)


def _check_batch(calls: list[T]) -> list[T]:
    if not calls:
        raise RpcError(INVALID_REQUEST, "empty batch")
    if len(calls) > MAX_BATCH_CALLS:
        raise RpcError(INVALID_REQUEST, f"batch too large: at most {MAX_BATCH_CALLS} calls")
    return calls


def _read_call(anything: object) -> Call | InvalidCall:
    if not isinstance(anything, dict):
        return InvalidCall()
    call_id = anything.get("id", msgspec.UNSET)
    if isinstance(call_id, bool | list | dict):
        return InvalidCall()
    method, parameters = anything.get("method"), anything.get("params")
    if not isinstance(method, str) or not isinstance(parameters, list | dict | None):
        return InvalidCall(None if call_id is msgspec.UNSET else call_id)
    version = anything.get("jsonrpc")
    return Call(method, version if isinstance(version, str) else "", call_id, parameters)


def check_call(call: Call) -> list[Any]:
    """The positional parameters; raises RpcError where the call is not of this version, or names its parameters."""
    if call.jsonrpc != VERSION:
        raise RpcError(INVALID_REQUEST, 'invalid request: "jsonrpc" must be "2.0"')
    parameters = call.params
    if isinstance(parameters, dict):
        raise RpcError(INVALID_PARAMETERS, "non-array args: parameters are given by position")
    return [] if parameters is None else parameters


def encode_result(call_id: CallId | msgspec.UnsetType, result: Any) -> bytes:
    """The response to a call that went well."""
    return _encode(_Success(VERSION, call_id, result))


def encode_error(call_id: CallId | msgspec.UnsetType, error: RpcError) -> bytes:
    """The response to one that did not."""
    data = msgspec.UNSET if error.data is None else error.data
    shown_id = None if call_id is msgspec.UNSET else call_id
    return _encode(_Failure(VERSION, shown_id, _ErrorObject(error.code, error.message, data)))


def encode_batch(responses: list[bytes]) -> bytes:
    """The response to a batch."""
    return b"[" + b",".join(responses) + b"]"

"""Finds out who asks: by the plan's `api_key` in the body, by Bearer token, or by HTTP Basic.

Wrong keys are counted per network address. An address that has tried too many is refused whatever key it brings, right
or wrong, so that it cannot find one; but for keys that have come from there before: those who share an address with
such a stranger, behind one router or proxy, go on. A caller is known before anything else of the request is looked at,
so that a stranger learns nothing from it.
"""

import re
from collections import OrderedDict
from typing import Annotated, Any, Final

import limits
from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from slowapi import Limiter
from slowapi.util import get_remote_address
from starlette.exceptions import HTTPException
from starlette.types import Scope

from chain.web.problems import Problem, problem_of_status
from provider.api_keys import MAX_SECRET_CHARACTERS, ApiKeys, Caller

_RETRY_S: Final = 60
_MAX_KNOWN_ADDRESSES: Final = 16_384
"""Pairs of a key and an address that it came from; the one that was seen longest ago is forgotten first."""
_KEY_IN_JSON: Final = re.compile(
    rb'"api_key"\s{0,16}:\s{0,16}"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,%d})"' % MAX_SECRET_CHARACTERS
)
"""The plan's key, where it has neither escapes nor other than ASCII characters. A string that holds such words has
backslashes in between."""
_BEARER: Final = HTTPBearer(auto_error=False, description="An API key of this provider.")
_BASIC: Final = HTTPBasic(auto_error=False, description="Name and secret of an API key.")

BearerCredentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
BasicCredentials = Annotated[HTTPBasicCredentials | None, Security(_BASIC)]


class Guard:
    """Dependencies of routes; each gives the Caller or raises a Problem: 401, or 429 after too many wrong keys."""

    def __init__(self, api_keys: ApiKeys, failed_login_limit: str) -> None:
        self._api_keys = api_keys
        self._limiter = Limiter(key_func=get_remote_address)
        self._failed_logins = limits.parse(failed_login_limit)
        self._came_from: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Names of keys, and the addresses that they came from lately, the latest last."""

    async def by_body(self, request: Request) -> Caller | None:
        """`api_key` in the JSON body; None where the body has none of the right type, which its schema refuses then."""
        body: Any = await request.json()
        secret = body.get("api_key") if isinstance(body, dict) else None
        return self.find(secret, _address_of(request), "api_key") if isinstance(secret, str) else None

    async def by_bearer(self, request: Request, bearer: BearerCredentials) -> Caller:
        """`Authorization: Bearer <api key>`."""
        if bearer is None or not bearer.credentials.strip():
            raise _missing("Bearer")
        return self.find(bearer.credentials.strip(), _address_of(request), "Authorization")

    async def by_bearer_if_any(self, request: Request, bearer: BearerCredentials) -> Caller | None:
        """As `by_bearer`; None without the header, for what a signed link may open too."""
        return None if bearer is None else await self.by_bearer(request, bearer)

    async def by_basic_or_bearer(self, request: Request, basic: BasicCredentials, bearer: BearerCredentials) -> Caller:
        """HTTP Basic with the key's name as user and its secret as password, or Bearer."""
        if basic is None:
            if bearer is None:
                raise _missing("Basic")
            return await self.by_bearer(request, bearer)
        return self._find(basic.password, _address_of(request), "Authorization", name=basic.username)

    def find(self, secret: str, address: str, field: str) -> Caller:
        """The caller of a secret that came from a network address; raises Problem, which names `field`."""
        return self._find(secret, address, field)

    # Who sends a large body, before it is read

    async def recognise_bearer(self, scope: Scope, _beginning: bytes) -> bool:
        """True with a right Bearer token; raises Problem without one."""
        request = Request(scope)
        await self.by_bearer(request, await _BEARER(request))
        return True

    async def recognise_basic_or_bearer(self, scope: Scope, _beginning: bytes) -> bool:
        """True with either; raises Problem without."""
        request = Request(scope)
        try:
            basic = await _BASIC(request)
        except HTTPException as error:
            raise problem_of_status(error.status_code, error.headers) from None
        await self.by_basic_or_bearer(request, basic, await _BEARER(request))
        return True

    async def recognise_by_body(self, scope: Scope, beginning: bytes) -> bool:
        """Whether a right `api_key` stands in the body's beginning, as all clients of the plan send it.

        Raises Problem for a wrong one. A key that stands behind the picture is found later, by `by_body`.
        """
        found = _KEY_IN_JSON.search(beginning)
        if found is None:
            return False
        self.find(found[1].decode("ascii"), _address_of(Request(scope)), "api_key")
        return True

    # Who it is, and who tries too often

    def _find(self, secret: str, address: str, field: str, *, name: str | None = None) -> Caller:
        is_suspect = not self._limiter.limiter.test(self._failed_logins, "failed-login", address)
        caller = self._caller_of(secret, name)
        if caller is not None and (not is_suspect or (caller.name, address) in self._came_from):
            self._remember(caller, address)
            return caller
        # The same answer for a right key from a suspect address as for a wrong one.
        if is_suspect or not self._limiter.limiter.hit(self._failed_logins, "failed-login", address):
            headers = {"Retry-After": str(_RETRY_S)}
            raise Problem(429, "rate_limited", "too many wrong API keys", field=field, headers=headers)
        challenge = {"WWW-Authenticate": "Bearer"} if field == "Authorization" else None
        raise Problem(401, "invalid_api_key", "this API key is not known", field=field, headers=challenge)

    def _caller_of(self, secret: str, name: str | None) -> Caller | None:
        if len(secret) > MAX_SECRET_CHARACTERS:
            return None
        return self._api_keys.find(secret) if name is None else self._api_keys.find_named(name, secret)

    def _remember(self, caller: Caller, address: str) -> None:
        self._came_from[caller.name, address] = None
        self._came_from.move_to_end((caller.name, address))
        if len(self._came_from) > _MAX_KNOWN_ADDRESSES:
            self._came_from.popitem(last=False)


def _address_of(request: Request) -> str:
    return get_remote_address(request)


def _missing(scheme: str) -> Problem:
    detail = "send the header Authorization: Bearer <api key>"
    headers = {"WWW-Authenticate": scheme if scheme == "Bearer" else 'Basic realm="aitbc"'}
    return Problem(401, "missing_api_key", detail, field="Authorization", headers=headers)

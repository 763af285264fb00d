"""Finds out who asks: by the plan's `api_key` in the body, by Bearer token, or by HTTP Basic.

Wrong keys are counted per network address. A caller is known before anything else of the request is looked at, so
that a stranger learns nothing from it.
"""

from typing import Annotated, Any, Final

import limits
from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from slowapi import Limiter
from slowapi.util import get_remote_address

from chain.web.problems import Problem
from provider.api_keys import MAX_SECRET_CHARACTERS, ApiKeys, Caller

_RETRY_S: Final = 60
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
        caller = None
        if len(basic.password) <= MAX_SECRET_CHARACTERS:
            caller = self._api_keys.find_named(basic.username, basic.password)
        return caller or self._refuse(_address_of(request), "Authorization")

    def find(self, secret: str, address: str, field: str) -> Caller:
        """The caller of a secret that came from a network address; raises Problem, which names `field`."""
        caller = self._api_keys.find(secret) if len(secret) <= MAX_SECRET_CHARACTERS else None
        return caller or self._refuse(address, field)

    def _refuse(self, address: str, field: str) -> Caller:
        if not self._limiter.limiter.hit(self._failed_logins, "failed-login", address):
            headers = {"Retry-After": str(_RETRY_S)}
            raise Problem(429, "rate_limited", "too many wrong API keys", field=field, headers=headers)
        challenge = {"WWW-Authenticate": "Bearer"} if field == "Authorization" else None
        raise Problem(401, "invalid_api_key", "this API key is not known", field=field, headers=challenge)


def _address_of(request: Request) -> str:
    return get_remote_address(request)


def _missing(scheme: str) -> Problem:
    detail = "send the header Authorization: Bearer <api key>"
    headers = {"WWW-Authenticate": scheme if scheme == "Bearer" else 'Basic realm="aitbc"'}
    return Problem(401, "missing_api_key", detail, field="Authorization", headers=headers)

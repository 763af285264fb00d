"""Routes that answer errors in the shape that another API's clients read, instead of our problem bodies."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chain.primitives.rejection import Rejected
from chain.web.problems import Problem, problem_of_rejection, problem_of_status, problem_of_validation
from chain.web.strict_json import StrictJsonRoute
from provider.errors import ProviderError
from provider.http.problems import problem_of


class TranslatedRoute(StrictJsonRoute):
    """A route whose errors, those of its dependencies included, go through `translate`."""

    @staticmethod
    def translate(problem: Problem) -> Response:
        """The response for a problem; each API has its own."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The strict handler, with its errors translated."""
        handler = super().get_route_handler()

        async def translating_handler(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                return self.translate(problem)
            except ProviderError as error:
                return self.translate(problem_of(error))
            except Rejected as rejected:
                return self.translate(problem_of_rejection(rejected))
            except RequestValidationError as error:
                return self.translate(problem_of_validation(error.errors()))
            except HTTPException as error:
                return self.translate(problem_of_status(error.status_code, error.headers))

        return translating_handler

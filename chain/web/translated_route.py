"""Routes that answer errors in the shape that another API's clients read, instead of our problem bodies."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chain.primitives.rejection import Rejected
from chain.web.problems import Problem, problem_of_rejection, problem_of_status, problem_of_validation
from chain.web.strict_json import StrictJsonRoute


class TranslatedRoute(StrictJsonRoute):
    """A route whose errors, those of its dependencies included, go through `translate`."""

    @staticmethod
    def translate(problem: Problem) -> Response:
        """The response for a problem; each API has its own."""
        raise NotImplementedError

    @staticmethod
    def problem_of_own(error: Exception) -> Problem | None:
        """The problem for an error of the service itself; None for what is a fault of the program."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The strict handler, with its errors translated."""
        handler = super().get_route_handler()

        async def translating_handler(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                problem = _problem_of(error) or self.problem_of_own(error)
                if problem is None:
                    raise
                return self.translate(problem)

        return translating_handler


def _problem_of(error: Exception) -> Problem | None:
    """Of what every service raises, as `add_problem_handlers` has it."""
    match error:
        case Problem():
            return error
        case Rejected():
            return problem_of_rejection(error)
        case RequestValidationError():
            return problem_of_validation(error.errors())
        case HTTPException():
            return problem_of_status(error.status_code, error.headers)
    return None

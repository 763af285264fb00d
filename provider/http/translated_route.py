"""Routes of other APIs' shapes: a provider's own errors are translated as well."""

from chain.web.problems import Problem
from chain.web.translated_route import TranslatedRoute as AnyTranslatedRoute
from provider.errors import ProviderError
from provider.http.problems import problem_of


class TranslatedRoute(AnyTranslatedRoute):
    """Each API says how with `translate`."""

    @staticmethod
    def problem_of_own(error: Exception) -> Problem | None:
        """A provider says no by its errors."""
        return problem_of(error) if isinstance(error, ProviderError) else None

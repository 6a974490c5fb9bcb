"""Headers that keep browsers from making more of an answer than it is."""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from quetz.settings import Settings
from quetz.settings.sections import Cors
from quetz.web.representations import CSP

RawHeaders = list[tuple[bytes, bytes]]

# Of what is no page. A page brings a policy of its own, which stays.
_ALWAYS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (
        CSP,
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),  # an address may hold a token
    (b"cross-origin-resource-policy", b"same-origin"),
]
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
_EXPOSED = (
    "ETag",
    "Quetz-Change",
    "Quetz-Index",
    "Quetz-Yanked",
    "Retry-After",
    "WWW-Authenticate",
)
_FOR_ONE_CALLER = (b"cache-control", b"private, no-store")


class Safety:
    """Adds the headers that an answer lacks."""

    def __init__(self, settings: Settings) -> None:
        self._of_files = [*_ALWAYS, _HTTPS_ONLY] if settings.session.https_only else [*_ALWAYS]
        self._of_others = [*self._of_files, _FOR_ONE_CALLER]

    def add(self, headers: Iterable[tuple[bytes, bytes]], path: str) -> RawHeaders:
        """Return the headers of an answer with ours; what depends on the caller is not kept."""
        theirs = [*headers]
        names = dict(theirs)
        if path.startswith("/get/") and CSP not in names:
            return theirs + self._of_files  # files come without any of them
        return theirs + [header for header in self._of_others if header[0] not in names]

    def behind_cors(self, app: ASGIApp, cors: Cors) -> ASGIApp:
        """Let pages of the origins in the settings read what the app answers."""
        return _CrossOrigin(self, app, cors) if cors.allow_origins else app


class _CrossOrigin(CORSMiddleware):
    def __init__(self, safety: Safety, app: ASGIApp, cors: Cors) -> None:
        super().__init__(
            app,
            allow_origins=cors.allow_origins,
            allow_methods=cors.allow_methods,
            allow_headers=cors.allow_headers,
            allow_credentials=cors.allow_credentials,
            expose_headers=_EXPOSED,
        )
        self._safety = safety

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        response.raw_headers = self._safety.add(response.raw_headers, "")
        return response

"""The frontend: files of one folder, for every address that is nobody else's."""

from mimetypes import MimeTypes
from pathlib import Path
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from quetz.deployment import Deployment
from quetz.errors import BadConfig
from quetz.settings.sections import OWN_PATHS
from quetz.web.errors import problem
from quetz.web.markup import welcome
from quetz.web.representations import Representation, respond
from quetz.web.traffic import ROUTE

PAGE = "index.html"
ROUTE_NAME = "/{page}"
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; "
    "font-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
)
ASSET_SECONDS = 300

# Without the tables of the machine, which differ from one to the next.
_TYPES = MimeTypes()
for suffix, media_type in {
    ".js": "text/javascript",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}.items():
    _TYPES.add_type(media_type, suffix)


def frontend_folder(deployment: Deployment) -> Path | None:
    """Return the folder that the settings name, or None.

    Raises:
        BadConfig: it holds no page to begin with.
    """
    named = deployment.settings.general.frontend_dir
    if not named:
        return None
    folder = (deployment.path / named).resolve()
    if not (folder / PAGE).is_file():
        raise BadConfig(f"[general] frontend_dir: '{folder}' holds no {PAGE}; build the frontend")
    return folder


class Frontend:
    """Answers what no route does: with a file, with the first page, or with 404."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = None
        if scope["method"] in {"GET", "HEAD"}:
            path = scope["raw_path"].decode("latin-1").removeprefix(scope.get("root_path", ""))
            found = await run_in_threadpool(self._find, path)
        if found is None:
            await problem(404, "Not Found")(scope, receive, send)
            return
        scope[ROUTE] = ROUTE_NAME
        await respond(found, dict(scope["headers"]), scope, receive, send)

    def _find(self, path: str) -> Representation | None:
        """Return what to answer with; ``path`` is as it was sent, and decoded here once."""
        parts = [unquote(part) for part in path.split("/")[1:]]
        if parts[0] in OWN_PATHS:  # a wrong one is told so, and not answered with a page
            return None
        if self._folder is None:
            return welcome() if parts == [""] else None
        if "." not in parts[-1]:
            parts = [PAGE]
        if not all(map(_is_name, parts)):
            return None
        file = self._folder.joinpath(*parts)
        try:
            # Links may lead on within the folder, and never out of it.
            if not file.resolve(strict=True).is_relative_to(self._folder) or not file.is_file():
                return None
            return _represent(file)
        except OSError:
            return None


def _is_name(part: str) -> bool:
    """Tell whether a part of an address is the name of a file or folder that may be seen."""
    return part != "" and not part.startswith(".") and not set(part) & set("/\\\0")


def _represent(file: Path) -> Representation:
    status = file.stat()
    media_type = _TYPES.guess_type(file.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    is_page = file.name == PAGE
    return Representation(
        body=file,
        size=status.st_size,
        etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"'.encode(),
        media_type=media_type,
        cache_control="no-cache" if is_page else f"public, max-age={ASSET_SECONDS}",
        modified=status.st_mtime_ns // 1_000_000,
        policy=POLICY,
    )

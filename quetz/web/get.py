"""The hot path: index files and packages below ``/get/``, in pure ASGI."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool

from quetz.conda.filenames import PackageFilename
from quetz.conda.names import is_subdir
from quetz.conda.notices import encode_notices
from quetz.db.models import File
from quetz.db.queries.channels import get_channel
from quetz.db.queries.files import find_file
from quetz.deployment import Deployment
from quetz.errors import BadFilename, FileNotFound, QuetzError, StoreUnavailable
from quetz.services.permissions import Operation, Principal, authorize_path
from quetz.services.publishing import (
    CHANNEL_WIDE,
    Published,
    Switch,
    list_published,
    mark_for_rebuild,
)
from quetz.storage.keys import object_key
from quetz.web.authentication import ReadCache
from quetz.web.channel_pages import channel_page, subdir_page
from quetz.web.errors import problem
from quetz.web.index_forms import (
    CHANNEL_FORMS,
    JSON,
    SUBDIR_FORMS,
    FileGone,
    Form,
    IndexForms,
    Place,
    accepted_encodings,
)
from quetz.web.proxies import Redirects
from quetz.web.representations import (
    PACKAGE_SECONDS,
    Receive,
    Representation,
    Scope,
    Send,
    respond,
)

_log = logging.getLogger("quetz.web")

LONGEST_CHANNEL_NAME = 50
SHARD = re.compile(r"([0-9a-f]{64})\.msgpack\.zst")


@dataclass(frozen=True)
class _Channel:
    id: int
    audience: str
    created_at: int

    def place(self, subdir: str) -> Place:
        return Place(self.id, subdir, self.audience, self.created_at)


class Downloads:
    """Answers GET and HEAD of ``/get/{channel}/...``."""

    def __init__(self, deployment: Deployment, cache: ReadCache) -> None:
        self._deployment = deployment
        self._cache = cache
        self._forms = IndexForms(deployment.store, deployment.restored_at)
        self._redirects = Redirects(deployment)

    async def __call__(  # noqa: PLR0917  the three of ASGI, and what the front found out
        self,
        path: str,
        principal: Principal,
        headers: Mapping[bytes, bytes],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Raises FileNotFound, or as ``authorize`` does, before anything is sent."""
        if scope["method"] not in {"GET", "HEAD"}:
            await problem(405, "Method Not Allowed", {"Allow": "GET, HEAD"})(scope, receive, send)
            return
        # What was found is kept under what decided on it; what raises is not, nor are pages.
        entries = self._cache.entries()
        accepted = accepted_encodings(headers.get(b"accept-encoding", b""))
        key = (path, accepted, principal)
        found: Any = entries.get(key)
        if found is None:
            found = await self._find(path, principal, accepted)
            if not found.policy:
                entries[key] = found
        elsewhere = self._redirects.find(found, scope)
        complete = await respond(found, headers, scope, receive, send, elsewhere)
        if complete and found.file_id is not None:
            self._deployment.tallies.count_download(found.file_id)

    async def _find(
        self, path: str, principal: Principal, accepted: frozenset[str]
    ) -> Representation:
        # Each part is decoded once, and must then be a name by its own strict rule: nothing
        # of a URL ever becomes a path in the store.
        name, *parts = [unquote(part) for part in path.split("/")[2:]]
        if _is_page(parts):
            return await self._page(name, parts, principal)
        channel = await self._channel(name, principal)
        match parts:
            case ["notices.json"]:
                return _notices(channel)
            case [form] if form in CHANNEL_FORMS:
                return await self._index(channel, CHANNEL_WIDE, CHANNEL_FORMS[form], accepted)
            case [subdir, form] if form in SUBDIR_FORMS and is_subdir(subdir):
                return await self._index(channel, subdir, SUBDIR_FORMS[form], accepted)
            case [subdir, filename] if is_subdir(subdir):
                return await self._package(channel, subdir, filename)
            case [subdir, "shards", shard] if is_subdir(subdir) and SHARD.fullmatch(shard):
                return await self._shard(channel, subdir, shard)
        raise FileNotFound("/".join([name, *parts]))

    async def _page(self, name: str, parts: list[str], principal: Principal) -> Representation:
        def load() -> Representation:
            with self._deployment.transaction() as session:
                authorize_path(session, principal, Operation.CHANNEL_INDEX_HTML, name, None)
                channel = get_channel(session, name)
                if parts and is_subdir(parts[0]):
                    return subdir_page(session, channel, parts[0], is_folder=len(parts) == 2)
                return channel_page(session, channel, is_folder=bool(parts))

        return await run_in_threadpool(load)

    async def _channel(self, name: str, principal: Principal) -> _Channel:
        def load() -> _Channel | QuetzError:
            with self._deployment.transaction() as session:
                try:
                    authorize_path(session, principal, Operation.CHANNEL_REPODATA, name, None)
                    channel = get_channel(session, name)
                except QuetzError as error:
                    return error
                audience = "private" if channel.private else "public"
                return _Channel(channel.id, audience, channel.created_at)

        if len(name) > LONGEST_CHANNEL_NAME:
            outcome = load()  # refused without a query; and nothing a client makes up is kept
        else:
            outcome = await self._cache.get(("channel", name, principal), load)
        if isinstance(outcome, QuetzError):
            raise outcome.with_traceback(None)  # or each request would lengthen it
        return outcome

    async def _index(
        self, channel: _Channel, subdir: str, form: Form, accepted: frozenset[str]
    ) -> Representation:
        place = channel.place(subdir)
        switch = Switch(channel.id, subdir, form.family)
        for fresh in (False, True):
            published = (await self._published(channel, fresh=fresh)).get(switch)
            if published is None:
                return self._forms.empty(place, form, accepted)
            file = form.file_of(published.files)
            try:
                return await self._forms.published(
                    place, form, file, published.published_at, accepted
                )
            except FileGone:
                continue  # the switch may have flipped, and its old files gone, meanwhile
        _log.error("a published file of %s is missing or torn; rebuilding", switch)
        await run_in_threadpool(self._mark_for_rebuild, switch)
        raise StoreUnavailable("an index is being rebuilt")

    def _mark_for_rebuild(self, switch: Switch) -> None:
        with self._deployment.transaction(write=True) as session:
            mark_for_rebuild(session, switch)

    async def _published(self, channel: _Channel, *, fresh: bool) -> dict[Switch, Published]:
        def load() -> dict[Switch, Published]:
            with self._deployment.transaction() as session:
                return list_published(session, channel.id)

        if fresh:
            return await run_in_threadpool(load)
        return await self._cache.get(("index", channel.id), load)

    async def _shard(self, channel: _Channel, subdir: str, shard: str) -> Representation:
        try:
            return await self._forms.shard(channel.place(subdir), shard.partition(".")[0])
        except FileGone:
            raise FileNotFound(f"{subdir}/shards/{shard}") from None

    async def _package(self, channel: _Channel, subdir: str, filename: str) -> Representation:
        def load() -> Representation | None:
            try:
                name = PackageFilename.parse(filename).name
            except BadFilename:  # raised, so that nothing a client makes up is kept
                raise FileNotFound(f"{subdir}/{filename}") from None
            with self._deployment.transaction() as session:
                file = find_file(session, channel.id, subdir, name, filename)
            return None if file is None else self._represent(channel, file)

        package = await self._cache.get(("file", channel.id, subdir, filename), load)
        if package is None:
            raise FileNotFound(f"{subdir}/{filename}")
        return package

    def _represent(self, channel: _Channel, file: File) -> Representation:
        key = object_key(file.sha256)
        path = self._deployment.store.path(key)
        if path is None or self._deployment.store.size(key) != file.size:
            raise StoreUnavailable(f"the bytes of '{file.filename}' are missing or damaged")
        return Representation(
            body=path,
            size=file.size,
            etag=f'"{file.sha256}"'.encode(),
            media_type="application/octet-stream",
            cache_control=f"{channel.audience}, max-age={PACKAGE_SECONDS}",
            # Between a backup and its restore there may have been other bytes, of a later date.
            modified=max(file.uploaded_at, self._deployment.restored_at),
            attachment=True,
            file_id=file.id,
        )


def _is_page(parts: list[str]) -> bool:
    """Tell whether the rest of an address names the page of a channel or of a subdir."""
    match parts:
        case [] | ["" | "index.html"]:
            return True
        case [subdir] | [subdir, "" | "index.html"]:
            return is_subdir(subdir)
    return False


def _notices(channel: _Channel) -> Representation:
    body = encode_notices()
    return Representation(
        body=body,
        size=len(body),
        etag=b'"no-notices"',
        media_type=JSON,
        cache_control=f"{channel.audience}, max-age=60",
        modified=channel.created_at,
    )

"""Uploads: one raw file, or a form of several; both end in the same service."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from quetz.conda.filenames import PackageFilename
from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.errors import ChannelNotFound
from quetz.services import objects, quotas
from quetz.services import uploads as service
from quetz.services.patches import check_patches
from quetz.services.permissions import Operation, Principal
from quetz.services.publishing import marks_of
from quetz.services.uploads import Outcome
from quetz.storage.keys import object_key
from quetz.web.authentication import authenticate_again
from quetz.web.bodies import BadForm, MultipartSink, RawSink, Sink, receive
from quetz.web.deps import Caller, DeploymentDep
from quetz.web.guard import GuardedRouter, StreamedRoute, declares
from quetz.web.index_waits import WAITS_FOR_INDEX, leave_marks

# Bodies are streamed and counted here, against the limits of settings and quotas.
router = GuardedRouter(tags=["uploads"], route_class=StreamedRoute, max_body_size=None)

Sha256 = Annotated[str | None, Query(pattern="^[0-9a-fA-F]{64}$")]
S = TypeVar("S", bound=Sink)
RAW_BODY = {
    "required": True,
    "description": "The bytes of the package.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
FORM_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "description": "Packages, each with its file name.",
                    },
                    "force": {"type": "string", "enum": ["true", "false"]},
                },
            }
        }
    },
}
# The answer is written by hand, for it may be either.
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The same bytes were there already; nothing was changed. "
        "`Quetz-Yanked: true` says that a file is yanked: no index offers it until it is restored",
        "content": {"application/json": {"schema": {"type": "null"}}},
    },
    201: {
        "description": "Stored. `ETag` is the SHA-256, `Quetz-Change` the number of the change",
        "content": {"application/json": {"schema": {"type": "null"}}},
    },
}
OTHER_PACKAGE: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "A file is of another package",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
}
FLAGS = {"true": True, "1": True, "on": True, "false": False, "0": False, "": False}


@router.post(
    "/api/channels/{channel}/upload/{filename}",
    status_code=201,
    responses=ANSWERS,
    dependencies=[WAITS_FOR_INDEX],
    **declares(Operation.FILE_UPLOAD, requestBody=RAW_BODY),
)
async def upload_file(
    request: Request,
    channel: str,
    filename: str,
    deployment: DeploymentDep,
    caller: Caller,
    force: bool = False,
    sha256: Sha256 = None,
) -> Response:
    """Add one package file; the body is its bytes, with or without a Content-Length."""
    PackageFilename.parse(filename)
    upload = _Upload(deployment, caller, channel)
    async with upload.room(request, filename) as room:
        with _discarding(RawSink(deployment.store, filename)) as sink:
            await receive(request, sink, limit=room.limit)
            upload = replace(upload, caller=await authenticate_again(request))
            kept = await run_in_threadpool(upload.keep, sink, room, force, sha256)
    return answer(request, kept)


@router.post(
    "/api/channels/{channel}/files/",
    status_code=201,
    responses=ANSWERS,
    dependencies=[WAITS_FOR_INDEX],
    **declares(Operation.FILE_UPLOAD_ANY, requestBody=FORM_BODY),
)
async def upload_files(
    request: Request, channel: str, deployment: DeploymentDep, caller: Caller
) -> Response:
    """Add the package files of a multipart form: all of them, or none.

    The field ``force`` may be true to replace files of the same names.
    """
    return await _take_form(request, _Upload(deployment, caller, channel))


@router.post(
    "/api/channels/{channel}/packages/{package}/files/",
    status_code=201,
    responses={**ANSWERS, **OTHER_PACKAGE},
    dependencies=[WAITS_FOR_INDEX],
    **declares(Operation.FILE_UPLOAD, requestBody=FORM_BODY),
)
async def upload_files_of_package(
    request: Request, channel: str, package: str, deployment: DeploymentDep, caller: Caller
) -> Response:
    """Add files of one package that the channel has already, by a form as for the channel."""
    upload = _Upload(deployment, caller, channel, package)
    await run_in_threadpool(upload.check_package, ())
    return await _take_form(request, upload)


async def _take_form(request: Request, upload: "_Upload") -> Response:
    content_type = request.headers.get("content-type", "")
    async with upload.room(request) as room:
        with _discarding(MultipartSink(upload.deployment.store, content_type)) as sink:
            await receive(request, sink, limit=room.limit)
            force = sink.fields.get("force", "").lower()
            if force not in FLAGS:
                raise BadForm("field 'force' must be true or false")
            upload = replace(upload, caller=await authenticate_again(request))
            kept = await run_in_threadpool(upload.keep, sink, room, FLAGS[force])
    return answer(request, kept)


@dataclass(frozen=True)
class _Room:
    limit: int
    reservation: str | None


@dataclass(frozen=True)
class Kept:
    """What became of the files, and the marks that the index still has to show."""

    outcomes: list[Outcome]
    marks: list[int]


@dataclass(frozen=True)
class _Upload:
    deployment: Deployment
    caller: Principal
    channel: str
    package: str | None = None  # of which all files must be

    def check_package(self, filenames: Sequence[str]) -> None:
        if self.package is not None:
            with self.deployment.transaction() as session:
                service.check_package(session, self.channel, self.package, filenames)

    @asynccontextmanager
    async def room(self, request: Request, filename: str | None = None) -> AsyncIterator[_Room]:
        """Find room for the body, and hold it if the channel has a quota."""
        length = request.headers.get("content-length")
        declared = int(length) if length is not None and length.isdecimal() else None
        room = await run_in_threadpool(self._find_room, declared, filename)
        try:
            yield room
        except BaseException:
            if room.reservation is not None:
                await run_in_threadpool(self._release, room.reservation)
            raise

    def _find_room(self, declared: int | None, filename: str | None) -> _Room:
        limit = self.deployment.settings.limits.upload_size
        with self.deployment.transaction() as session:
            plan = quotas.plan(
                session, self.channel, declared=declared, limit=limit, filename=filename
            )
        if not plan.reserves:
            return _Room(plan.limit, None)
        with self.deployment.transaction(write=True) as session:
            room = _Room(plan.limit, quotas.reserve(session, self.channel, plan.reserves))
        crashpoint("upload.reserved")
        return room

    def _release(self, reservation: str) -> None:
        with self.deployment.transaction(write=True) as session:
            try:
                quotas.release(session, self.channel, reservation)
            except ChannelNotFound:
                return  # it went with its channel

    def keep(self, sink: Sink, room: _Room, force: bool, sha256: str | None = None) -> Kept:
        """Check what was received, put it in the store, then record it: in this order.

        A crash after the store has the bytes leaves an object that nothing names; a row
        without its bytes can never be.
        """
        deployment = self.deployment
        staged = sink.finish()
        crashpoint("upload.received")
        names = [name for name, _ in staged]
        self.check_package(names)
        with deployment.transaction() as session:
            service.authorize_files(session, self.caller, self.channel, names)
        received = service.check_received(staged, sha256)
        check_patches(self.channel, staged)
        with deployment.transaction() as session:
            service.check_names(
                session,
                self.caller,
                self.channel,
                received,
                force=force,
                reservation=room.reservation,
            )
            service.ask_plugins(session, deployment.plugins, self.channel, received)
            hashes = [item.sha256 for item in received]
            stale = objects.list_stale(session, hashes)
        if stale:
            with deployment.transaction(write=True) as session:
                objects.touch_again(session, stale)
            crashpoint("upload.touched")
        for (_, stage), item in zip(staged, received, strict=True):
            crashpoint("upload.storing")
            deployment.store.put(stage, object_key(item.sha256))
        crashpoint("upload.stored")
        with deployment.transaction(write=True) as session:
            outcomes = service.record(
                session,
                deployment.plugins,
                self.caller,
                self.channel,
                received,
                force=force,
                reservation=room.reservation,
                package=self.package,
            )
            objects.check_stored(deployment.store, hashes)
            crashpoint("upload.recording")
        crashpoint("upload.recorded")
        return Kept(outcomes, marks_of(session))


@contextmanager
def _discarding(sink: S) -> Iterator[S]:
    try:
        yield sink
    finally:
        sink.discard()


def answer(request: Request, kept: Kept) -> Response:
    """201 if anything is new, 200 if all the same bytes were there already."""
    leave_marks(request, kept.marks)
    outcomes = kept.outcomes
    changes = [outcome.change for outcome in outcomes if outcome.change is not None]
    headers = {}
    if len(outcomes) == 1:
        headers["ETag"] = f'"{outcomes[0].sha256}"'
    if changes:
        headers["Quetz-Change"] = str(changes[-1])
    if any(outcome.yanked for outcome in outcomes):
        headers["Quetz-Yanked"] = "true"
    return Response(b"null", 201 if changes else 200, headers, media_type="application/json")

"""Copies of files from other channels."""

from fastapi import Request, Response

from quetz.services import copies as service
from quetz.services.objects import check_stored
from quetz.services.permissions import Operation
from quetz.services.publishing import marks_of
from quetz.web.api.pages import Text
from quetz.web.api.uploads import ANSWERS, Kept, answer
from quetz.web.deps import Caller, DeploymentDep
from quetz.web.guard import GuardedRouter, declares
from quetz.web.index_waits import WAITS_FOR_INDEX

router = GuardedRouter(tags=["packages"])


@router.post(
    "/api/channels/{channel}/packages/copy",
    status_code=201,
    responses=ANSWERS,
    dependencies=[WAITS_FOR_INDEX],
    **declares(Operation.PACKAGE_COPY),
)
def copy_file(
    request: Request,
    channel: str,
    source_channel: Text,
    source_package: Text,
    subdir: Text,
    filename: Text,
    *,
    force: bool = False,
    deployment: DeploymentDep,
    caller: Caller,
) -> Response:
    """Make a file of another channel part of this one, as an upload of the same bytes would."""
    source = service.Source(source_channel, source_package, subdir, filename)
    with deployment.transaction() as session:
        asked = service.find_source(session, deployment.plugins, caller, channel, source)
    with deployment.transaction(write=True) as session:
        outcome = service.copy_file(
            session, deployment.plugins, caller, channel, source, asked=asked, force=force
        )
        check_stored(deployment.store, [outcome.sha256])
    return answer(request, Kept([outcome], marks_of(session)))

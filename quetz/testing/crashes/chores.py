"""What a server does once in a while, done now: ``python -m quetz.testing.crashes.chores``."""

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from quetz.deployment import Deployment
from quetz.services.index_zips import ZippedDocuments
from quetz.services.publishing import REPODATA, REPODATA_ZST, list_published
from quetz.worker.improver import Improver
from quetz.worker.upkeep import Upkeep


def _zip_documents(deployment: Deployment) -> None:
    """Make the gzip forms that a server makes of large documents when they are asked for."""
    zipped = ZippedDocuments(deployment.store)
    with deployment.transaction() as session:
        published = list_published(session)
    for switch, state in published.items():
        if switch.family == REPODATA:
            zipped.make(state.files[REPODATA_ZST])


CHORES: Mapping[str, Callable[[Deployment], None]] = {
    "mend": lambda deployment: Upkeep(deployment).mend_indexes(),
    "collect": lambda deployment: Upkeep(deployment).collect(),
    "forget-hours": lambda deployment: Upkeep(deployment).forget_hours(),
    "forget-keys": lambda deployment: Upkeep(deployment).forget_keys(),
    "zip": _zip_documents,
    "improve": lambda deployment: Improver(deployment).improve_quiet(),
}


def main(chore: str, path: str) -> None:
    with closing(Deployment.open(Path(path))) as deployment:
        CHORES[chore](deployment)


if __name__ == "__main__":
    main(*sys.argv[1:])

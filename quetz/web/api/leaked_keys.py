"""Revoking API keys that were found where they should not be, by whoever found them."""

from typing import Annotated

from pydantic import AliasChoices, BaseModel, Field

from quetz.services import api_keys as service
from quetz.services.permissions import Operation
from quetz.web.deps import Caller, DeploymentDep
from quetz.web.guard import GuardedRouter, declares

MOST_KEYS = 100

router = GuardedRouter(tags=["API keys"])


class LeakedKey(BaseModel):
    """A key as it was found; more of what a scanner says of it is taken and not read."""

    key: str = Field(
        validation_alias=AliasChoices("key", "token"),
        max_length=1000,
        description="The full text of the key; GitHub's secret scanning calls it `token`.",
    )


LeakedKeys = Annotated[list[LeakedKey], Field(min_length=1, max_length=MOST_KEYS)]


@router.post("/api/api-keys/revoke-leaked", **declares(Operation.APIKEY_REVOKE_LEAKED))
def revoke_leaked(body: LeakedKey | LeakedKeys, caller: Caller, deployment: DeploymentDep) -> None:
    """Revoke a key, or each of a list of keys, at once.

    It takes no login: who has a key could use it, too. The answer is the same whether there is
    such a key or not.
    """
    leaked = body if isinstance(body, list) else [body]
    with deployment.transaction() as session:
        found = service.find_leaked(session, [one.key for one in leaked])
    if found:  # or anybody could keep the database's only writer busy
        with deployment.transaction(write=True) as session:
            service.revoke_leaked(session, caller, found)

"""Any requests in any order, with kills, beside a model; long in `make campaign-crash`."""

import contextlib

from quetz.deployment import Deployment
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR
from quetz.testing.factories import make_user
from quetz.testing.state_machine import run_machine
from quetz.testing.worlds import World


def test_a_server_does_what_its_model_does_through_kills(deployment_path):
    with (
        contextlib.closing(Deployment.open(deployment_path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        owner = make_user(session, "olga", role="owner")
        made = create_api_key(
            session, OPERATOR, owner, description="", expires_at=None, scopes=None
        )
    world = World(deployment_path, made.key, kills=1)

    for number in (5, 6):
        run_machine(world, examples=3, steps=20, number=number)

    assert world.done["kills"] == 1
    assert world.done["steps"] > 50

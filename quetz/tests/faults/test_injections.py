"""Every so many faults of the campaign: ``python -m benchmarks.crash rel4`` runs all of them."""

import pytest

from quetz.testing.databases import given_url
from quetz.tests.faults.runs import is_unexpected, stages
from quetz.tests.faults.scenarios import SCENARIOS

ONE_IN = 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_a_fault_leaves_is_whole_and_the_retry_succeeds(scenario, databases, tmp_path):
    if given_url() is not None:
        pytest.skip("it makes databases of its own")
    url = databases.empty()
    server = None if url.get_backend_name() == "sqlite" else url
    with stages(tmp_path, server, [scenario]) as [stage]:
        injections = list(stage.injections())

        outcomes = [stage.run(one) for one in injections[len(scenario.name) :: ONE_IN]]

    assert outcomes
    assert all(one.met for one in outcomes)
    assert [one for one in outcomes if one.violations or is_unexpected(one)] == []

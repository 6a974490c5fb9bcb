"""Every so many faults of the campaign: ``python -m benchmarks.crash rel4`` runs all of them."""

import pytest

from quetz.testing.databases import given_url
from quetz.tests.faults.runs import is_unexpected, trials
from quetz.tests.faults.scenarios import SCENARIOS

ONE_IN = 100


def test_what_a_fault_leaves_is_whole_and_the_retry_succeeds(databases, tmp_path):
    if given_url() is not None:
        pytest.skip("it makes databases of its own")
    url = databases.empty()
    server = None if url.get_backend_name() == "sqlite" else url
    # To copy a database of a server takes longer: there, every other scenario has to do.
    scenarios = SCENARIOS if server is None else SCENARIOS[1::2]

    with trials(tmp_path, server, scenarios) as prepared:
        outcomes = [
            trial.run(injection)
            for number, trial in enumerate(prepared)
            for injection in list(trial.injections())[7 * number :: ONE_IN]
        ]

    assert len(outcomes) > len(scenarios)
    assert [one for one in outcomes if not one.met or one.violations or is_unexpected(one)] == []

import pytest

from quetz.conda.version_specs import matching_versions
from quetz.errors import BadVersionSpec


def test_versions_are_matched_in_conda_s_order():
    versions = ["1.9", "1.10", "1.10rc1", "1!0.5"]

    assert matching_versions(">=1.10,<2", versions) == {"1.10"}
    assert matching_versions(">=1.10", versions) == {"1.10", "1!0.5"}


@pytest.mark.parametrize("text", ["", "==", "((", "numpy >=1", "\0"])
def test_what_is_no_specification_is_refused(text):
    with pytest.raises(BadVersionSpec):
        matching_versions(text, ["1.0"])

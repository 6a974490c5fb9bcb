"""What the settings refuse of files that nginx sends."""

import pytest

from quetz.errors import BadConfig
from quetz.settings import load_settings

NO_PATH = "it is not a path of the same nginx, such as /files"
OWN = "is the server's own; name another path, such as /files"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("redirect_endpoint = '/..'", f"redirect_endpoint: {NO_PATH}"),
        ("redirect_endpoint = '/a/../get'", f"redirect_endpoint: {NO_PATH}"),
        ("redirect_endpoint = '/files/./x'", f"redirect_endpoint: {NO_PATH}"),
        ("redirect_endpoint = '/'", f"redirect_endpoint: {NO_PATH}"),
        ("redirect_endpoint = '//get'", f"redirect_endpoint: {NO_PATH}"),
        ("redirect_endpoint = '/get'", f"redirect_endpoint: /get {OWN}"),
        ("redirect_endpoint = '/api/files/'", f"redirect_endpoint: /api {OWN}"),
        ("redirect_endpoint = '/t'", f"redirect_endpoint: /t {OWN}"),
        ("redirect_endpoint = '/metricsp/'", f"redirect_endpoint: /metricsp {OWN}"),
        (
            "redirect_expiration = 301",
            "redirect_expiration: Input should be less than or equal to 300",
        ),
    ],
)
def test_nginx_may_be_given_no_path_of_others_and_no_lasting_link(tmp_path, line, message):
    file = tmp_path / "config.toml"
    file.write_text(f"[local_store]\n{line}\n")

    with pytest.raises(BadConfig) as refused:
        load_settings(tmp_path)

    assert str(refused.value) == f"'{file}': [local_store] {message}"

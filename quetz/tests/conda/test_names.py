import pytest

from quetz.conda.names import (
    check_package_name,
    check_subdir,
    check_username,
    is_subdir,
    normal_channel_name,
)
from quetz.errors import BadName


@pytest.mark.parametrize(
    "name", ["numpy", "_libgcc_mutex", "r-base", "ruamel.yaml", "7zip", "x", "a" * 64, "backports."]
)
def test_a_package_name_of_the_standard_is_allowed(name):
    check_package_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "__glibc", "_-a", "a--b", "a._b", "NumPy", "num py", "-a", ".a", "a/b", "é"),
        *("..", "a\n", "a\0", "a" * 65),
    ],
)
def test_another_package_name_is_not(name):
    with pytest.raises(BadName, match="package name"):
        check_package_name(name)


@pytest.mark.parametrize(
    "subdir", ["noarch", "linux-64", "emscripten-wasm32", "zos-z", "ios-arm64"]
)
def test_a_subdir_may_be_of_any_platform(subdir):
    check_subdir(subdir)

    assert is_subdir(subdir)


@pytest.mark.parametrize(
    "subdir",
    ["", "linux", "Linux-64", "linux-64-x", "linux_64", "../noarch", "noarch\n", "a-" + "b" * 31],
)
def test_a_subdir_of_another_shape_is_refused(subdir):
    with pytest.raises(BadName, match="subdir name"):
        check_subdir(subdir)

    assert not is_subdir(subdir)


@pytest.mark.parametrize(
    ("name", "normal"),
    [("forge", "forge"), ("Forge", "forge"), ("my.channel-2-x", "my.channel-2-x"), ("0", "0")],
)
def test_a_channel_name_is_kept_in_lower_case(name, normal):
    assert normal_channel_name(name) == normal


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "-a", "a_b", "a b", "a/b", "noarch", "linux-64", "Linux-64", "é"),
        *("\N{KELVIN SIGN}", "a\n", "a" * 51),
    ],
)
def test_a_channel_name_must_suit_a_url_and_be_no_subdir(name):
    with pytest.raises(BadName, match="channel name"):
        normal_channel_name(name)


@pytest.mark.parametrize("name", ["conda-forge", "Team-A", "linux-tools", "0.x"])
def test_a_channel_name_may_have_two_parts(name):
    assert normal_channel_name(name) == name.lower()


@pytest.mark.parametrize("name", ["alice", "Alice.B_c-d@example.org", "0"])
def test_a_username_may_hold_an_address(name):
    check_username(name)


@pytest.mark.parametrize("name", ["", "@a", "a b", "a/b", "a\n", "é", "a" * 65])
def test_another_username_is_refused(name):
    with pytest.raises(BadName, match="user name"):
        check_username(name)

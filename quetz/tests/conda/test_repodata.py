import json

from quetz.conda.notices import encode_notices
from quetz.conda.repodata import encode_repodata
from quetz.conda.run_exports import encode_run_exports


def test_an_empty_subdir_has_both_maps():
    assert json.loads(encode_repodata("linux-64", [])) == {
        "info": {"subdir": "linux-64"},
        "packages": {},
        "packages.conda": {},
        "removed": [],
        "repodata_version": 1,
    }


def test_records_stand_by_format_in_the_order_given_and_untouched():
    records = [
        ("b-1-0.conda", '{"name":"b","x":1.50}'),
        ("a-1-0.tar.bz2", '{"name":"a"}'),
        ("a-1-0.conda", '{"name":"ä"}'),
    ]

    raw = encode_repodata("noarch", iter(records))

    repodata = json.loads(raw)
    assert repodata["packages"] == {"a-1-0.tar.bz2": {"name": "a"}}
    assert list(repodata["packages.conda"]) == ["b-1-0.conda", "a-1-0.conda"]
    assert b'{"name":"b","x":1.50}' in raw
    assert '"name":"ä"'.encode() in raw


def test_run_exports_name_every_file():
    files = [("a-1-0.tar.bz2", "{}"), ("a-1-0.conda", '{"weak":["a >=1"]}')]

    assert json.loads(encode_run_exports("linux-64", files)) == {
        "info": {"platform": "linux", "arch": "x86_64", "subdir": "linux-64", "version": 0},
        "packages": {"a-1-0.tar.bz2": {"run_exports": {}}},
        "packages.conda": {"a-1-0.conda": {"run_exports": {"weak": ["a >=1"]}}},
    }


def test_run_exports_of_no_platform_say_so():
    document = json.loads(encode_run_exports("noarch", []))

    assert document["info"] == {
        "platform": "noarch",
        "arch": "noarch",
        "subdir": "noarch",
        "version": 0,
    }


def test_there_are_no_notices():
    assert json.loads(encode_notices()) == {"notices": []}


def test_removed_files_are_named_in_one_order():
    raw = encode_repodata("noarch", [], removed=iter(["b-1-0.conda", "a-1-0.tar.bz2"]))

    assert json.loads(raw)["removed"] == ["a-1-0.tar.bz2", "b-1-0.conda"]

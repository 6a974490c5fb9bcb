import json

from quetz.conda.channeldata import FLAGS, channeldata_fragment, channeldata_texts, encode_entry


def file(version="1.0", *, subdir="noarch", about=None, run_exports=None, **record):
    fields = {"version": version, "build_number": 0, "name": "pkg"} | record
    return (subdir, json.dumps(fields), json.dumps(about or {}), json.dumps(run_exports or {}))


def test_an_entry_has_what_the_standard_requires():
    entry = json.loads(encode_entry([file()]))

    assert entry == dict.fromkeys(FLAGS, False) | {
        "run_exports": {},
        "subdirs": ["noarch"],
        "timestamp": 0,
        "version": "1.0",
    }


def test_texts_come_from_the_newest_file():
    files = [
        file("1.9", about={"summary": "old", "home": "https://old.org"}),
        file("1.10", build_number=1, about={"summary": "new"}, license="MIT"),
        file("1.10", build_number=0, about={"summary": "first build"}),
    ]

    entry = json.loads(encode_entry(files))

    assert (entry["version"], entry["summary"], entry["license"]) == ("1.10", "new", "MIT")
    assert "home" not in entry


def test_a_flag_holds_if_any_file_of_the_newest_version_has_it():
    files = [
        file("2", subdir="linux-64", about={"post_link": True}),
        file("2", subdir="win-64", about={"activate.d": True}),
        file("1", about={"pre_link": True}),
    ]

    entry = json.loads(encode_entry(files))

    assert [flag for flag in FLAGS if entry[flag]] == ["activate.d", "post_link"]
    assert entry["subdirs"] == ["linux-64", "noarch", "win-64"]


def test_run_exports_are_those_of_the_newest_build_of_each_version():
    files = [
        file("1", build_number=1, run_exports={"weak": ["pkg 1.*"]}),
        file("1", build_number=0, run_exports={"weak": ["pkg"]}),
        file("2", run_exports={}),
        file("3", run_exports={"strong": ["pkg 3.*"]}),
    ]

    entry = json.loads(encode_entry(files))

    assert entry["run_exports"] == {"1": {"weak": ["pkg 1.*"]}, "3": {"strong": ["pkg 3.*"]}}


def test_the_timestamp_is_the_latest_in_seconds():
    files = [file(timestamp=1_700_000_000_999), file(timestamp=1_600_000_000), file()]

    assert json.loads(encode_entry(files))["timestamp"] == 1_700_000_000


def test_the_order_of_files_does_not_count():
    files = [
        file("1", build_number=n, about={"summary": str(n)}, subdir=s)
        for n in (0, 1)
        for s in ("noarch", "linux-64")
    ]

    assert encode_entry(files) == encode_entry(reversed(files))


def test_the_document_is_made_of_texts_and_fragments():
    entries = {"a": encode_entry([file(about={"summary": "ä"})]), "b": encode_entry([file()])}
    opening, closing = channeldata_texts(["noarch", "linux-64"])

    raw = opening + b",".join(channeldata_fragment(*item) for item in entries.items()) + closing

    document = json.loads(raw)
    assert document["channeldata_version"] == 1
    assert document["subdirs"] == ["linux-64", "noarch"]
    assert document["packages"] == {name: json.loads(entry) for name, entry in entries.items()}

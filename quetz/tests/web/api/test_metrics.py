from datetime import UTC, datetime, timedelta

import pytest

from quetz.db.base import now_ms
from quetz.db.models import DownloadCounts, FileDownloads
from quetz.services.downloads import HOUR_MS, HOURS_KEPT_MS, add_downloads
from quetz.testing.factories import make_channel, make_file
from quetz.worker.tally_writer import write_tallies
from quetz.worker.upkeep import Upkeep

CHANNEL = "/metrics/channels/forge"
NUMPY = f"{CHANNEL}/packages/numpy/versions/noarch/numpy-1.0-0.conda"


def hour(text):
    """Return Unix milliseconds of e.g. ``2026-01-31 23``."""
    at = datetime.strptime(text, "%Y-%m-%d %H").replace(tzinfo=UTC)
    return round(at.timestamp() * 1000)


@pytest.fixture
def numpy(deployment):
    """A file that was downloaded six times, in three hours, days and months and two years."""
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        file = make_file(session, channel, "numpy-1.0-0.conda")
        other = make_file(session, channel, "scipy-1.0-0.conda", subdir="linux-64")
        make_file(session, channel, "never-1.0-0.conda")
        add_downloads(session, {(file.id, hour("2025-12-31 23")): 1})
        add_downloads(
            session,
            {
                (file.id, hour("2026-01-01 00")): 2,
                (file.id, hour("2026-03-01 07")): 3,
                (other.id, hour("2026-03-01 07")): 9,
                (2**31 - 1, hour("2026-03-01 07")): 1,
            },
        )
    return file


def series(client, path, **query):
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [(count["timestamp"][:16], count["count"]) for count in answer.json()["series"]]


@pytest.mark.usefixtures("numpy")
@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("H", [("2025-12-31T23:00", 1), ("2026-01-01T00:00", 2), ("2026-03-01T07:00", 3)]),
        ("D", [("2025-12-31T00:00", 1), ("2026-01-01T00:00", 2), ("2026-03-01T00:00", 3)]),
        ("M", [("2025-12-01T00:00", 1), ("2026-01-01T00:00", 2), ("2026-03-01T00:00", 3)]),
        ("Y", [("2025-01-01T00:00", 1), ("2026-01-01T00:00", 5)]),
    ],
)
def test_downloads_are_counted_by_each_period(anonymous, period, expected):
    assert series(anonymous, NUMPY, period=period) == expected


@pytest.mark.usefixtures("numpy")
def test_the_metrics_of_a_version_have_the_keys_that_clients_know(anonymous):
    before = now_ms()

    answer = anonymous.get(NUMPY, params={"start": "2026-01-01", "period": "Y"}).json()

    told = datetime.fromisoformat(answer.pop("server_timestamp")).timestamp() * 1000
    assert before <= told + 1 <= now_ms() + 1
    assert answer == {
        "period": "Y",
        "metric_name": "download",
        "total": 5,
        "series": [{"timestamp": "2026-01-01T00:00:00.000000+00:00", "count": 5}],
    }


@pytest.mark.usefixtures("numpy")
def test_the_metrics_of_a_channel_name_each_file_that_was_downloaded(anonymous):
    def packages(**query):
        answer = anonymous.get(CHANNEL, params={"start": "2026-03-01", **query}).json()
        assert set(answer) == {"server_timestamp", "period", "metric_name", "packages"}
        return {path: found["series"] for path, found in answer["packages"].items()}

    march = "2026-03-01T00:00:00.000000+00:00"
    assert packages() == {
        "linux-64/scipy-1.0-0.conda": [{"timestamp": march, "count": 9}],
        "noarch/numpy-1.0-0.conda": [{"timestamp": march, "count": 3}],
    }
    assert list(packages(platform="noarch")) == ["noarch/numpy-1.0-0.conda"]
    assert packages(platform="osx-64") == {}
    assert packages(end="2026-03-01") == {}


@pytest.mark.usefixtures("numpy")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"start": "2026-01-01T00:00:00Z"}, [2, 3]),
        ({"start": "2026-01-01T00:00:01Z"}, [3]),
        ({"start": "2026-01-01T01:00:00+01:00"}, [2, 3]),
        ({"end": "2026-03-01T00:00:00"}, [1, 2]),
        ({"start": "0001-01-01T00:00:00+23:00", "end": "9999-12-31T23:59:59-23:00"}, [1, 2, 3]),
        ({"start": "2027-01-01", "end": "2026-01-01"}, []),
    ],
)
def test_a_series_lies_between_start_and_end(anonymous, query, expected):
    assert [count for _, count in series(anonymous, NUMPY, **query)] == expected


@pytest.mark.usefixtures("numpy")
def test_periods_without_a_download_are_filled_in_if_wanted(anonymous):
    def filled(**query):
        return series(anonymous, NUMPY, fill_zeros=True, **query)

    months = filled(period="M", end="2026-05-01")
    days = filled(start="2026-02-27T12:00", end="2026-03-02")
    years = filled(period="Y", start="2023-02-01", end="2028-01-01")

    assert [count for _, count in months] == [1, 2, 0, 3, 0]
    assert days == [("2026-02-28T00:00", 0), ("2026-03-01T00:00", 3)]
    assert [(at[:4], count) for at, count in years] == [
        ("2024", 0), ("2025", 1), ("2026", 5), ("2027", 0)
    ]  # fmt: skip


@pytest.mark.usefixtures("numpy")
def test_without_an_end_zeros_are_filled_in_up_to_now(anonymous):
    start = datetime.now(UTC) - timedelta(hours=2)

    hours = series(anonymous, NUMPY, fill_zeros=True, period="H", start=start.isoformat())

    assert [count for _, count in hours] == [0, 0]


@pytest.mark.usefixtures("numpy")
@pytest.mark.parametrize(
    "query",
    [
        {"fill_zeros": True, "start": "0001-01-01"},
        {"fill_zeros": True, "start": "2026-01-01", "end": "9999-12-31"},
        {"fill_zeros": True, "period": "H", "start": "2020-01-01", "end": "2026-01-01"},
        {"period": "W"},
        {"period": ""},
        {"metric_name": "upload"},
        {"start": "yesterday"},
        {"end": "1e400"},
        {"start": "2026-13-01"},
    ],
)
def test_an_absurd_range_is_refused(anonymous, query):
    assert anonymous.get(NUMPY, params=query).status_code == 422


@pytest.mark.usefixtures("numpy")
@pytest.mark.parametrize("platform", ["\0", "x" * 33])
def test_a_platform_that_cannot_be_is_refused(anonymous, platform):
    assert anonymous.get(CHANNEL, params={"platform": platform}).status_code == 422


@pytest.mark.usefixtures("numpy")
@pytest.mark.parametrize(
    "path",
    [
        "/metrics/channels/missing",
        f"{CHANNEL}/packages/numpy/versions/noarch/numpy-2.0-0.conda",
        f"{CHANNEL}/packages/scipy/versions/noarch/numpy-1.0-0.conda",
        f"{CHANNEL}/packages/numpy/versions/linux-64/numpy-1.0-0.conda",
        f"{CHANNEL}/packages/numpy/versions/noarch/%00.conda",
    ],
)
def test_what_is_missing_is_not_found(alice, path):
    assert alice.get(path).status_code == 404


def test_a_role_in_a_package_shows_its_downloads_alone(alice, anonymous, deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge", private=True)
        make_file(session, channel, "numpy-1.0-0.conda")

    assert [client.get(NUMPY).status_code for client in (alice, anonymous)] == [404, 401]
    assert [client.get(CHANNEL).status_code for client in (alice, anonymous)] == [404, 401]


def test_a_download_counts_for_its_own_hour_beside_the_total(numpy, deployment):
    deployment.tallies.count_download(numpy.id)
    deployment.tallies.count_download(numpy.id)
    counted = now_ms()

    write_tallies(deployment)

    with deployment.transaction() as session:
        hours = session.query(DownloadCounts.count, DownloadCounts.at)
        [(count, at)] = hours.filter_by(file_id=numpy.id, period="H").filter(
            DownloadCounts.at > hour("2026-04-01 00")
        )
        assert session.get_one(FileDownloads, numpy.id).count == 8
    assert count == 2
    assert at % HOUR_MS == 0
    assert 0 <= counted - at < HOUR_MS + 60_000


def test_hours_are_forgotten_after_ninety_days_and_nothing_else(anonymous, numpy, deployment):
    kept = now_ms() - HOURS_KEPT_MS + 2 * HOUR_MS
    with deployment.transaction(write=True) as session:
        add_downloads(session, {(numpy.id, kept - kept % HOUR_MS): 4})
        add_downloads(session, {(numpy.id, hour("2020-01-01 00")): 5})

    Upkeep(deployment).forget_hours()

    hours = series(anonymous, NUMPY, period="H", start="2020-01-01", end="2026-01-01")
    assert hours == []
    assert series(anonymous, NUMPY, period="D")[0] == ("2020-01-01T00:00", 5)
    assert 4 in [count for _, count in series(anonymous, NUMPY, period="H")]

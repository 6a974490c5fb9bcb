import pytest
from prometheus_client.parser import text_string_to_metric_families

from quetz.services.permissions import Role
from quetz.testing.factories import make_channel, make_file
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all

LABELS = ("route", "method", "status", "le")


@pytest.fixture
def operator(make_client):
    return make_client("olive", role=Role.MAINTAINER)


def scrape(client):
    """Return the samples by their names and labels."""
    answer = client.get("/metricsp")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (
            sample.name,
            *(sample.labels[name] for name in LABELS if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(samples):
    return {
        key[1:]: int(value) for key, value in samples.items() if key[0].endswith("requests_total")
    }


def test_only_who_maintains_the_server_may_scrape_it(anonymous, alice, operator):
    statuses = [client.get("/metricsp").status_code for client in (anonymous, alice, operator)]

    assert statuses == [401, 403, 200]


def test_requests_are_counted_by_route_method_and_status(alice, anonymous, operator):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    for name in ("forge", "forge", "missing"):
        anonymous.get(f"/api/channels/{name}")
    anonymous.get("/get/forge/noarch/repodata.json")
    anonymous.get("/health/live")

    samples = scrape(operator)

    assert requests(samples) == {
        ("/api/channels", "POST", "201"): 1,
        ("/api/channels/{channel}", "GET", "200"): 2,
        ("/api/channels/{channel}", "GET", "401"): 1,
        ("/get/{channel}/{path}", "GET", "200"): 1,
        ("/health/live", "GET", "200"): 1,
    }
    durations = "quetz_http_request_duration_seconds"
    assert samples[f"{durations}_count", "/api/channels/{channel}"] == 3
    assert samples[f"{durations}_bucket", "/api/channels/{channel}", "+Inf"] == 3
    assert samples[f"{durations}_sum", "/api/channels/{channel}"] > 0


def test_what_clients_make_up_adds_no_series_and_no_name(anonymous, operator):
    anonymous.get("/made-up")
    anonymous.request("BREW", "/made-up")
    scrape(operator)
    before = scrape(operator)

    for number in range(100):
        anonymous.get(f"/secret-{number}/secret.html")
        anonymous.get(f"/get/secret-{number}/noarch/repodata.json")
        anonymous.request("BREW", f"/secret-{number}")
        anonymous.request(f"SECRET{number}", f"/secret-{number}")
    after = operator.get("/metricsp").text

    assert "secret" not in after.lower()
    assert set(requests(scrape(operator))) - set(requests(before)) == {
        ("/get/{channel}/{path}", "GET", "401")
    }


def test_bytes_are_counted_both_ways(alice, anonymous, operator, tmp_path):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    package = build_package(tmp_path, "numpy", files={"payload": bytes(range(256)) * 4000})
    size = package.stat().st_size
    before = scrape(operator)

    alice.post(f"/api/channels/forge/upload/{package.name}", content=package.read_bytes())
    anonymous.get(f"/get/forge/noarch/{package.name}")

    after = scrape(operator)
    received, sent = [
        after[f"quetz_http_{way}_bytes_total",] - before[f"quetz_http_{way}_bytes_total",]
        for way in ("received", "sent")
    ]
    assert received == size
    assert sent > size


def test_the_lag_of_the_indexes_is_told(deployment, alice, operator, tmp_path):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    package = build_package(tmp_path, "numpy")
    alice.post(f"/api/channels/forge/upload/{package.name}", content=package.read_bytes())

    scrape(operator)
    behind = scrape(operator)
    publish_all(deployment)
    published = scrape(operator)

    assert behind["quetz_index_marks",] >= 2
    assert behind["quetz_publisher_lag_seconds",] > 0
    assert published["quetz_index_marks",] == published["quetz_publisher_lag_seconds",] == 0


def test_the_process_and_its_connections_are_described(operator):
    samples = scrape(operator)

    assert samples["quetz_http_requests_in_progress",] == 1
    assert samples["quetz_database_connections",] == 0
    assert samples["process_resident_memory_bytes",] > 0


def test_names_stay_out_of_the_labels(deployment, operator):
    with deployment.transaction(write=True) as session:
        make_file(session, make_channel(session, "hushed", private=True), "hidden-1.0-0.conda")
    operator.get("/api/channels/hushed/packages/hidden")
    operator.get("/metrics/channels/hushed/packages/hidden/versions/noarch/hidden-1.0-0.conda")

    text = operator.get("/metricsp").text

    assert "hushed" not in text
    assert "hidden" not in text

from html.parser import HTMLParser

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from quetz.db.queries.channels import get_channel
from quetz.testing.factories import make_channel, make_file, make_package
from quetz.tests.web.conftest import make_key

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;"
URLS = ["javascript:alert(1)", "data:text/html,x", " javascript:x", "http:x\n", "//x", "http://[x"]


@pytest.fixture
def forge(deployment):
    with deployment.transaction(write=True) as session:
        forge = make_channel(session, "forge", description=HOSTILE)
        make_package(session, forge, "numpy", summary=HOSTILE, url="https://example.org/?a=1&b")
        for number, url in enumerate(URLS):
            make_package(session, forge, f"pkg{number}", url=url)
        make_file(session, forge, "numpy-1.0-0.conda", subdir="linux-64")
        make_file(session, forge, "numpy-1!1.0+local-0.conda", subdir="noarch")
        make_file(session, make_channel(session, "closed", private=True), "hushed-1.0-0.conda")


class Page(HTMLParser):
    """Reads a page as a browser does: its tags, its links and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.attributes, self.text = set(), [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.text += data


def read(client, path, **headers):
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return Page(answer.text)


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("path", ["/get/forge", "/get/forge/", "/get/forge/index.html"])
def test_the_page_of_a_channel_leads_to_its_subdirs(client, path):
    page = read(client, path)

    leading = [link for link in page.links if link.endswith("/index.html")]
    below = "forge/" if path == "/get/forge" else ""
    assert leading == [f"{below}linux-64/index.html", f"{below}noarch/index.html"]
    assert "numpy" in page.text
    assert "hushed" not in page.text


@pytest.mark.usefixtures("forge")
def test_texts_of_packages_stay_texts(client):
    page = read(client, "/get/forge/")

    assert HOSTILE in page.text
    assert not page.tags & {"script", "img"}
    assert page.attributes <= {"lang", "charset", "href", "rel"}
    outward = [link for link in page.links if not link.endswith("/index.html")]
    assert outward == ["https://example.org/?a=1&b"]


def test_the_page_of_a_channel_shows_the_beginning_of_a_long_summary_and_reads_no_description(
    client, deployment
):
    statements = []
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        make_package(session, channel, "long", summary="s" * 5000, description="d" * 5000)
        make_package(session, channel, "short", summary="t" * 200)
    event.listen(
        deployment.engine, "before_cursor_execute", lambda *told: statements.append(told[2])
    )

    page = read(client, "/get/forge/")

    assert "s" * 200 + "\N{HORIZONTAL ELLIPSIS}" in page.text
    assert "s" * 201 not in page.text
    assert "t" * 200 + "\N{HORIZONTAL ELLIPSIS}" not in page.text
    assert not [statement for statement in statements if "packages.description" in statement]


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("path", ["/get/forge/noarch/index.html", "/get/forge/noarch/"])
def test_the_page_of_a_subdir_leads_to_its_files(client, path):
    page = read(client, path)

    assert page.links == ["../index.html", "numpy-1%211.0%2Blocal-0.conda"]
    assert "1,000" in page.text


@pytest.mark.usefixtures("forge")
def test_the_page_of_a_subdir_answers_without_its_slash_and_its_links_hold(client):
    page = read(client, "/get/forge/noarch")

    assert page.links == ["index.html", "noarch/numpy-1%211.0%2Blocal-0.conda"]
    assert client.head("/get/forge/noarch").status_code == 200


@pytest.mark.usefixtures("forge")
def test_the_page_of_a_subdir_says_what_is_yanked(client, deployment):
    with deployment.transaction(write=True) as session:
        make_file(session, get_channel(session, "forge"), "old-1.0-0.conda").yanked_at = 1

    page = read(client, "/get/forge/noarch/")

    assert "old-1.0-0.conda (yanked)" in page.text
    assert page.text.count("yanked") == 1


@pytest.mark.usefixtures("forge")
def test_a_page_may_be_kept_until_it_changes(client, deployment):
    etag = {"If-None-Match": client.get("/get/forge/noarch/").headers["etag"]}

    kept = client.get("/get/forge/noarch/", headers=etag)
    with deployment.transaction(write=True) as session:
        make_file(session, get_channel(session, "forge"), "new-1.0-0.conda")
    changed = client.get("/get/forge/noarch/", headers=etag)

    assert (kept.status_code, changed.status_code) == (304, 200)


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("rest", ["", "/", "/index.html", "/noarch", "/noarch/index.html"])
def test_the_page_of_a_private_channel_is_hidden(client, deployment, owner_key, rest):
    stranger = {"X-API-Key": make_key(deployment, "bob")}

    for headers, status in (({}, 401), (stranger, 404)):
        hidden = client.get(f"/get/closed{rest}", headers=headers)
        missing = client.get(f"/get/missing{rest}", headers=headers)
        assert hidden.status_code == status
        assert hidden.content == missing.content
    page = client.get(f"/get/closed{rest}", headers={"X-API-Key": owner_key})
    assert page.headers["cache-control"].startswith("private")


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "path", ["/get/forge/nosuch/index.html/x", "/get/forge//index.html", "/get/"]
)
def test_other_addresses_have_no_page(client: TestClient, key, path):
    assert client.get(path, headers=key).status_code == 404


def test_a_page_is_bounded_and_says_so(client, deployment, monkeypatch):
    monkeypatch.setattr("quetz.web.channel_pages.ROWS", 2)
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        for name in ("a", "b", "c"):
            make_file(session, channel, f"{name}-1.0-0.conda")

    pages = [read(client, f"/get/forge/{rest}") for rest in ("", "noarch/")]

    for page in pages:
        assert "Only the first 2 are shown." in page.text
    assert pages[1].links == ["../index.html", "a-1.0-0.conda", "b-1.0-0.conda"]

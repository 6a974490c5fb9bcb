import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.testing.servers import ServerFailed, running_server

KEY = "qz-" + "A" * 16 + "-" + "b" * 43 + "123456"


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def get(server, target, **headers):
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}{target}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def answers(server):
    try:
        return get(server, "/health/live") == 200
    except OSError:
        return False


def comes_true(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (outcome := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return outcome


def workers_of(server):
    """Return the ids of the processes that serve; multiprocessing starts one more, to clean up."""
    master = server.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in command_of(pid)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:  # it ended meanwhile
        return b""


def test_start_needs_a_deployment(quetz, tmp_path):
    result = quetz("start", tmp_path)

    assert result.exit_code == 2
    assert "is not a quetz deployment" in result.stderr


def test_start_says_what_is_wrong_with_the_configuration(quetz, path):
    with (path / "config.toml").open("a") as config:
        config.write("[quota]\n")

    result = quetz("start", path)

    assert result.exit_code == 2
    assert "unknown section [quota]; did you mean 'quotas'?" in result.stderr


def test_start_refuses_a_frontend_that_is_not_there(quetz, path):
    config = path / "config.toml"
    named = config.read_text().replace("[general]", '[general]\nfrontend_dir = "missing"')
    config.write_text(named)

    result = quetz("start", path)

    assert result.exit_code == 2
    assert "frontend_dir" in result.stderr
    assert "missing' holds no index.html" in " ".join(result.stderr.split())


def test_start_refuses_a_database_that_is_behind(quetz, path):
    (path / "quetz.sqlite").write_bytes(b"")

    result = quetz("start", path)

    assert result.exit_code == 3
    assert result.stderr == (
        f"quetz: the database of '{path}' needs migrations first; run: quetz init-db {path}\n"
    )


def test_start_says_that_the_database_file_is_missing_and_makes_none(quetz, path):
    file = path / "quetz.sqlite"
    file.unlink()

    result = quetz("start", path)

    assert result.exit_code == 3
    assert result.stderr == (
        f"quetz: the database file '{file}' is missing; restore it, or make an empty one with: "
        f"quetz init-db {path}\n"
    )
    assert not file.exists()


@pytest.mark.parametrize("command", ["start", "init-db"])
def test_a_database_file_that_cannot_be_opened_is_named(quetz, path, command):
    file = path / "quetz.sqlite"
    file.unlink()
    file.mkdir()

    result = quetz(command, path)

    assert result.exit_code == 1
    assert result.stderr == (
        f"quetz: the database file '{file}' cannot be read: unable to open database file\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["delete", "--force"], id="delete"),
        pytest.param(["create", "--delete", "--create-conf"], id="replace"),
    ],
)
def test_a_deployment_that_is_served_cannot_be_taken_away(quetz, path, command):
    with running_server(path) as server:
        result = quetz(*command, path)
        status = get(server, "/health/ready")

    after = quetz(*command, path)

    assert (result.exit_code, status) == (1, 200)
    assert result.stderr == f"quetz: '{path}' is being served; stop the server first\n"
    assert after.exit_code == 0


def test_a_deployment_can_be_served_twice(path):
    with running_server(path) as first, running_server(path) as second:
        assert (get(first, "/health/ready"), get(second, "/health/ready")) == (200, 200)


def test_start_refuses_a_port_in_use(quetz, path, taken_port):
    result = quetz("start", path, "--port", taken_port)

    assert result.exit_code == 1
    assert result.stderr == (
        f"quetz: port {taken_port} on 127.0.0.1 is in use; "
        "stop the other server or choose another --port\n"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(["--host", "no-such-host.invalid"], "is not an address", id="unknown host"),
        pytest.param(["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8000", id="not ours"),
        pytest.param(["--root-path", "/a b"], "is not a path such as /conda", id="root path"),
        pytest.param(["--port", "0"], "--port", id="port"),
        pytest.param(["--workers", "0"], "--workers", id="workers"),
        pytest.param(["--log-level", "loud"], "--log-level", id="log level"),
    ],
)
def test_start_refuses_options_that_cannot_be_met(quetz, path, options, reason):
    result = quetz("start", path, *options)

    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_deployment_without_passwords_listens_on_this_machine_only(quetz, tmp_path):
    quetz("create", tmp_path / "d", "--dev")

    results = [quetz("start", tmp_path / "d", "--host", host) for host in ("0.0.0.0", "::")]

    assert [result.exit_code for result in results] == [2, 2]
    assert all("lets anyone log in without a password" in result.stderr for result in results)


def test_a_log_that_cannot_be_written_is_named(quetz, path):
    (path / "log").mkdir()
    with (path / "config.toml").open("a") as config:
        config.write("[logging]\nfile = 'log'\n")

    result = quetz("start", path)

    assert result.exit_code == 2
    assert f"'{path / 'log'}' cannot be written: Is a directory" in result.stderr


def test_a_server_says_where_it_is_and_ends_well(path):
    with running_server(path, "--workers", "2", "--root-path", "/conda") as server:
        workers = workers_of(server)
        inside, outside = get(server, "/health/live"), get(server, "/../health/live")
        greeted = comes_true(lambda: f"serves '{path}' at {server.url} " in server.log.read_text())

    assert len(workers) == 2
    assert (inside, outside) == (200, 404)
    assert greeted
    assert "Traceback" not in server.log.read_text()


def test_the_log_holds_requests_without_their_keys(path):
    with (path / "config.toml").open("a") as config:
        config.write("[logging]\nfile = 'quetz.log'\n")

    with running_server(path) as server:
        get(server, f"/t/{KEY}/get/nowhere/noarch/repodata.json")
        get(server, f"/health/live?key={KEY}", **{"X-API-Key": KEY})

    for log in (server.log, path / "quetz.log"):
        assert '"GET /t/***/get/nowhere/noarch/repodata.json" 401' in log.read_text()
        assert KEY not in log.read_text()


def test_requests_are_not_logged_above_info(path):
    with running_server(path, "--log-level", "warning") as server:
        get(server, "/health/live")

    assert "GET" not in server.log.read_text()


def test_a_second_server_on_the_port_is_refused(quetz, path):
    with running_server(path) as server:
        result = quetz("start", path, "--port", urlsplit(server.url).port)

    assert result.exit_code == 1
    assert "is in use; stop the other server" in result.stderr


def test_a_stop_finishes_the_request_under_way(quetz, path):
    key = quetz("user", "create", "erin", path, "--role", "member").stdout.strip()
    body = b'{"name": "forge", "private": false}'
    head = (
        "POST /api/channels HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    with running_server(path) as server:
        address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(head.encode() + body[:10])
            assert get(server, "/health/live") == 200  # so the request before was taken, too
            server.process.send_signal(signal.SIGTERM)
            assert comes_true(lambda: not answers(server))
            client.sendall(body[10:])
            answer = client.recv(4096)

    assert answer.startswith(b"HTTP/1.1 201 ")


def test_a_worker_that_dies_is_replaced(path):
    with running_server(path) as server:
        [worker] = workers_of(server)
        os.kill(worker, signal.SIGKILL)
        comes_true(lambda: workers_of(server) not in ([], [worker]))
        replaced = comes_true(lambda: answers(server))

    assert replaced


def test_the_workers_end_with_their_master(path):
    workers: list[int] = []

    with pytest.raises(ServerFailed, match="exit code -9"):
        kill_the_master(path, workers)

    assert len(workers) == 2
    assert comes_true(lambda: not any(map(is_alive, workers)))


def kill_the_master(path, workers):
    with running_server(path, "--workers", "2") as server:
        workers += workers_of(server)
        server.process.kill()


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_run_prints_a_working_key_at_each_start(tmp_path):
    path = tmp_path / "d"

    keys = [run_until_ready(path), run_until_ready(path)]

    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        users = [authenticate_key(session, key) for key in keys]
    assert [user and user.username for user in users] == ["alice", "alice"]
    assert keys[0] != keys[1]


def run_until_ready(path):
    """Return the API key that ``quetz run --dev`` prints, after it said how to use the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "quetz", "run", path, "--dev", "--skip-if-exists"]
    with subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        lines = list(takewhile(lambda line: line != "Install it:\n", process.stdout))
        process.terminate()
    assert process.returncode == 0
    assert f"at http://127.0.0.1:{port} " in "".join(lines)
    return lines[0].rstrip("\n").removeprefix("QUETZ_API_KEY=")

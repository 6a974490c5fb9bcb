"""The route as clients meet it, on SQLite and on PostgreSQL."""

from quetz.testing.factories import make_channel, make_package


def test_anybody_may_count_the_packages_of_a_public_channel(deployment, client):
    with deployment.transaction(write=True) as session:
        make_package(session, make_channel(session, "forge"))

    answer = client.get("/api/channels/forge/{{ cookiecutter.__distribution }}")

    assert answer.json() == {"packages": 1}


def test_a_private_channel_is_hidden_from_strangers(deployment, client):
    with deployment.transaction(write=True) as session:
        make_channel(session, "secrets", private=True)

    answer = client.get("/api/channels/secrets/{{ cookiecutter.__distribution }}")

    assert answer.status_code == 401

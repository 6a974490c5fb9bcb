"""Reading what is below ``/get/`` as clients do."""


def get(client, path, **headers):
    """Get without the encodings that the client would offer by itself."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, headers={"Accept-Encoding": "identity", **headers})


def raw(client, path, **headers) -> bytes:
    """Return the bytes on the wire, whatever their Content-Encoding."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with client.stream("GET", path, headers=headers) as answer:
        return b"".join(answer.iter_raw())

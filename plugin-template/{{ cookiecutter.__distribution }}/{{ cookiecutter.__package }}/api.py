"""What this plugin answers over HTTP."""

from quetz.plugin_api import Channel, GuardedRouter, Operation, ReadSession, declares

router = GuardedRouter(tags=["{{ cookiecutter.__distribution }}"])


# Who may not read the channel is refused before the function is called.
@router.get(
    "/api/channels/{channel}/{{ cookiecutter.__distribution }}",
    **declares(Operation.CHANNEL_READ),
)
def count_packages(channel: str, session: ReadSession) -> dict[str, int]:
    """Tell how many packages the channel has."""
    found = session.query(Channel).filter_by(name=channel.lower()).one()
    return {"packages": found.packages_count}

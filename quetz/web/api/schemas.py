"""The JSON of channels, members, packages and versions.

Clients build strict records from these: a key more or less in an answer breaks them.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Row

from quetz.db.models import Channel, File, Package, User
from quetz.services.channels import TTL_SECONDS, ChannelChanges, NewChannel
from quetz.services.packages import NewPackage
from quetz.services.permissions import Role
from quetz.services.texts import (
    CHANNEL_DESCRIPTION_LENGTH,
    METADATA_LENGTH,
    METADATA_TEXT_LENGTH,
    PACKAGE_DESCRIPTION_LENGTH,
)
from quetz.web.api.pages import Text

Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[int, Field(ge=0, lt=2**31)]
Names = Annotated[
    list[Annotated[str, Field(max_length=METADATA_TEXT_LENGTH)]], Field(max_length=METADATA_LENGTH)
]
Wish = TypeVar("Wish")

_SAID_BY_FILES = "Taken and ignored: the files of a package say it."
_EPOCH = datetime.fromtimestamp(0, UTC)


def iso_time(milliseconds: int) -> str:
    """Return e.g. ``2026-01-02T03:04:05.123000+00:00`` for Unix milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="microseconds")


def milliseconds(time: datetime) -> int:
    """Return Unix milliseconds, rounded up; a time without a zone is in UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return -((_EPOCH - time) // timedelta(milliseconds=1))


# Channels


def refuse_mirroring(value: Wish) -> Wish:
    if value:
        raise ValueError("this server holds only channels of its own packages; leave it out")
    return value


class ChannelMetadata(BaseModel):
    model_config = ConfigDict(extra="forbid")

    includelist: Names | None = None
    excludelist: Names | None = None
    proxylist: Names | None = None


class ChannelIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    description: Annotated[Text, Field(max_length=CHANNEL_DESCRIPTION_LENGTH)] | None = None
    private: bool = True
    size_limit: Bytes | None = None
    ttl: Seconds = TTL_SECONDS
    mirror_channel_url: Annotated[str | None, AfterValidator(refuse_mirroring)] = None
    mirror_mode: Annotated[str | None, AfterValidator(refuse_mirroring)] = None
    metadata: ChannelMetadata = ChannelMetadata()
    actions: Annotated[list[str] | None, AfterValidator(refuse_mirroring)] = None

    def as_new(self) -> NewChannel:
        return NewChannel(
            name=self.name,
            description=self.description,
            private=self.private,
            size_limit=self.size_limit,
            ttl=self.ttl,
            metadata=self.metadata.model_dump(exclude_unset=True),
        )


class ChannelPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    private: bool = True
    size_limit: Bytes | None = None
    ttl: Seconds = TTL_SECONDS
    metadata: ChannelMetadata = ChannelMetadata()

    def as_changes(self) -> ChannelChanges:
        """Return the keys that were given."""
        changes: ChannelChanges = self.model_dump(exclude_unset=True)  # type: ignore[assignment]
        return changes


class ChannelBase(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str | None
    private: bool
    size_limit: int | None
    ttl: int
    mirror_channel_url: str | None
    mirror_mode: str | None


class ChannelExtra(ChannelBase):
    members_count: int
    packages_count: int

    @classmethod
    def of(cls, channel: Channel, members_count: int) -> "ChannelExtra":
        return cls(
            **ChannelBase.model_validate(channel).model_dump(),
            members_count=members_count,
            packages_count=channel.packages_count,
        )


class ChannelFound(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str | None
    private: bool


# Members


class Profile(BaseModel):
    name: str | None
    avatar_url: str

    @classmethod
    def of(cls, user: User | None) -> "Profile":
        """Return a user's profile; an empty one for a user who is no more."""
        if user is None or user.disabled_at is not None:
            return cls(name=None, avatar_url="")
        return cls(name=user.name, avatar_url=user.avatar_url)


class UserOut(BaseModel):
    id: str
    username: str
    profile: Profile

    @classmethod
    def of(cls, user: User) -> "UserOut":
        return cls(id=user.public_id, username=user.username, profile=Profile.of(user))


class MemberOut(BaseModel):
    role: Role
    user: UserOut

    @classmethod
    def of(cls, user: User, role: str) -> "MemberOut":
        return cls(role=Role(role), user=UserOut.of(user))


class MemberIn(BaseModel):
    username: Text
    role: Role


# Packages and versions


class PackageIn(BaseModel):
    """The keys of ``PackageOut``; what the files of a package say is taken from no one else."""

    model_config = ConfigDict(extra="forbid")

    name: str
    summary: Annotated[Text, Field(max_length=10_000)] | None = None
    description: Annotated[Text, Field(max_length=PACKAGE_DESCRIPTION_LENGTH)] | None = None
    url: Annotated[Text, Field(max_length=2000)] | None = None
    platforms: Annotated[list[str] | None, Field(description=_SAID_BY_FILES)] = None
    current_version: Annotated[str | None, Field(description=_SAID_BY_FILES)] = None
    latest_change: Annotated[str | None, Field(description=_SAID_BY_FILES)] = None

    def as_new(self) -> NewPackage:
        return NewPackage(self.name, self.summary, self.description, self.url)


class PackageOut(BaseModel):
    name: str
    summary: str | None
    description: str | None
    url: str | None
    platforms: list[str]
    current_version: str | None
    latest_change: str | None

    @classmethod
    def of(cls, package: Package) -> "PackageOut":
        return cls(**package_values(package))


class PackageFound(PackageOut):
    """A package and the channel that holds it."""

    channel_name: str

    @classmethod
    def found(cls, package: Package, channel_name: str) -> "PackageFound":
        return cls(**package_values(package), channel_name=channel_name)


def package_values(package: Package) -> dict[str, Any]:
    changed = package.latest_change
    return {
        "name": package.name,
        "summary": package.summary,
        "description": package.description,
        "url": package.url,
        "platforms": package.platforms.split(),
        "current_version": package.current_version,
        "latest_change": None if changed is None else iso_time(changed),
    }


class VersionOut(BaseModel):
    id: str
    channel_name: str
    package_name: str
    platform: str
    version: str
    build_string: str
    build_number: int
    filename: str
    info: dict[str, Any]
    uploader: Profile
    time_created: str
    download_count: int

    @classmethod
    def of(cls, channel: Channel, row: Row[File, User | None, int]) -> "VersionOut":
        file, uploader, downloads = row
        return cls(
            id=file.public_id,
            channel_name=channel.name,
            package_name=file.name,
            platform=file.subdir,
            version=file.version,
            build_string=file.build,
            build_number=file.build_number,
            filename=file.filename,
            info=json.loads(file.record),
            uploader=Profile.of(uploader),
            time_created=iso_time(file.uploaded_at),
            download_count=downloads,
        )

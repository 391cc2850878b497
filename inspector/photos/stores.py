"""Opening object stores and web servers through obstore, which is imported only here and only when
one is needed: credentials, time limits, and errors as those of an operating system."""

from __future__ import annotations

import configparser
import errno
import os
import re
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from inspector.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = {"connect_timeout": "5s", "read_timeout": "15s", "timeout": "1h", "allow_http": True}
"""No connection, or not a byte, for so long is an error; a large photo may take its time."""
RETRIES = 4
_RETRY_S = 20
"""Seconds after which nothing is tried again: an error is certain within twice this time."""
_OWN_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
"""Variables by which obstore finds credentials itself; without them a profile comes first."""
_METADATA = re.compile(r"169\.254\.1|token request|credential|Account must be", re.I)
_WHAT = (
    re.compile(r"<Message>([^<\n]+)"),
    re.compile(r"status code: (\d{3} [A-Za-z ]+)"),
    re.compile(r"- HTTP error: ([^\n]+)"),
)
"""What matters in an error of obstore, which is a page long."""
_LONGEST = 500
"""Letters of it that are kept."""
CHAIN = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws or a role of this "
    "machine; AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login or a role of this "
    "machine; GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, a "
    "managed identity, or AZURE_USE_AZURE_CLI=true",
}
"""Where credentials come from, by scheme."""


class NoCredentialsError(PermissionError):
    """The store wants to know who asks, and nothing says so."""


@lru_cache(maxsize=256)
def open_store(scheme: str, place: str) -> Any:
    """Return a bucket, a container or a web server (then `place` is its address, or that of a
    single file). Raises OSError where obstore is missing or settings cannot be right."""
    try:
        from obstore import store as stores
    except ImportError as error:
        what = 'needs obstore, which is not installed; pip install "crack-inspector[buckets]"'
        raise OSError(errno.EIO, f"{scheme}:// {what}") from error
    from datetime import timedelta

    options: dict[str, Any] = {
        "client_options": CLIENT,
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)},
    }
    try:
        if scheme == "s3":
            return stores.S3Store(place, **options, **_profile())
        if scheme == "gs":
            return stores.GCSStore(place, **options)
        if scheme == "az":
            return stores.AzureStore(place, **options)
        return stores.HTTPStore.from_url(place, **options)
    except OSError:
        raise
    except Exception as error:  # of several types, for settings that cannot be right
        raise _as_os_error(scheme, error) from error


def _profile() -> dict[str, Any]:
    """Return what the person's AWS profile says, where no variable says who they are: keys; or for
    a login or a role the provider of boto3, which knows how to get them. Raises OSError."""
    name = os.environ.get("AWS_PROFILE", "default")
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        parser = configparser.RawConfigParser()
        place = os.environ.get(variable) or os.path.join("~", ".aws", file)
        try:
            parser.read(os.path.expanduser(place), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            what = " ".join(str(error).split())
            raise OSError(errno.EIO, f"the settings in {place} cannot be read: {what}") from error
        if parser.has_section(section):
            found |= dict(parser.items(section))
    config = {}
    if "region" in found and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & set(os.environ):
        config["region"] = found["region"]
    if "endpoint_url" in found and not {"AWS_ENDPOINT", "AWS_ENDPOINT_URL"} & set(os.environ):
        config["endpoint"] = found["endpoint_url"]
    if any(map(os.environ.get, _OWN_KEYS)) or not found:
        return {"config": config}
    if "aws_access_key_id" in found:
        config["access_key_id"] = found["aws_access_key_id"]
        config["secret_access_key"] = found.get("aws_secret_access_key", "")
        if "aws_session_token" in found:
            config["session_token"] = found["aws_session_token"]
        return {"config": config}
    if not any(word in key for key in found for word in ("sso_", "role_arn", "process", "login")):
        return {"config": config}
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        what = f"the AWS profile {name!r} takes a role or a login, which needs boto3"
        raise NoCredentialsError(errno.EACCES, f"{what}; pip install boto3") from error
    provider = Boto3CredentialProvider(boto3.Session(profile_name=name))
    return {"config": config, "credential_provider": provider}


@contextmanager
def store_errors(scheme: str) -> Iterator[None]:
    """Turn what obstore raises into an OSError with a number and a few words."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, _reason(error)) from error
    except OSError:
        raise
    except ValueError as error:
        raise OSError(errno.EINVAL, f"a key that cannot be read: {_reason(error)}") from error
    except Exception as error:
        raise _as_os_error(scheme, error) from error


def _as_os_error(scheme: str, error: Exception) -> OSError:
    kind, reason = type(error).__name__, _reason(error)
    if kind == "AlreadyExistsError":
        return FileExistsError(errno.EEXIST, reason)
    if kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return PermissionError(errno.EACCES, reason)
    if scheme in CHAIN and _METADATA.search(reason):
        return NoCredentialsError(errno.EACCES, f"no credentials; they come from {CHAIN[scheme]}")
    if not type(error).__module__.startswith("obstore"):
        raise error
    if kind == "InvalidPathError":
        return OSError(errno.EINVAL, reason)
    return OSError(errno.ENOENT if "NoSuchBucket" in str(error) else errno.EIO, reason)


def _reason(error: Exception) -> str:
    """The one line that says what happened, in words of a server that may be anybody's."""
    text = str(error).partition("\n\nDebug source")[0]
    found = None
    if not _METADATA.search(text.partition("<")[0]):
        found = next((match[1] for words in _WHAT if (match := words.search(text))), None)
        if isinstance(error, FileNotFoundError) and found in (None, "404 Not Found"):
            found = "there is no such object"
    return printable(" ".join((found or text).split()))[:_LONGEST].rstrip(" .")

"""The engine: how it is reached, whether it will do, and what its errors mean to a person."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import docker
import requests
from docker.errors import DockerException

from smolagents_hardened.backends.docker_witness import Engine
from smolagents_hardened.errors import BackendError, BackendUnavailable

OLDEST_API = (1, 41)  # engine 20.10: private cgroup namespaces; older ones drop options we rely on without a word
TIMEOUT_S = 20  # for one engine call on a loaded machine: a frozen engine must not hold a step for minutes
IMAGE_TIMEOUT_S = 600  # without a word from the engine while it makes an image
DEFAULT_HOST = "unix:///var/run/docker.sock"
MAKE_ROOM = "Make room on the engine's disk: docker system df shows what takes it, docker system prune what is unused"
EngineErrors = (DockerException, requests.RequestException)


def connect() -> docker.DockerClient:
    """A client for the engine that the environment names. Raises BackendUnavailable, with the way out."""
    try:
        _knock(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
        return docker.from_env(timeout=TIMEOUT_S)
    except (OSError, *EngineErrors) as error:
        raise BackendUnavailable(f"no Docker engine can be used here: {_advice(error)}") from error


@contextlib.contextmanager
def patient(client: docker.DockerClient) -> Iterator[None]:
    """Image work takes as long as it takes: a longer timeout for the calls in this block."""
    usual, client.api.timeout = client.api.timeout, IMAGE_TIMEOUT_S
    try:
        yield
    finally:
        client.api.timeout = usual


def _knock(host: str) -> None:
    """Try a unix socket before the SDK does, which leaves one open when it fails. Raises OSError."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(TIMEOUT_S)
            probe.connect(host.removeprefix("unix://"))


def examine(client: docker.DockerClient) -> Engine:
    """What the engine says about itself. Raises BackendUnavailable for one that is too old or not Linux on x86-64."""
    with translated("ask the engine for its version"):
        version, info = client.version(), client.info()
    api = tuple(int(number) for number in str(version["ApiVersion"]).split("."))
    if api < OLDEST_API:
        raise BackendUnavailable(
            f"the Docker engine {version['Version']} is too old: 20.10 or newer is needed "
            f"(API 1.41, not {version['ApiVersion']})"
        )
    if (info.get("OSType"), info.get("Architecture")) != ("linux", "x86_64"):
        raise BackendUnavailable(
            f"the Docker engine runs boxes for {info.get('OSType')} on {info.get('Architecture')}; "
            "the system call filters are made for Linux on x86_64"
        )
    options = ",".join(info.get("SecurityOptions") or ()).split(",")
    return Engine(
        version=str(version["Version"]),
        cgroup_version=2 if info.get("CgroupVersion") == "2" else 1,
        is_user_mapped=bool({"name=userns", "name=rootless"} & set(options)),
        is_local=url(client) is not None and str(url(client)).startswith("unix:"),
    )


def url(client: docker.DockerClient) -> str | None:
    """The address that reaches the same engine from another process; None where the environment has to name it."""
    base = str(client.api.base_url)
    if base == "http+docker://localhost":
        adapter = client.api._custom_adapter  # type: ignore[attr-defined]  # the SDK keeps the path nowhere else
        return f"unix://{adapter.socket_path}"
    return base.replace("http://", "tcp://", 1) if base.startswith("http://") else None


@contextlib.contextmanager
def translated(act: str) -> Iterator[None]:
    """Turn what the SDK raises into BackendUnavailable: the engine could not do `act`."""
    try:
        yield
    except EngineErrors as error:
        raise BackendUnavailable(f"the Docker engine could not {act}: {_advice(error)}") from error


@contextlib.contextmanager
def lost(act: str) -> Iterator[None]:
    """Turn what the SDK raises into BackendError: a box that exists could not be dealt with."""
    try:
        yield
    except EngineErrors as error:
        raise BackendError(f"the Docker engine could not {act}: {_advice(error)}") from error


def _advice(error: BaseException) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return "this user may not use its socket. Run: sudo usermod -aG docker $USER, and log in again"
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        return "it is not running. Run: sudo systemctl start docker; or let DOCKER_HOST name another engine"
    return explained(str(getattr(error, "explanation", None) or error))


def explained(said: str) -> str:
    """What the engine said, with what to do about it where that can be known."""
    return f"{said}. {MAKE_ROOM}" if "no space left on device" in said else said


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it; the libraries below put the reason into the arguments of theirs."""
    yield error
    behind = [error.__cause__, *error.args]
    for cause in behind:
        if isinstance(cause, BaseException):
            yield from _causes(cause)

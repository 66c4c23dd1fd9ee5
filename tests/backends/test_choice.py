"""Which backend is taken: the first that enforces what is required, with the reasons where none does."""

from __future__ import annotations

import pytest

from smolagents_hardened.backends import choice
from smolagents_hardened.backends.base import Backend, BoxRequest
from smolagents_hardened.backends.choice import choose
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.backends.native_probe import probe
from smolagents_hardened.errors import BackendUnavailable, NotEnforced
from smolagents_hardened.limits import Limits


def refuse(*_: object, **__: object) -> Backend:
    """A backend that cannot be had."""
    raise BackendUnavailable("it is not to be had")


def test_auto_takes_native_where_it_enforces_everything() -> None:
    """The first of the order that passes its probe, and a line that says so."""
    told: list[str] = []
    backend = choose("auto", REQUIRED, told.append)
    assert backend.name == "native"
    assert told[-1].startswith("backend: native (the first on this host that enforces all")


def test_auto_goes_on_to_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where native is refused, Docker is taken."""
    monkeypatch.setattr(choice, "_native", refuse)
    told: list[str] = []
    backend = choose("auto", REQUIRED, told.append)
    backend.close()
    assert backend.name == "docker"
    assert told[-1].startswith("backend: docker")


def test_auto_refuses_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither can be had the error says why for each, and nothing weaker is taken."""
    monkeypatch.setattr(choice, "_native", refuse)
    monkeypatch.setattr(choice, "_docker", refuse)
    with pytest.raises(BackendUnavailable, match=r"native: it is not to be had -- docker: it is not to be had"):
        choose("auto", REQUIRED, print)


def test_a_named_backend_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names one gets that one or its error."""
    monkeypatch.setattr(choice, "_native", refuse)
    with pytest.raises(BackendUnavailable, match="it is not to be had"):
        choose("native", REQUIRED, print)


def test_a_backend_object_is_taken_as_it_is() -> None:
    """No probe, no line."""
    backend = NativeBackend()
    assert choose(backend, REQUIRED, refuse) is backend


def test_the_probe_asks_for_what_is_required() -> None:
    """It looks at a box that has reported; a layer that nobody reports is missing."""
    assert probe(NativeBackend(), BoxRequest(Limits(), required=REQUIRED))["seccomp_run"].level == "full"
    with pytest.raises(NotEnforced, match="was not reported"):
        probe(NativeBackend(), BoxRequest(Limits(), required=frozenset({"teleportation"})))


def test_what_the_code_may_import_is_preloaded() -> None:
    """numpy and pandas are imported once for all boxes, where the code may import them."""
    backend = choose("native", REQUIRED, print, imports=("pandas", "numpy.*", "json"))
    assert isinstance(backend, NativeBackend)
    assert backend._preload == ("numpy", "pandas")

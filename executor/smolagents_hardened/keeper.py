"""The box of one executor: started when first needed, told what it has to know, replaced when it is gone."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol, cast

from smolagents_hardened.backends.base import Backend, Box, BoxRequest
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.carried import libraries
from smolagents_hardened.config import Config
from smolagents_hardened.errors import (
    AuditError,
    BackendError,
    BoxDied,
    BoxError,
    ConfigError,
    MissingImports,
    WireViolation,
)
from smolagents_hardened.files.inputs import Input, look_again
from smolagents_hardened.session import Session
from smolagents_hardened.toolbox import Toolbox
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.schema import is_name
from smolagents_hardened.wire.values import Encoded, EncodeError

LARGE_BYTES = 16 * 2**20  # about half a second on its way: worth a line


class Note(Protocol):
    """Writes a record of the trail, in the terms of the run that goes on."""

    def __call__(self, kind: str, **told: object) -> object:
        """Append it. Raises AuditError."""


class Keeper:
    """Holds at most one live session. Used by the thread that runs a step; `end` and `session` by any."""

    def __init__(
        self,
        config: Config,
        backend: Backend,
        toolbox: Toolbox,
        make_session: Callable[[Box], Session],
        note: Note,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._backend = backend
        self._toolbox = toolbox
        self._make_session = make_session
        self._note = note
        self._say = say
        self._pid = os.getpid()
        self._variables: dict[str, object] = {}  # what the host has sent: sent again to a fresh box
        self._unsent: dict[str, object] = {}
        self._is_configured = False
        self._files = config.files  # as they were when the latest box took them
        self._finalizer: weakref.finalize[[Box], Keeper] | None = None
        self._ends = 0  # how often `end` was called
        self.session: Session | None = None
        self.enforcement: Enforcement | None = None  # of the latest box

    def ready(self) -> Session:
        """The session, started and told about tools and variables."""
        if self._pid != os.getpid():  # a fork: the box belongs to the parent, a child takes one of its own
            self._pid, self.session = os.getpid(), None
        session = self.session
        if session is None or not session.is_alive:
            session = self._start()
        with self.recorded():
            self._update(session)
        return session

    def offer_again(self) -> None:
        """The tools have changed: the box is told before its next step."""
        self._is_configured = False

    def send(self, variables: Mapping[str, object]) -> None:
        """Have these variables in the box from its next step on. Raises ConfigError for one that cannot cross."""
        for name, value in variables.items():
            if not is_name(name) or name.startswith("__"):
                raise ConfigError(f"a variable's name must be a Python identifier and no keyword, not {name[:80]!r}")
            self._encode({name: value})
        self._variables.update(variables)
        self._unsent.update(variables)

    def get(self, name: str) -> object:
        """A variable of the box, as the box tells it."""
        session = self.session
        if session is None or not session.is_alive or self._unsent or not self._is_configured:
            session = self.ready()
        with self.recorded():
            return session.get(name)

    def living(self) -> Session | None:
        """The session, if there is one and it is alive and this process' own: nothing is started."""
        session = self.session
        return session if session is not None and session.is_alive and self._pid == os.getpid() else None

    def end(self) -> None:
        """End the box, or the one that starts. Idempotent; `ready` starts a fresh one."""
        self._ends += 1
        session = self.session
        self._toolbox.forget()
        if session is not None:
            session.close()
        if session is not None and self.session is session:  # forgotten now: a Ctrl-C may have cut the close short
            self.session = None
            if self._finalizer is not None:
                self._finalizer.detach()
            self._note("box_end")

    def say_if_large(self, what: str, encoded: Encoded) -> None:
        """A line for what takes its time on the way into the box."""
        if encoded.size_bytes >= LARGE_BYTES:
            self._say(f"sending {what} to the sandbox: {encoded.size_bytes // 2**20} MiB")

    def _update(self, session: Session) -> None:
        if not self._is_configured:
            session.configure(self._config.authorized, self._toolbox.names, self._config.gate)
            self._is_configured = True
        if self._unsent:
            encoded = self._encode(self._unsent)
            self.say_if_large("variables", encoded)
            session.set(cast(dict[str, Tree], encoded.tree), encoded)
            self._unsent = {}

    def _start(self) -> Session:
        ends = self._ends
        config, files = self._config, self._look_at_files()
        # Whatever may be weaker by the user's own word: files of the host are mounted as asked, or there is no box.
        required = config.required | ({"root_filesystem"} if files else set())
        request = BoxRequest(config.limits, config.profile, required, files=files, imports=self._imports())
        box = self._backend.start(request)
        if self._finalizer is not None:
            self._finalizer()  # the box before, should a Ctrl-C have kept it from being closed
        self._finalizer = weakref.finalize(self, _let_go, box)
        session = self._make_session(box)
        with self.recorded():
            session.open()
        try:
            self._note(
                "box_start",
                box=box.id,
                image=box.manifest.image,
                backend=self._backend.name,
                enforcement=session.enforcement.to_dict(),
                profile=session.enforcement.profile,
                warnings=list(session.enforcement.warnings),
            )
        except BaseException:  # a full disk: no code may run in a box that is not on record
            session.close()
            raise
        self.session = session
        if ends != self._ends:  # another thread's `end` has found no box yet
            self.end()
            raise BoxDied("the sandbox was closed while it started", "killed")
        self.enforcement = session.enforcement
        self._is_configured = False
        self._toolbox.forget()
        self._unsent = dict(self._variables)
        for warning in session.enforcement.warnings:
            self._say(f"warning: {warning}")
        return session

    def _look_at_files(self) -> tuple[Input, ...]:
        """The inputs as they are now; that one is another one than last time is said and recorded."""
        self._files, changed = look_again(self._files, self._config.limits)
        for name in changed:
            self._say(f"the input {name!r} has changed on the host: the box gets it as it is now")
            self._note("input_changed", name=name)
        return self._files

    def _imports(self) -> tuple[str, ...]:
        """What was authorised; and the libraries of what was sent so far, where the backend has them."""
        authorized = self._config.authorized
        wanted = (*authorized, *sorted(libraries(self._encode(self._variables).tree)))
        with suppress(MissingImports):
            if wanted != authorized and self._backend.manifest(wanted):
                return wanted
        return authorized

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """However the box ends within, it is on record: it died, it lied, or was ended. It is not the next step's."""
        try:
            yield
        except BoxError as error:
            self._note_end(error)
            raise
        except BaseException:
            with suppress(AuditError):  # it is not to hide what has ended the box
                self._note_end()
            raise
        self._note_end()

    def _note_end(self, failure: BoxError | None = None) -> None:
        session = self.session
        has_ended = session is not None and not session.is_alive
        if session is not None and has_ended:
            self.session = None
            failure = failure or session.failure
        if isinstance(failure, WireViolation):
            self._note("violation", reason=str(failure))
        elif isinstance(failure, BoxDied) and failure.cause != "killed":
            self._note("box_died", reason=str(failure))
        elif has_ended:
            self._note("box_end")

    def _encode(self, variables: Mapping[str, object]) -> Encoded:
        try:
            return self._toolbox.encode(dict(variables))
        except EncodeError as error:
            raise ConfigError(f"variables {sorted(variables)} cannot be put into the sandbox: {error}") from error


def _let_go(box: Box) -> None:
    """An executor that is dropped takes its box with it. Where the engine is gone, the reaper tries again."""
    with suppress(BackendError):
        box.close()

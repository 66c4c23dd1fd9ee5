"""The whole error tree, and whose fault each branch is.

::

    HardenedError
      ConfigError           yours: something impossible or unsafe was asked for; nothing was started
        MissingImports        an authorised import that no box here can have; says what to install or build
      BackendError          this host could not make or keep a box
        BackendUnavailable    no engine, no image, no user namespaces ...
        NotEnforced           a required layer is not in force; always fatal
      BoxError              the box misbehaved; it is dead now
        WireViolation         it broke the protocol
        BoxDied               it ended by itself: exit status, signal, out of memory
      FileRefused           a file of a box is not there, cannot be handed out, or cannot be saved there
      AuditError            the record could not be written, so the call was not made
    RunStopped(BaseException)  a hook stopped the run; carries the reason

User code that raises, a limit that is hit, a tool that is refused are outcomes (`outcome.py`), not errors of ours.
"""

from __future__ import annotations


class HardenedError(Exception):
    """Base of every error of this package."""


class ConfigError(HardenedError, ValueError):
    """What was asked for is impossible or unsafe; nothing was started."""


class MissingImports(ConfigError):
    """An authorised import that no box here can have; the message says what to install, or which image to build."""


class BackendError(HardenedError):
    """This host could not make or keep a box."""


class BackendUnavailable(BackendError):
    """The backend cannot be used here at all; the message says what is missing and how to get it."""


class NotEnforced(BackendError):
    """A required layer is not in force in the box that was started, so that box was ended."""


class BoxError(HardenedError):
    """The box misbehaved and has been ended."""


class WireViolation(BoxError):
    """The box sent bytes that the protocol does not allow."""


class BoxDied(BoxError):
    """The box ended by itself; `cause` is 'exit', 'signal', 'oom' or 'unknown'."""

    def __init__(self, message: str, cause: str = "unknown") -> None:
        super().__init__(message)
        self.cause = cause


class FileRefused(HardenedError):
    """A file of a box is not handed out, or not saved: `problem` is a word of the wire's, or ours."""

    def __init__(self, message: str, problem: str = "refused") -> None:
        super().__init__(message)
        self.problem = problem


class AuditError(HardenedError):
    """An audit record could not be written, so the call was not made; if only its OUTCOME is lost, the text says so."""


class RunStopped(BaseException):
    """A hook or a person stopped the whole run.

    It derives from BaseException because smolagents feeds every Exception back to the model and goes on.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

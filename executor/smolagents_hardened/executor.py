"""HardenedExecutor: what smolagents' CodeAgent expects of a PythonExecutor, in a box.

The only room besides `register` and `toolbox` that knows smolagents. It turns an outcome into a CodeOutput or into the
exception that the agent feeds back to the model, and it replaces a box that is gone.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import Any, assert_never, cast

from smolagents.local_python_executor import (
    CodeOutput,
    ExecutionTimeoutError,
    InterpreterError,
    PythonExecutor,
)
from smolagents.utils import truncate_content

from smolagents_hardened import config
from smolagents_hardened.at_work import AT_WORK
from smolagents_hardened.audit.digest import digest, digest_text
from smolagents_hardened.backends.base import Backend, Box, BoxRequest, Manifest
from smolagents_hardened.backends.choice import choose
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.calling import Caller
from smolagents_hardened.errors import BackendError, BoxError, ConfigError, HardenedError, RunStopped, WireViolation
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.served import refusal_text
from smolagents_hardened.governed import Governed, govern_members
from smolagents_hardened.host_text import neutral
from smolagents_hardened.installed import refuse_missing
from smolagents_hardened.live import LiveLog
from smolagents_hardened.outcome import Broke, FinalAnswer, Finished, Limit, LimitHit, Outcome, Raised
from smolagents_hardened.scope import without_pythons_own
from smolagents_hardened.session import Session
from smolagents_hardened.state import State
from smolagents_hardened.step import Answer
from smolagents_hardened.toolbox import Toolbox
from smolagents_hardened.unsandboxed import refuse_unsandboxed
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.schema import is_name
from smolagents_hardened.wire.values import Encoded, EncodeError

LARGE_BYTES = 16 * 2**20  # about half a second on its way: worth a line
STATE_LOST = (
    " The sandbox was replaced: all variables, functions and imports of earlier steps are gone. Define them again."
)


class TimeIsUp(InterpreterError, ExecutionTimeoutError):  # type: ignore[misc]  # smolagents ships no types
    """The wall limit of a step was hit: what smolagents' own executor raises, and an InterpreterError like the rest."""


class HardenedExecutor(PythonExecutor):  # type: ignore[misc]  # smolagents ships no types
    """Runs the snippets of one agent in one hardened box at a time.

    The options are those of `config.Options`, all of which can be plain JSON, and `on_print`, a callable that gets what
    the snippet prints as it comes. The constructor reads the image's manifest and starts no box: an authorised import
    that the image lacks is a ConfigError. The first snippet starts the box.

    Raises ConfigError, BackendUnavailable; a step raises smolagents' InterpreterError (the model reads it), RunStopped
    (a hook ended the run), NotEnforced and AuditError. Use it as a context manager or call `cleanup()`.
    """

    _task: Callable[[], object] | None = None  # set by `name_agent`

    def __init__(self, additional_authorized_imports: Sequence[str] = (), logger: Any = None, **options: Any) -> None:
        on_print = options.pop("on_print", None)
        config.refuse_unknown(options)
        self.config = config.from_options(additional_authorized_imports, config.Options(**options))
        self._logger = logger
        self._live = LiveLog(logger) if logger is not None else None
        self._on_print: Callable[[str], None] | None = on_print
        self._run_id = uuid.uuid4().hex
        self._step = 0
        self._pid = os.getpid()
        self._agent = "agent"
        self._code = ""
        self._printed: list[str] = []  # of the running step, as it comes
        self._stopped: RunStopped | None = None
        self._entered = Lock()
        self._tools: dict[str, Callable[..., object]] = {}
        self._variables: dict[str, object] = {}  # what the host has sent: sent again to a fresh box
        self._unsent: dict[str, object] = {}
        self._is_configured = False
        self._session: Session | None = None
        self._enforcement: Enforcement | None = None
        self.state = State(self._get)
        self._open()

    def _open(self) -> None:
        """Find a backend and read its image; whatever is refused on the way, nothing stays open."""
        self._backend: Backend = choose(
            self.config.backend, self.config.required, self._say, self.config.authorized, self.config.limits
        )
        self._finalizer: weakref.finalize[[Box], HardenedExecutor] | None = None
        with ExitStack() as undo:
            undo.callback(self._close_backend)
            self._manifest = self._backend.manifest()
            refuse_missing(self.config.authorized, self._manifest)
            self.governor = self.config.charter.open(self._run_id)
            undo.pop_all()
        self.trail = self.governor.trail
        self._caller = Caller(self.governor.loop, self.config.tool_timeouts)
        self._governed: list[Governed] = []  # managed ToolCallingAgents: their calls pass the same governor
        self._toolbox = Toolbox(self.governor, self.config.limits, self._make_call, self._where, self._caller)
        self._toolbox.replace(self._functions())

    # ---- what smolagents calls ---------------------------------------------------------------------------

    def send_tools(self, tools: Mapping[str, Callable[..., object]]) -> None:
        """Offer these tools and managed agents from now on; variables stay."""
        refuse_unsandboxed(tools, self.config.allow_unsandboxed_agents, self._say)
        self._governed += govern_members(tools, self.governor, self._caller)
        self._tools = without_pythons_own(tools)
        self._toolbox.replace({**self._functions(), **self._tools})
        self._is_configured = False

    def send_variables(self, variables: Mapping[str, object]) -> None:
        """Put variables into the box. Raises ConfigError for a value that cannot cross."""
        for name, value in variables.items():
            if not is_name(name) or name.startswith("__"):
                raise ConfigError(f"a variable's name must be a Python identifier and no keyword, not {name[:80]!r}")
            self._encode({name: value})
        self._variables.update(variables)
        self._unsent.update(variables)

    def __call__(self, code_action: str) -> CodeOutput:
        """Run one snippet. Raises InterpreterError with what the model has to read."""
        if not self._entered.acquire(blocking=False):
            raise HardenedError(
                "this executor is already running a step: give each agent or thread an executor of its own"
            )
        try:
            return self._run(code_action)
        except RunStopped as stopped:
            self._stopped = stopped
            raise
        finally:
            self._entered.release()

    def cleanup(self) -> None:
        """End the box. Idempotent; a later step starts a fresh one."""
        session, self._session = self._session, None
        self._toolbox.forget()
        if session is not None:
            session.close()
            self._forget_box()
            self.trail.append("box_end", run=self._run_id)

    # ---- ours --------------------------------------------------------------------------------------------

    def interrupt(self, reason: str) -> None:
        """End the running step, from any thread; the session is kept if the code can be interrupted.

        A wait for a person's answer ends at once; a tool that runs is awaited and recorded.
        """
        session = self._session
        if session is not None:
            session.interrupt(reason)
        self.governor.interrupt(reason)

    @property
    def enforcement(self) -> Enforcement | None:
        """Every layer of the box as read back; None until a box is up."""
        return self._enforcement

    @property
    def manifest(self) -> Manifest:
        """What the box's image holds."""
        return self._manifest

    def start(self) -> Enforcement:
        """Start the box now rather than with the first snippet, and say what is in force in it."""
        self._ready()
        assert self._enforcement is not None  # nosec B101 - _ready has set it
        return self._enforcement

    def take_stop(self) -> RunStopped | None:
        """What stopped the run in the latest step, once."""
        stopped, self._stopped = self._stopped, None
        return stopped

    def name_agent(self, name: str, task: Callable[[], object] | None = None) -> None:
        """The name under which calls are judged and recorded; `task` reads what a person has asked the agent to do."""
        self._agent = name
        self._task = task

    def __enter__(self) -> HardenedExecutor:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the box, the governor and the trail; the executor cannot be used afterwards."""
        self.cleanup()
        for governed in self._governed:
            governed.release()
        self.governor.close()
        self._close_backend()
        self.trail.close()

    def _close_backend(self) -> None:
        if isinstance(self.config.backend, str):  # one that was given belongs to whoever gave it
            self._backend.close()

    # ---- a step ------------------------------------------------------------------------------------------

    def _run(self, code: str) -> CodeOutput:
        self._step += 1
        self._code = code
        self._printed.clear()
        self.state.logs = ""
        chain = (*AT_WORK.get(), self._agent)
        task = self._task() if self._task is not None else None
        if isinstance(task, str):
            self.governor.flow.begin(task)
        call = CodeCall(self._run_id, self._step, self._agent, chain, code, digest_text(code))
        refused = self.governor.judge_code(call)
        if refused is not None:
            raise InterpreterError(refusal_text("the code", refused))
        session = self._ready()
        at_work = AT_WORK.set(chain)
        self._toolbox.begin_step()
        try:
            outcome = session.run(code, self.config.wall_s)
        finally:
            AT_WORK.reset(at_work)
            if self._live is not None:
                self._live.end()
            self.state.logs = truncate_content("".join(self._printed), max_length=self.config.print_characters)
            if not session.is_alive:
                self._session = None
        return self._output(outcome)

    def _output(self, outcome: Outcome) -> CodeOutput:
        match outcome:
            case Finished(value):
                return CodeOutput(output=value, logs=self.state.logs, is_final_answer=False)
            case FinalAnswer(value):
                return CodeOutput(output=value, logs=self.state.logs, is_final_answer=True)
            case Raised(_, message):
                raise InterpreterError(neutral(message))
            case LimitHit(limit, message, _, state_lost):
                told = {"limit": limit.value, "reason": message, "state_lost": state_lost}
                self.trail.append("limit", run=self._run_id, step=self._step, **told)
                error = TimeIsUp if limit is Limit.TIME else InterpreterError
                raise error(message + (STATE_LOST if state_lost else ""))
            case Broke(message, _, is_violation):
                self.trail.append(
                    "violation" if is_violation else "box_died",
                    run=self._run_id,
                    step=self._step,
                    reason=message,
                )
                raise InterpreterError(message + STATE_LOST)
            case never:
                assert_never(never)

    def _ready(self) -> Session:
        """The session, started and told about tools and variables."""
        if self._pid != os.getpid():  # a fork: the box belongs to the parent, a child takes one of its own
            self._pid, self._session = os.getpid(), None
        session = self._session
        if session is None or not session.is_alive:
            session = self._start()
        with self._recorded():
            self._update(session)
        return session

    def _update(self, session: Session) -> None:
        if not self._is_configured:
            session.configure(self.config.authorized, self._toolbox.names, self.config.gate)
            self._is_configured = True
        if self._unsent:
            encoded = self._encode(self._unsent)
            self._say_if_large("variables", encoded)
            session.set(cast(dict[str, Tree], encoded.tree), encoded)
            self._unsent = {}

    def _start(self) -> Session:
        limits = self.config.limits
        box = self._backend.start(BoxRequest(limits, required=self.config.required))
        self._forget_box()
        self._finalizer = weakref.finalize(self, _let_go, box)
        session = Session(box, limits, self._serve, self._print, self._refused)
        with self._recorded():
            session.open()
        self._session = session
        self._enforcement = session.enforcement
        self._is_configured = False
        self._toolbox.forget()
        self._unsent = dict(self._variables)
        self.trail.append(
            "box_start",
            run=self._run_id,
            box=box.id,
            image=box.manifest.image,
            backend=self._backend.name,
            enforcement=session.enforcement.to_dict(),
        )
        return session

    def _forget_box(self) -> None:
        """The box before is closed: nothing has to be done about it when this executor is dropped."""
        if self._finalizer is not None:
            self._finalizer.detach()

    def _get(self, name: str) -> object:
        if not is_name(name):
            raise KeyError(name)
        if self._entered.locked():
            raise HardenedError("variables can be read between steps only")
        if self._session is None or not self._session.is_alive or self._unsent or not self._is_configured:
            self._ready()
        assert self._session is not None  # nosec B101 - _ready has set it
        with self._recorded():
            return self._session.get(name)

    # ---- tools and values --------------------------------------------------------------------------------

    def _make_call(self, tool: str, arguments: Mapping[str, object]) -> ToolCall:
        return ToolCall(
            call_id=uuid.uuid4().hex,
            run=self._run_id,
            step=self._step,
            agent=self._agent,
            delegation=AT_WORK.get(),
            tool=tool,
            arguments=arguments,
            digest=digest(tool, arguments),
            code=self._code,
        )

    def _where(self) -> dict[str, object]:
        return {"run": self._run_id, "step": self._step, "agent": self._agent}

    def _refused(self, tool: str, code: str, reason: str) -> None:
        self._toolbox.refuse(tool, code, "RuntimeError", reason)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """A box that dies or lies outside of a step is on record like one that does so in it."""
        try:
            yield
        except BoxError as error:
            kind = "violation" if isinstance(error, WireViolation) else "box_died"
            self.trail.append(kind, run=self._run_id, step=self._step, reason=str(error))
            raise

    def _serve(self, tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
        answer = self._toolbox.serve(tool, args, kwargs)
        if answer.encoded is not None:
            self._say_if_large(f"the result of {tool}", answer.encoded)
        return answer

    def _functions(self) -> dict[str, Callable[..., object]]:
        return without_pythons_own(self.config.functions)

    def _encode(self, variables: Mapping[str, object]) -> Encoded:
        try:
            return self._toolbox.encode(dict(variables))
        except EncodeError as error:
            raise ConfigError(f"variables {sorted(variables)} cannot be put into the sandbox: {error}") from error

    # ---- talking -----------------------------------------------------------------------------------------

    def _print(self, text: str) -> None:
        text = neutral(text)
        self._printed.append(text)
        if self._live is not None:
            self._live.write(text)
        if self._on_print is not None:
            self._on_print(text)

    def _say_if_large(self, what: str, encoded: Encoded) -> None:
        if encoded.size_bytes >= LARGE_BYTES:
            self._say(f"sending {what} to the sandbox: {encoded.size_bytes // 2**20} MiB")

    def _say(self, line: str) -> None:
        if self._logger is not None:
            self._logger.log(line)


def _let_go(box: Box) -> None:
    """An executor that is dropped takes its box with it. Where the engine is gone, the reaper tries again."""
    with suppress(BackendError):
        box.close()

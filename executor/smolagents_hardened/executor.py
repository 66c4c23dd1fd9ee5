"""HardenedExecutor: what smolagents' CodeAgent expects of a PythonExecutor, in a box.

It gives each step its call of the governor, its box and its records. The box itself is the keeper's; what smolagents is
given for an outcome is in `code_output`.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

from smolagents.local_python_executor import CodeOutput, InterpreterError, PythonExecutor
from smolagents.utils import truncate_content

from smolagents_hardened import config
from smolagents_hardened.agent_steps import AgentSteps, NoSteps
from smolagents_hardened.at_work import AT_WORK, at_work
from smolagents_hardened.audit.digest import digest_text
from smolagents_hardened.backends.base import Backend, Box, Manifest
from smolagents_hardened.backends.choice import choose, on_image
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.below import interrupt_below
from smolagents_hardened.calling import Caller
from smolagents_hardened.closing import do_all
from smolagents_hardened.code_output import STATE_LOST, code_output, tells_of_loss
from smolagents_hardened.errors import (
    AuditError,
    BackendError,
    BoxError,
    HardenedError,
    RunStopped,
)
from smolagents_hardened.files.box_files import BoxFiles
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.latch import ended
from smolagents_hardened.governance.served import code_refusal_text
from smolagents_hardened.governed import Admission, check
from smolagents_hardened.host_text import neutral, without_host_paths
from smolagents_hardened.installed import refuse_missing, translated
from smolagents_hardened.keeper import Keeper
from smolagents_hardened.live import LiveLog
from smolagents_hardened.outcome import Broke, FinalAnswer, Limit, LimitHit, Outcome
from smolagents_hardened.pictures import shown
from smolagents_hardened.scope import without_pythons_own
from smolagents_hardened.session import Session
from smolagents_hardened.state import State
from smolagents_hardened.step import Answer
from smolagents_hardened.toolbox import Toolbox
from smolagents_hardened.transfers import Announced
from smolagents_hardened.waiting import Waiting
from smolagents_hardened.wire.schema import is_name

OF_A_BOX = ("box_start", "box_end", "input_changed")  # records that belong to no step


class HardenedExecutor(PythonExecutor):  # type: ignore[misc]  # smolagents ships no types
    """Runs the snippets of one agent in one hardened box at a time.

    The options are those of `config.Options`, all of which can be plain JSON, and `on_print`, a callable that gets what
    the snippet prints as it comes. The constructor reads the image's manifest and starts no box: an authorised import
    that the image lacks is a ConfigError. The first snippet starts the box.

    Raises ConfigError, BackendUnavailable; a step raises smolagents' InterpreterError (the model reads it), RunStopped
    (a hook ended the run), NotEnforced and AuditError. Use it as a context manager or call `cleanup()`.
    """

    agent: object = None  # set by `serve_agent`

    def __init__(self, additional_authorized_imports: Sequence[str] = (), logger: Any = None, **options: Any) -> None:
        on_print = options.pop("on_print", None)
        config.refuse_unknown(options)
        self.options, self.imports = options, list(additional_authorized_imports)  # as given: to be saved
        self.config = config.from_options(additional_authorized_imports, config.Options(**options))
        self._logger = logger
        self._live = LiveLog(logger) if logger is not None else None
        self._on_print: Callable[[str], None] | None = on_print
        self._run_id = uuid.uuid4().hex
        self._step = 0
        self._agent = "agent"
        self._code = ""
        self._printed: list[str] = []  # of the running step, as it comes
        self._earlier: Session | None = None  # where the steps before it ran, unless it is known to be gone
        self._entered = Lock()
        self._collector: int | None = None  # the thread of a step, once that is over and its files are collected
        self.pictures: list[object] = []  # the figures that the latest step has shown: PIL images
        self._tools: dict[str, Callable[..., object]] = {}
        self._waiting = Waiting(self._say if logger is not None else None)
        self.state = State(self._get, self._refuse_to_go_on)
        self._open()

    def _open(self) -> None:
        """Find a backend and read its image; whatever is refused on the way, nothing stays open."""
        is_allowed = self.config.allow_unsandboxed_agents
        check(without_pythons_own(self.config.functions), is_allowed=is_allowed)
        with translated():
            self._backend: Backend = self._chosen()
        with ExitStack() as undo:
            undo.callback(self._close_backend)
            with translated():
                self._manifest = self._backend.manifest(self.config.authorized)
            refuse_missing(self.config.authorized, self._manifest)
            self.governor = self.config.charter.open(self._run_id)
            undo.pop_all()
        self.trail = self.governor.trail
        self._steps: AgentSteps | NoSteps = NoSteps(self.governor)
        self._caller = Caller(self.governor.loop, self.config.tool_timeouts)
        self._admission = Admission(self.governor, self._caller, self._logger, is_allowed=is_allowed)
        self._toolbox = Toolbox(self.governor, self.config.limits, self._make_call, self._where, self._caller)
        self._offer({})
        self._keeper = Keeper(self.config, self._backend, self._toolbox, self._make_session, self._note, self._say)
        self.files = BoxFiles(self.config.files, self.config.limits, self._between_steps, self._note)

    def _chosen(self) -> Backend:
        wishes = self.config
        if wishes.image is not None:
            return on_image(wishes.image, self._say)
        return choose(wishes.backend, wishes.required, self._say, wishes.authorized, wishes.limits, wishes.profile)

    # ---- what smolagents calls ---------------------------------------------------------------------------

    def send_tools(self, tools: Mapping[str, Callable[..., object]]) -> None:
        """Offer these tools and managed agents from now on; variables stay."""
        self._offer(tools)
        self._keeper.offer_again()

    def send_variables(self, variables: Mapping[str, object]) -> None:
        """Put variables into the box. Raises ConfigError for a value that cannot cross."""
        self._admission.refuse_closed()
        self._steps.look(variables)  # an agent that begins a run comes here first
        self._keeper.send(variables)

    def __call__(self, code_action: str) -> CodeOutput:
        """Run one snippet. Raises InterpreterError with what the model has to read."""
        with self._alone():
            try:
                self._begin_step()
                with at_work(self._agent, self.governor.latch) as chain:
                    return self._run(code_action, chain)
            except AuditError as error:  # the model reads it; the whole of it is the cause
                raise AuditError(without_host_paths(str(error))) from error

    def cleanup(self) -> None:
        """End the box, and record the end. Idempotent; a later step starts a fresh one, and the trail goes on.

        Raises AuditError and BackendError when all is done that can be, but not over an error that is being handled.
        """
        self._earlier = None
        do_all(self._waiting.end, self._keeper.end, self.governor.conclude)

    # ---- ours --------------------------------------------------------------------------------------------

    def interrupt(self, reason: str | None = None) -> None:
        """End the running step, from any thread; the session is kept if the code can be interrupted.

        A wait for a person's answer ends at once, and so does the work of managed agents; a tool that runs is awaited
        and recorded. What the step ends in is the reason, for the model to read. While an agent's run is between two
        steps (its model writes), it is the next one that ends so, before anything of it begins; where no step is left,
        the run. Between two snippets that are no part of an agent's run there is nothing to end or to keep for later.
        """
        self.governor.interrupt(reason)
        if self._entered.locked():
            interrupt_below(self._tools)

    @property
    def enforcement(self) -> Enforcement | None:
        """Every layer of the box as read back; None until a box is up."""
        return self._keeper.enforcement

    @property
    def manifest(self) -> Manifest:
        """What the box's image holds."""
        return self._manifest

    def start(self) -> Enforcement:
        """Start the box now rather than with the first snippet, and say what is in force in it."""
        with self._alone():
            return self._keeper.ready().enforcement

    @property
    def agent_name(self) -> str:
        """The name under which calls are judged."""
        return self._agent

    def serve_agent(self, agent: object, name: str, steps: AgentSteps) -> None:
        """The agent, the name under which its calls are judged, and what tells the governor of a run that begins."""
        steps.take_over(self._steps)
        self.agent, self._agent, self._steps = agent, name, steps
        steps.answer = lambda text: self._toolbox.answer(name, steps.latch, text)
        steps.logs = lambda: self.state.logs
        if self.config.show_pictures:
            steps.pictures = lambda: self.pictures

    def __enter__(self) -> HardenedExecutor:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the box, the governor and the trail; the executor cannot be used afterwards. Raises as `cleanup` does."""
        self._admission.release()
        do_all(self._steps.close, self.cleanup, self.governor.close, self._close_backend, self.trail.close)

    def _close_backend(self) -> None:
        if isinstance(self.config.backend, str):  # one that was given belongs to whoever gave it
            self._backend.close()

    # ---- a step ------------------------------------------------------------------------------------------

    def _refuse_to_go_on(self) -> None:
        """smolagents goes on after any Exception of a step: the run of an agent that is not attached ends here."""
        error = sys.exception()
        if self._steps.is_on:
            return
        if isinstance(error, AuditError):
            raise RunStopped(f"an audit record could not be written: {error}") from error
        self._admission.refuse_closed()

    def _begin_step(self) -> None:
        self._step += 1
        self._printed.clear()
        self.pictures = []
        self.state.logs = ""
        self._steps.look()

    def _run(self, code: str, chain: tuple[str, ...]) -> CodeOutput:
        self._code = code
        call = CodeCall(self._run_id, self._step, self._agent, chain, code, digest_text(code), self._toolbox.places)
        refused = self.governor.judge_code(call)
        if refused is not None:
            raise InterpreterError(self._interrupted() or code_refusal_text(refused))
        try:
            with self._waiting.over("the sandbox to take the variables, or to start"):
                session = self._keeper.ready()
        except BoxError as error:
            return self._output(Broke(f"The sandbox was ended before the step: {error}", ""))
        if self._earlier not in (None, session):  # no step could say so: Ctrl-C has ended it, or something after a step
            self._printed.append(f"{STATE_LOST.strip()}\n")
        self._earlier = session
        try:
            with self._waiting.over("the code"), self._keeper.recorded():
                outcome = session.run(code, self.config.wall_s)
        finally:
            if self._live is not None:
                self._live.end()
            self.state.logs = truncate_content("".join(self._printed), max_length=self.config.print_characters)
            self._toolbox.end_step()
        return self._output(self._take_along(session, outcome))

    def _interrupted(self) -> str:
        """What a step ends in that an interrupt has ended, and has thereby spent, or nothing."""
        why = ended()
        if why is None:
            return ""
        self.governor.latch.step_is_over()
        return why.told

    def _take_along(self, session: Session, outcome: Outcome) -> Outcome:
        """Figures and declared outputs of a step. A box that lies about them has broken its protocol; answers stand."""
        if not session.is_alive:
            return outcome
        self._collector = get_ident()
        try:
            with self._keeper.recorded(), session.collecting():
                self.pictures = shown(session, self.config.limits)
                self.files.collect(self.config.outputs)
        except (BoxError, BackendError) as error:
            broke = Broke(f"The sandbox was ended after the step: {error}", self.state.logs)
            return outcome if isinstance(outcome, FinalAnswer) else broke
        finally:
            self._collector = None
        for name, problem in self.files.problems.items():
            self._say(f"the output {name!r} was not collected: {problem}")
        return outcome

    @contextmanager
    def _between_steps(self) -> Iterator[Session | None]:
        """The living session, while no step can begin; at the end of a step, for the thread that has run it."""
        if self._collector == get_ident():
            yield self._keeper.living()
            return
        with self._alone(), self._keeper.recorded():
            yield self._keeper.living()

    @property
    def outputs(self) -> Mapping[str, bytes | Path]:
        """The declared outputs so far: name -> content, or where it was saved (`outputs_to`)."""
        return self.files.outputs

    def _output(self, outcome: Outcome) -> CodeOutput:
        if isinstance(outcome, LimitHit):
            limit = outcome.limit
            self._note("limit", limit=limit.value, reason=outcome.message, state_lost=outcome.state_lost)
            if limit is Limit.INTERRUPTED:
                self._interrupted()
        if tells_of_loss(outcome):
            self._earlier = None
        return code_output(outcome, self.state.logs)

    def _get(self, name: str) -> object:
        if not is_name(name):
            raise KeyError(name)
        with self._alone():
            return self._keeper.get(name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the box to ourselves. A tool that enters its own executor gets an error: waiting would never end."""
        self._admission.refuse_closed()
        if not self._entered.acquire(blocking=False):
            raise HardenedError(
                "this executor is already running a step: read its state and files between steps, and give each agent"
                " or thread an executor of its own"
            )
        try:
            yield
        finally:
            self._entered.release()

    def _make_session(self, box: Box) -> Session:
        session = Session(box, self.config.limits, self._serve, self._print, self._refused)
        session.channel = Announced(box.channel, self._say)
        return session

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
            code=self._code,
        )

    def _where(self) -> dict[str, object]:
        return {"run": self._run_id, "step": self._step, "agent": self._agent}

    def _refused(self, tool: str, code: str, reason: str) -> None:
        self._toolbox.refuse(tool, code, "RuntimeError", reason)

    def _serve(self, tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
        with self._waiting.over(f"tool {tool!r}, or for whoever has to allow it"):
            answer = self._toolbox.serve(tool, args, kwargs)
        if answer.encoded is not None:
            self._keeper.say_if_large(f"the result of {tool}", answer.encoded)
        return answer

    def _offer(self, tools: Mapping[str, Callable[..., object]]) -> None:
        offered = without_pythons_own(self.config.functions) | without_pythons_own(tools)
        self._admission.admit(offered)
        self._toolbox.replace(offered)
        self._tools = offered

    def _note(self, kind: str, **told: object) -> None:
        where = {"run": self._run_id} if kind in OF_A_BOX else {"run": self._run_id, "step": self._step}
        self.trail.append(kind, **where, **told)

    # ---- talking -----------------------------------------------------------------------------------------

    def _print(self, text: str) -> None:
        text = neutral(text)
        self._printed.append(text)
        if self._live is not None:
            self._live.write(text)
        if self._on_print is not None:
            self._on_print(text)

    def _say(self, line: str) -> None:
        if self._logger is not None:
            self._logger.log(line)

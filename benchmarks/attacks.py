"""The attack suite against each way of running a model's code, side by side: `python -m benchmarks.attacks`.

The same programs and published payloads as in `tests/attacks`, with canaries outside: a file, a variable, a process,
listeners. Counted is what was blocked, by group; no name of what was not. smolagents' local executor runs in a child
that is bounded in memory and time, and gets the payloads alone: their acts touch nothing but the canaries, while a
program goes for the machine, and is only ever sent where a container stands round it. smolagents' Docker executor runs
as smolagents starts it, from an image that is there already (`--peer-image`, with a Jupyter kernel gateway; needs
`pip install websocket-client`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS
from tests.attacks.payloads import ROADS
from tests.attacks.test_programs import ATTACKS, word
from tests.support.canary import SECRET, VARIABLE, World, end_world, make_world
from tests.support.probes import text_of

IN_PROCESS = {"smolagents local": [], "smolagents local, every import": ["*"]}
LASTING = {"add_capability", "new_filter"}  # what these do to their own process lasts, where it succeeds
RUN_S = 20
PORT, START_TRIES = 18_888, 5  # a kernel gateway that takes long to start, on a busy machine, is given up by its client
MEMORY_BYTES = 4 * 2**30  # of address space, for the child of the executor that has no bound of its own
RESULT = RESULTS / "attacks.json"
GROUPS = {
    "published escapes": "published escapes that reach the outside",
    "fs": "programs that go for files",
    "process": "programs that go for processes and privilege",
    "kernel": "programs that go for the kernel",
    "network": "programs that go for networks and sockets",
    "resources": "programs that go for unbounded resources",
}
Run = Callable[[str], str]  # a snippet -> what it printed; raises where it was refused

# Each has an effect outside, or tells something of it, where the payload's road led to the module `os`.
ACTS = {
    "read": "print(os.read(os.open({file!r}, 0), 100))",
    "list": "print(os.listdir({folder!r}))",
    "environment": "print(os.environ[{variable!r}])",
    "system": "os.system('echo > {playground}/system')",
    "write": "os.close(os.open('{playground}/write', 0o101, 0o600))",
    "remove": "os.remove('{playground}/victim')",
}
FACTS = """
import os, json
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
with open('/proc/self/net/dev') as file:
    interfaces = [line.split(':')[0].strip() for line in file.readlines()[2:]]
try:
    open('/pwned', 'w').close()
    is_writable = True
except OSError:
    is_writable = False
print(json.dumps({
    'user': 'root' if os.getuid() == 0 else 'another', 'capabilities': bin(int(status['CapEff'], 16)).count('1'),
    'no new privileges': status['NoNewPrivs'].strip() == '1', 'filters': int(status.get('Seccomp_filters', '0')),
    'interfaces but loopback': len(set(interfaces) - {'lo'}), 'root can be written': is_writable}))
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one way of running code blocked, by group: [blocked, of all]."""

    groups: dict[str, list[int]]
    facts: dict[str, object]


def local(imports: list[str]) -> Callable[[], AbstractContextManager[Run]]:
    """smolagents' interpreter, with these imports besides its own."""
    return lambda: _local(imports)


@contextlib.contextmanager
def _local(imports: list[str]) -> Iterator[Run]:
    """A child for each snippet."""
    from smolagents.local_python_executor import BASE_PYTHON_TOOLS, LocalPythonExecutor

    fork = multiprocessing.get_context("fork")

    def in_child(code: str, told: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        signal.alarm(RUN_S)
        executor = LocalPythonExecutor(imports)
        executor.send_tools(dict(BASE_PYTHON_TOOLS))
        try:
            told.send(str(executor(code).logs))  # type: ignore[attr-defined]
        except BaseException:  # noqa: BLE001 - refused, in whatever way
            os._exit(1)

    def run(code: str) -> str:
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=in_child, args=(code, there))
        child.start()
        there.close()
        try:
            return str(here.recv())  # EOFError where it was refused
        finally:
            here.close()
            child.join()

    yield run


def peer_in_docker(image: str) -> Callable[[], AbstractContextManager[Run]]:
    """smolagents' Docker executor, with its own settings; a new one where a snippet took its kernel along."""

    @contextlib.contextmanager
    def start() -> Iterator[Run]:
        made = [_peer(image)]

        def run(code: str) -> str:
            signal.alarm(RUN_S)  # its client waits for a kernel that died, without a limit
            try:
                return str(made[0].run_code_raise_errors(code).logs)
            except _TookTooLong:
                made[0].cleanup()
                made[0] = _peer(image)
                raise
            finally:
                signal.alarm(0)

        signal.signal(signal.SIGALRM, _take_too_long)
        try:
            yield run
        finally:
            made[0].cleanup()

    return start


class _TookTooLong(Exception):
    pass


def _take_too_long(number: int, frame: object) -> None:
    raise _TookTooLong


def _peer(image: str) -> Any:
    from smolagents.monitoring import AgentLogger, LogLevel
    from smolagents.remote_executors import DockerExecutor

    for _ in range(START_TRIES):
        with contextlib.suppress(RuntimeError):
            return DockerExecutor([], AgentLogger(LogLevel.OFF), image_name=image, build_new_image=False, port=PORT)
    sys.exit(f"smolagents' Docker executor did not start {START_TRIES} times: is {image} there?")


def ours(backend: str) -> Callable[[], AbstractContextManager[Run]]:
    """A hardened box with its defaults, and without the language gate."""

    @contextlib.contextmanager
    def start() -> Iterator[Run]:
        from smolagents_hardened import HardenedExecutor

        with HardenedExecutor(["*"], backend=backend, gate="off") as made:
            yield lambda code: str(made(code).logs)

    return start


def printing(code: str) -> str:
    """The same snippet, which prints what its last line comes to."""
    source, call = code.rsplit("\n", 1)
    return f"{source}\nprint(json.dumps({call}))"


def blocks_program(run: Run, text: str, meant: frozenset[str]) -> bool:
    """Whether the program was refused as a whole, or got an answer that means no."""
    try:
        told = run(printing(text))
        return word(json.loads(told.strip().splitlines()[-1])) in meant
    except Exception:  # noqa: BLE001 - each way of running code refuses in its own way
        return True


def blocks_payload(run: Run, road: str, world: World) -> bool:
    """Whether none of the acts had an effect outside, or told anything of it."""
    victim = world.playground / "victim"
    names = {"file": str(world.file), "folder": str(world.folder), "variable": VARIABLE, "playground": world.playground}
    for act in ACTS.values():
        victim.touch()
        try:
            told = run(f"{road}\n{act.format(**names)}")
        except Exception:  # noqa: BLE001 - as above
            told = ""
        left = {path.name for path in world.playground.iterdir()}
        if SECRET in told or world.file.name in told or left != {"victim"}:
            for path in world.playground.iterdir():
                path.unlink()
            return False
    return True


def tally(start: Callable[[], AbstractContextManager[Run]], *, is_contained: bool) -> Tally:
    """Run everything in one place; a program only where a container bounds what it does."""
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, start() as run:
        if run("print(6 * 7)").strip() != "42":
            sys.exit("this way of running code runs none: what it blocks would count for nothing")
        world = make_world(Path(folder))
        try:
            for road in ROADS.values():
                total["published escapes"] += 1
                found["published escapes"] += blocks_payload(run, road, world)
            facts = _facts(run) if is_contained else {}
            for attack in sorted(ATTACKS, key=lambda attack: str(attack) in LASTING) if is_contained else ():
                group = attack.property.partition(".")[0]
                total[group] += 1
                found[group] += blocks_program(run, text_of(attack.program, *attack.given(world)), attack.inside)
        finally:
            end_world(world)
    return Tally({group: [found[group], total[group]] for group in total}, facts)


def _facts(run: Run) -> dict[str, object]:
    try:
        return dict(json.loads(run(FACTS)))
    except Exception:  # noqa: BLE001 - the snippet is refused as a whole
        return {}


def table() -> str:
    """The result as Markdown: what each way of running code blocked, of how many; "-" where it was not tried."""
    result = json.loads(RESULT.read_text())
    names = [name for name in result if name != "smolagents"]
    groups = [group for group in GROUPS if any(group in result[name]["blocked"] for name in names)]
    lines = [f"| blocked | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for group in groups:
        cells = [" of ".join(map(str, result[name]["blocked"].get(group, "-"))) for name in names]
        lines.append(f"| {GROUPS[group]} | {' | '.join(cells)} |")
    facts = list(dict.fromkeys(fact for name in names for fact in result[name]["facts"]))
    for fact in facts:
        cells = [_told(result[name]["facts"].get(fact, "-")) for name in names]
        lines.append(f"| {fact} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(fact: object) -> str:
    return {True: "yes", False: "no"}[fact] if isinstance(fact, bool) else str(fact)


def main() -> None:
    """Run every contender and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-image", default="", help="image of smolagents' Docker executor; left out without one")
    parser.add_argument("--table", action="store_true", help="print what was measured last, and measure nothing")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    contenders: dict[str, Callable[[], AbstractContextManager[Run]]] = {
        **{name: local(imports) for name, imports in IN_PROCESS.items()},
        **({"smolagents docker": peer_in_docker(options.peer_image)} if options.peer_image else {}),
        "hardened native": ours("native"),
        "hardened docker": ours("docker"),
    }
    result: dict[str, object] = {"smolagents": version("smolagents")}
    for name, start in contenders.items():
        made = tally(start, is_contained=name not in IN_PROCESS)
        result[name] = {"blocked": made.groups, "facts": made.facts}
        print(name, made.groups, made.facts, flush=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

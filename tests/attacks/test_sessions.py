"""Between two sessions nothing passes; between two steps of one, state does."""

from __future__ import annotations

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.support.backends import DECLARED, backend
from tests.support.canary import SECRET, VARIABLE, World
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor

# Leave something, and look for it: the look says whether it found it.
TRACES = {
    "a file in scratch": ("open('/tmp/trace', 'w').close()", "import os\nos.path.exists('/tmp/trace')"),
    "a hidden file": ("open('/tmp/.trace', 'w').close()", "import os\n'.trace' in os.listdir('/tmp')"),
    "the environment": ("import os\nos.environ['TRACE'] = '1'", "import os\n'TRACE' in os.environ"),
    "a module": ("import sys, math\nsys.modules['trace_module'] = math", "import sys\n'trace_module' in sys.modules"),
    "a builtin": ("import builtins\nbuiltins.trace = 1", "import builtins\nhasattr(builtins, 'trace')"),
    "a patched module": ("import json\njson.trace = 1", "import json\nhasattr(json, 'trace')"),
    "a variable": ("trace = 1", "'trace' in globals()"),
    "a thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[99], name='trace', daemon=True).start()",
        "import threading\nany(t.name == 'trace' for t in threading.enumerate())",
    ),
    "a recursion limit": ("import sys\nsys.setrecursionlimit(777)", "import sys\nsys.getrecursionlimit() == 777"),
    "a working directory": (
        "import os\nos.makedirs('/tmp/d')\nos.chdir('/tmp/d')",
        "import os\nos.getcwd() == '/tmp/d'",
    ),
    "a handler": ("import signal\nsignal.signal(15, lambda *a: 1)", "import signal\ncallable(signal.getsignal(15))"),
    "an exit hook": ("import atexit\natexit.register(print)", "import atexit\natexit._ncallbacks() > 0"),
    "a codec": (
        "import codecs\ncodecs.register(lambda n: codecs.lookup('utf-8') if n == 'trace' else None)",
        "import codecs\ntry: found = bool(codecs.lookup('trace'))\nexcept LookupError: found = False\nfound",
    ),
    "shared memory": ("open('/dev/shm/trace', 'w').close()", "import os\nos.path.exists('/dev/shm/trace')"),
}
NOT_IN_EVERY_BOX = {"shared memory"}  # a box may have none


@pytest.fixture(scope="module", params=DECLARED)
def before_and_after(request: pytest.FixtureRequest) -> list[dict[str, bool]]:
    """What the same session, one beside it and one after it find of what the first has left."""
    found = []

    def look(executor: HardenedExecutor) -> None:
        found.append({name: executor(seek).output for name, (_, seek) in TRACES.items()})

    first, beside = (HardenedExecutor(["*"], backend=backend(str(request.param)), gate="off") for _ in range(2))
    for name, (leave, _) in TRACES.items():
        try:
            first(leave)
        except InterpreterError:
            assert name in NOT_IN_EVERY_BOX
    for executor in (first, beside):
        look(executor)
        executor.cleanup()
    look(first)  # a fresh box for the same executor
    first.cleanup()
    return found


@proves("sessions.traces")
@pytest.mark.parametrize("name", [name for name in TRACES if name not in NOT_IN_EVERY_BOX])
def test_a_session_keeps_its_own(before_and_after: list[dict[str, bool]], name: str) -> None:
    """The next step of the same session finds what the first has left: the look is able to."""
    assert before_and_after[0][name] is True


@proves("sessions.traces")
@pytest.mark.parametrize("which", [1, 2], ids=["beside", "after"])
@pytest.mark.parametrize("name", TRACES)
def test_another_session_finds_nothing(before_and_after: list[dict[str, bool]], name: str, which: int) -> None:
    """[R16] Neither a session beside it nor one after it finds anything."""
    assert before_and_after[which][name] is False


# What must differ between two boxes, lest one could know what another drew.
DRAWN = {
    "random": "import random\nrandom.random()",
    "random bytes": "import os\nos.urandom(8).hex()",
    "a uuid": "import uuid\nstr(uuid.uuid4())",
    "numpy's": "import numpy\nfloat(numpy.random.rand())",
    "numpy's new ones": "import numpy\nint(numpy.random.default_rng().integers(2**60))",
    "secrets": "import secrets\nsecrets.token_hex(8)",
    "a name of tempfile": "import tempfile\nnext(tempfile._get_candidate_names())",
}


@pytest.fixture(scope="module", params=DECLARED)
def draws(request: pytest.FixtureRequest) -> list[dict[str, object]]:
    """What three boxes of one backend draw."""
    found = []
    for _ in range(3):
        executor = HardenedExecutor(["*"], backend=backend(str(request.param)), gate="off")
        found.append({name: executor(draw).output for name, draw in DRAWN.items()})
        executor.cleanup()
    return found


@proves("sessions.random")
@pytest.mark.parametrize("name", DRAWN)
def test_no_two_boxes_draw_the_same(draws: list[dict[str, object]], name: str) -> None:
    """[R16] Random numbers and names are each box's own."""
    assert len({draw[name] for draw in draws}) == len(draws)


@proves("sessions.secrets")
@pytest.mark.parametrize(
    "look",
    [
        "import os\n' '.join(f'{k}={v}' for k, v in os.environ.items())",
        "import os\n' '.join(k.decode() + '=' + v.decode() for k, v in os.environb.items())",
        "open('/proc/self/cmdline').read()",
        "import sys\nstr(sys.orig_argv) + str(sys.flags) + str(sys.path)",
        "import ctypes, itertools\nx = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')\nstr(list(itertools.takewhile(bool, (x[n] for n in itertools.count()))))",
        "import gc\n' '.join(o for o in gc.get_objects() if isinstance(o, str)) + str([str(o)[:500] for o in gc.get_objects() if isinstance(o, dict)])",
        "import platform, socket, os\nplatform.node() + str(os.uname())",
        "import os\n''.join(open(n).read() for n in ('/etc/passwd', '/etc/group', '/etc/hosts', '/etc/hostname') if os.path.exists(n))",
    ],
)
def test_a_box_knows_no_secret_of_the_host(box: HardenedExecutor, world: World, look: str) -> None:
    """[R15] Environment, arguments, objects and files of a box hold nothing of the host's own."""
    import getpass
    import platform

    text = str(box(look).output)
    assert SECRET not in text
    assert VARIABLE not in text
    assert platform.node() not in text.split() or platform.node() in ("box", "localhost")
    assert f"/home/{getpass.getuser()}" not in text


@proves("sessions.secrets")
def test_the_kernels_command_line_is_hidden(box: HardenedExecutor) -> None:
    """What the host's kernel was started with, and how it was built, is not for the box to read."""
    code = "told = {}\nfor name in ('cmdline', 'config.gz', 'kallsyms', 'modules', 'keys', 'key-users', 'partitions', 'diskstats', 'iomem'):\n    try: told[name] = open('/proc/' + name, 'rb').read(1) != b''\n    except OSError: told[name] = False\n[name for name, read in told.items() if read]"
    assert box(code).output == []


@proves("language.order")
@pytest.mark.parametrize(
    "name", ["json", "struct", "os", "sitecustomize", "usercustomize", "smolagents_hardened", "encodings"]
)
def test_a_module_in_scratch_shadows_nothing(make_executor: MakeExecutor, name: str) -> None:
    """A file in scratch with the name of a module is not what the runner, or a later import of it, takes."""
    executor = make_executor(gate="off")
    executor(f"open('/tmp/{name}.py', 'w').write('import builtins; builtins.shadowed = True')")
    executor(
        f"import importlib, sys\nsys.modules.pop({name!r}, None)\ntry: importlib.import_module({name!r})\nexcept ImportError: pass"
    )
    assert executor("import builtins\nhasattr(builtins, 'shadowed')").output is False


@proves("language.order")
def test_names_and_texts_are_never_source(make_executor: MakeExecutor) -> None:
    """A variable's value, a tool's name and an import's name are data for the runner, never source text."""
    executor = make_executor(gate="standard", imports=("math",))
    evil = "'''\nimport builtins; builtins.injected = True\n'''"
    executor.send_variables(variables={"x": evil, "y": {evil: [evil]}})
    executor.send_tools({"act": lambda a: evil})
    executor("z = act(x)")
    assert executor("'injected' in dir(__builtins__)").output is False

"""Published ways out of restricted Pythons, in our own words: each is a road to the module `os`, and ACTS is what lies at its end.

The sources are the security tests of smolagents' interpreter, the advisories of RestrictedPython and of other sandboxes
that live in the interpreter, and the usual collections of such tricks. A box lets a snippet walk all of these roads: what
counts is that nothing outside is another than before.
"""

from __future__ import annotations

_SUBCLASSES = "().__class__.__base__.__subclasses__()"

ROADS = {
    "import": "import os",
    "import of posix": "import posix as os",
    "__import__": "os = __import__('os')",
    "importlib": "import importlib\nos = importlib.import_module('os')",
    "sys.modules": "import sys\nos = sys.modules['os']",
    "queue": "import queue\nos = queue.threading._os",
    "queue, then sys": "import queue\nos = queue.threading._sys.modules['os']",
    "random": "import random\nos = random._os",
    "random by __dict__": "import random\nos = random.__dict__['_os']",
    "statistics": "import statistics\nos = statistics.random._os",
    "collections": "import collections\nos = collections._sys.modules['os']",
    "re": "import re\nos = re.enum.sys.modules['os']",
    "doctest": "import doctest\nos = doctest.inspect.os",
    "asyncio": "import asyncio\nos = asyncio.base_events.events.subprocess.os",
    "warnings": "import warnings\nos = warnings.sys.modules['os']",
    "filter and partial": "import functools, warnings\nf = functools.partial(getattr, warnings)\nos = [f(n) for n in filter(f, ['sys'])][0].modules['os']",
    "map and getattr": "import warnings\nos = list(map(getattr, [warnings], ['sys']))[0].modules['os']",
    "map and partial": "import functools, warnings\nos = list(map(functools.partial(getattr, warnings), ['sys']))[0].modules['os']",
    "reduce and getattr": "import functools, warnings\nos = functools.reduce(getattr, ['sys', 'modules'], warnings)['os']",
    "attrgetter": "import operator, random\nos = operator.attrgetter('_os')(random)",
    "methodcaller": "import operator, builtins\nos = operator.methodcaller('__import__', 'os')(builtins)",
    "builtins of a frame": "import sys\nos = sys._getframe().f_builtins['__import__']('os')",
    "the current frame": "import inspect\nos = inspect.currentframe().f_builtins['__import__']('os')",
    "a traceback": "try: 1 / 0\nexcept Exception as e: os = e.__traceback__.tb_frame.f_builtins['__import__']('os')",
    "a traceback's outer frame": "try: (lambda: 1 / 0)()\nexcept Exception as e: os = e.__traceback__.tb_next.tb_frame.f_back.f_builtins['__import__']('os')",
    "the frame of a generator": "def g(): yield 1\nx = g()\nos = x.gi_frame.f_builtins['__import__']('os')",
    "the caller of a generator": "def g(): yield x.gi_frame.f_back\nx = g()\nframe = [f for f in x][0]\nos = frame.f_builtins['__import__']('os')",
    "the frame of a coroutine": "async def c(): pass\nx = c()\nos = x.cr_frame.f_builtins['__import__']('os')\nx.close()",
    "the frame of an async generator": "async def a(): yield\nos = a().ag_frame.f_builtins['__import__']('os')",
    "subclasses: catch_warnings": f"import warnings\ncls = [c for c in {_SUBCLASSES} if c.__name__ == 'catch_warnings'][0]\nos = cls()._module.sys.modules['os']",
    "subclasses: the importer": f"cls = [c for c in {_SUBCLASSES} if c.__name__ == 'BuiltinImporter'][0]\nos = cls.load_module('posix')",
    "subclasses: _wrap_close": f"import os as _o\ncls = [c for c in {_SUBCLASSES} if c.__name__ == '_wrap_close'][0]\nos = cls.__init__.__globals__['sys'].modules['os']",
    "subclasses by mro": "cls = [c for c in ''.__class__.__mro__[-1].__subclasses__() if c.__name__ == 'BuiltinImporter'][0]\nos = cls.load_module('posix')",
    "dunders put together": "g = lambda o, n: getattr(o, '_' * 2 + n + '_' * 2)\nb = g(g((), 'class'), 'base')\ncls = [c for c in g(b, 'subclasses')() if g(c, 'name') == 'BuiltinImporter'][0]\nos = cls.load_module('posix')",
    "a module's loader": "import time\nos = time.__loader__.load_module('posix')",
    "the self of print": "os = print.__self__.__import__('os')",
    "globals of a lambda": "b = (lambda: 0).__globals__['__builtins__']\nos = (b if isinstance(b, dict) else b.__dict__)['__import__']('os')",
    "globals of copyreg": "os = ().__reduce_ex__(2)[0].__globals__['__builtins__']['__import__']('os')",
    "globals of a method": "import random\nos = random.Random.seed.__globals__['_os']",
    "format": "import string, random\nos = string.Formatter().get_field('0.seed.__globals__[_os]', (random.Random,), {})[0]",
    "format_map": "import random, string\nos = string.Formatter().get_field('r._os', (), {'r': random})[0]",
    "eval": "os = eval(\"__import__('os')\")",
    "exec": "n = {}\nexec('import os', n)\nos = n['os']",
    "a decorator": "@eval\n@(lambda c: \"__import__('os')\")\nclass os: pass",
    "a metaclass": "class M(type):\n    def __getitem__(c, k): return __import__(k)\nclass A(metaclass=M): pass\nos = A['os']",
    "an operator of an exception": "class E(Exception):\n    def __add__(s, k): return __import__(k)\ntry: raise E\nexcept E as e: os = e + 'os'",
    "__class_getitem__": "class A: __class_getitem__ = __import__\nos = A['os']",
    "__init_subclass__": "found = []\nclass A:\n    def __init_subclass__(c, k): found.append(__import__(k))\nclass B(A, k='os'): pass\nos = found[0]",
    "a function's code": "def f(): pass\nf.__code__ = compile('def g():\\n return __import__(\"os\")', '', 'exec').co_consts[0]\nos = f()",
    "code with other constants": "f = lambda: 'x'\nf.__code__ = f.__code__.replace(co_consts=(None, __import__('os')))\nos = f()",
    "a new function": "import types\nn = {}\ntypes.FunctionType(compile('import os', '', 'exec'), n)()\nos = n['os']",
    "pickle": "import pickle\nos = pickle.loads(b'cposix\\ngetcwd\\n.').__self__",
    "marshal": "import marshal\nn = {}\nexec(marshal.loads(marshal.dumps(compile('import os', '', 'exec'))), n)\nos = n['os']",
    "the collector": "import gc, types\nos = [o for o in gc.get_objects() if isinstance(o, types.ModuleType) and o.__name__ == 'os'][0]",
    "referrers": "import gc, posix\nos = posix if gc.get_referrers(posix.getcwd) else None",
    "ctypes": "import ctypes\np = ctypes.pythonapi.PyImport_ImportModule\np.restype = ctypes.py_object\nos = p(b'os')",
    "subprocess": "import subprocess\nos = subprocess.os",
    "pathlib": "import pathlib\nos = pathlib.os",
    "shutil": "import shutil\nos = shutil.os",
    "tempfile": "import tempfile\nos = tempfile._os",
    "logging": "import logging\nos = logging.os",
    "multiprocessing": "import multiprocessing.util\nos = multiprocessing.util.os",
    "pdb": "import pdb\nos = pdb.os",
    "timeit": "import timeit\nn = {}\ntimeit.timeit('n.update(os=__import__(\"os\"))', globals={'n': n}, number=1)\nos = n['os']",
    "code": "import code\nn = {}\ncode.InteractiveInterpreter(n).runsource('import os')\nos = n['os']",
    "runpy": "import runpy\nos = runpy.os",
    "an import hook": "import sys\nclass H:\n    def find_spec(s, n, p, t=None): found.append(sys.modules['os'])\nfound = []\nsys.meta_path.insert(0, H())\ntry: import nowhere_to_be_found\nexcept ImportError: pass\nsys.meta_path.pop(0)\nos = found[0]",
    "a trace function": "import sys\nfound = []\nsys.settrace(lambda f, e, a: found.append(f.f_builtins['__import__']))\n(lambda: 0)()\nsys.settrace(None)\nos = found[0]('os')",
    "an audit hook": "import sys\nfound = []\nsys.addaudithook(lambda e, a: found or found.append(sys.modules['os']))\nimport colorsys\ncompile('1', '', 'eval')\nos = found[0]",
}

# `os`, `where` (folder, file, pid, port, secret's variable) and `mark` are there; every act that works leaves its name in `done`.
ACTS = """
done = []
folder, file, pid, port, variable, playground, mark = where
def attempt(name, act):
    try:
        result = act()
    except BaseException as error:
        return
    done.append([name, str(result)[:200]])
import builtins
attempt('read', lambda: builtins.open(file).read())
attempt('list', lambda: os.listdir(folder))
attempt('environment', lambda: os.environ.get(variable) or os.environ[variable.encode()])
attempt('system', lambda: {'status': os.system(f'echo {mark} > {playground}/system-{mark}')})
attempt('write', lambda: builtins.open(f'{playground}/write-{mark}', 'w').close())
attempt('signal', lambda: os.kill(pid, 0))
attempt('remove', lambda: os.remove(f'{playground}/victim-{mark}'))
attempt('connect', lambda: __import__('socket').create_connection(('127.0.0.1', port), 2).close())
attempt('spawn', lambda: __import__('subprocess').run(['touch', f'{playground}/spawn-{mark}'], check=True).returncode)
done
"""


def program(road: str, where: list[object]) -> str:
    """Walk the road, then act."""
    return f"where = {where!r}\n{road}\n{ACTS}"

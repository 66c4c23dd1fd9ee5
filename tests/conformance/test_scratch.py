"""The working directory: what everybody does with files just works there, and a full disk is Python's own OSError."""

from __future__ import annotations

import errno

import pytest
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor, Limits

WORK = {
    "open": "with open('a.txt', 'w') as f: f.write('hello')\nopen('a.txt').read()",
    "append": "for part in ('he', 'l', 'lo'):\n    with open('b.txt', 'a') as f: f.write(part)\nopen('b.txt').read()",
    "pathlib": "from pathlib import Path\np = Path('x/y'); p.mkdir(parents=True)\n(p / 'z.txt').write_text('hello')\n[str(q) for q in sorted(Path('.').rglob('*.txt'))] and (p / 'z.txt').read_text()",
    "tempfile": "import tempfile, os\nwith tempfile.TemporaryDirectory() as d:\n    with tempfile.NamedTemporaryFile('w+', dir=d) as f:\n        f.write('hello'); f.seek(0)\n        found = f.read()\nfound if not os.path.exists(d) else 'left behind'",
    "sqlite3": "import sqlite3\nwith sqlite3.connect('data.db') as db:\n    db.execute('create table t (a, b)')\n    db.executemany('insert into t values (?, ?)', [(n, str(n)) for n in range(1000)])\n    db.execute('create index i on t (b)')\ndb.close()\ndb = sqlite3.connect('data.db')\n'hello' if db.execute('select count(*), sum(a) from t').fetchone() == (1000, 499500) else 'lost'",
    "sqlite3 wal": "import sqlite3\ndb = sqlite3.connect('wal.db')\nmode = db.execute('pragma journal_mode=delete').fetchone()[0]\ndb.execute('create table t (a)')\ndb.commit()\n'hello' if mode == 'delete' else mode",
    "shutil": "import shutil, os\nos.makedirs('from/deep')\nopen('from/deep/a', 'w').write('hello')\nshutil.copytree('from', 'to')\nshutil.move('to/deep/a', 'moved')\nshutil.rmtree('from')\nopen('moved').read()",
    "archive": "import shutil, zipfile, os\nos.makedirs('pack')\nopen('pack/a', 'w').write('hello')\nshutil.make_archive('packed', 'zip', 'pack')\nzipfile.ZipFile('packed.zip').read('a').decode()",
    "csv and json": "import csv, json\nwith open('c.csv', 'w', newline='') as f: csv.writer(f).writerows([['a', 'b'], [1, 2]])\njson.dump(list(csv.reader(open('c.csv'))), open('c.json', 'w'))\n'hello' if json.load(open('c.json')) == [['a', 'b'], ['1', '2']] else 'lost'",
    "replace and listing": "import os\nopen('one', 'w').write('hello')\nos.replace('one', 'two')\nopen('two').read() if 'two' in os.listdir() and 'one' not in os.listdir() else 'lost'",
    "copy of an input": "import shutil\nshutil.copy('/files/in.txt', 'mine.txt')\nopen('mine.txt', 'a').write('o')\nopen('mine.txt').read()",
}


@pytest.mark.parametrize("name", WORK)
def test_ordinary_work_with_files_just_works(make_executor: MakeExecutor, name: str) -> None:
    """The code that agents write, unchanged; what it makes is there in the next step."""
    executor = make_executor(files={"in.txt": b"hell"})
    assert executor(WORK[name]).output == "hello"
    assert executor("import os\nos.getcwd()").output == "/tmp"


def fill(path: str) -> str:
    """Write until the disk is full, in many files, since one of them is bounded too; the errno."""
    return (
        "n = 0\ntry:\n    for i in range(100):\n"
        f"        with open(f'{path}{{i}}', 'wb') as f:\n            for _ in range(8): f.write(b'x' * 2**17)\n"
        "except OSError as error:\n    n = error.errno\nn"
    )


def test_a_full_disk_is_pythons_own_error(make_executor: MakeExecutor) -> None:
    """[R7] OSError(28), for plain files, for sqlite and for tempfile; after a removal there is room again."""
    executor = make_executor(limits=Limits(scratch_bytes=8 * 2**20))
    executor("import tempfile\ntempfile.gettempdir()")  # which tries it by writing
    assert executor(fill("big")).output == errno.ENOSPC
    full = "import sqlite3\ntry:\n    db = sqlite3.connect('d.db')\n    db.execute('create table t (a)')\n    db.commit()\n    said = ''\nexcept sqlite3.OperationalError as error:\n    said = str(error)\nsaid"
    assert "full" in str(executor(full).output) or "disk I/O" in str(executor(full).output)
    assert (
        executor(
            "import tempfile\ntry:\n    f = tempfile.TemporaryFile()\n    f.write(b'x' * 2**20)\n    f.flush()\n    n = 0\nexcept OSError as error:\n    n = error.errno\nn"
        ).output
        == errno.ENOSPC
    )
    assert (
        executor(
            "import os\nfor i in range(100):\n    if os.path.exists(f'big{i}'): os.remove(f'big{i}')\nopen('again', 'w').write('x' * 1000)"
        ).output
        == 1000
    )


def test_the_state_of_the_disk_is_the_sessions(executor: HardenedExecutor) -> None:
    """[R16] A fresh box begins with an empty working directory."""
    executor("open('x', 'w').close()")
    executor.cleanup()
    assert executor("import os\n[name for name in os.listdir() if not name.startswith('.')]").output == []

"""The promised workload: everything that has to work once user code runs.

One file that stands alone, so that it can be sent to a box as a snippet (append ``main()``) or run as a program.
Each part is one function; `main` prints one JSON line for each: ``{"part": name, "ok": true}``, or the error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path


def scratch() -> Path:
    """A new directory of this part alone."""
    return Path(tempfile.mkdtemp())


# ---- the standard library ------------------------------------------------------------------------


def part_files() -> None:
    """Files and directories, by name and by descriptor."""
    base = scratch()
    path = base / "a"
    path.write_text("hello")
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b" world")
        file.flush()
        os.fsync(file.fileno())
        file.truncate(5)
    assert path.stat().st_size == 5
    os.truncate(path, 3)
    path.chmod(0o640)
    os.utime(path, (1, 2))
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mtime == 2
    (base / "link").symlink_to(path)
    assert os.readlink(base / "link") == str(path)
    assert (base / "link").resolve() == path.resolve()
    path.rename(base / "b")
    os.replace(base / "b", base / "c")
    os.link(base / "c", base / "hard")
    (base / "d" / "e").mkdir(parents=True)
    assert sorted(os.listdir(base)) == ["c", "d", "hard", "link"]
    assert [entry.name for entry in os.scandir(base / "d") if entry.is_dir()] == ["e"]
    assert os.access(base, os.W_OK)
    (base / "d" / "e").rmdir()
    (base / "c").unlink()
    assert list(base.glob("*"))


def part_directory() -> None:
    """The working directory."""
    before = os.getcwd()
    base = scratch()
    os.chdir(base)
    Path("relative").write_text("x")
    assert os.getcwd() == str(base)
    os.chdir(before)
    assert (base / "relative").exists()


def part_descriptors() -> None:
    """Duplicates, pipes, blocking mode, terminals."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    assert not os.get_blocking(reader)
    os.write(writer, b"x")
    copy = os.dup(reader)
    assert os.read(copy, 1) == b"x"
    assert not os.isatty(copy)
    for descriptor in (reader, writer, copy):
        os.close(descriptor)


def part_tempfile() -> None:
    """Every kind of temporary file."""
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).exists()
    with tempfile.SpooledTemporaryFile(max_size=1) as file:
        file.write(b"xx")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "x").write_text("x")
    assert not Path(directory).exists()


def part_shutil() -> None:
    """Trees and archives."""
    import shutil

    base = scratch()
    (base / "tree" / "sub").mkdir(parents=True)
    (base / "tree" / "sub" / "file").write_bytes(b"x" * 100_000)
    (base / "tree" / "link").symlink_to("sub/file")
    shutil.copytree(base / "tree", base / "copy", symlinks=True)
    shutil.copy2(base / "tree" / "sub" / "file", base / "single")
    shutil.move(base / "copy", base / "moved")
    for kind in ("zip", "gztar"):
        archive = shutil.make_archive(str(base / kind), kind, base / "tree")
        shutil.unpack_archive(archive, base / f"from_{kind}")
        assert (base / f"from_{kind}" / "sub" / "file").stat().st_size == 100_000
    shutil.rmtree(base / "moved")
    assert not (base / "moved").exists()


def part_archives() -> None:
    """zipfile, tarfile, and the compressors."""
    import bz2
    import gzip
    import lzma
    import tarfile
    import zipfile

    base = scratch()
    (base / "x").write_text("text")
    with zipfile.ZipFile(base / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(base / "x", "x")
    with tarfile.open(base / "t.tar.xz", "w:xz") as archive:
        archive.add(base / "x", "x")
    with tarfile.open(base / "t.tar.xz") as archive:
        archive.extractall(base / "out", filter="data")
    assert (base / "out" / "x").read_text() == "text"
    for module in (bz2, gzip, lzma):
        assert module.decompress(module.compress(b"data")) == b"data"


def part_sqlite() -> None:
    """A database in a file, with each kind of journal, and two connections."""
    import sqlite3

    path = scratch() / "db.sqlite"
    for journal in ("delete", "wal", "truncate"):
        with sqlite3.connect(path) as one, sqlite3.connect(path) as two:
            one.execute(f"pragma journal_mode={journal}")
            one.execute("create table if not exists t (x)")
            one.executemany("insert into t values (?)", [(i,) for i in range(1000)])
            one.commit()
            assert two.execute("select count(*) from t").fetchone()[0] >= 1000
            one.execute("delete from t where x > 10")
            one.commit()
            one.execute("vacuum")
        one.close()
        two.close()


def part_threads() -> None:
    """Threads, locks with and without a time-out, events, conditions, a queue, an executor."""
    import queue
    import threading
    from concurrent.futures import ThreadPoolExecutor, as_completed

    done: queue.Queue[int] = queue.Queue()
    event, lock = threading.Event(), threading.Lock()

    def work(number: int) -> int:
        event.wait(5)
        with lock:
            done.put(number)
        return threading.get_native_id()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    assert not event.wait(0.01)
    event.set()
    for thread in threads:
        thread.join(5)
    assert sorted(done.get(timeout=1) for _ in threads) == [0, 1, 2, 3]
    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(work, i) for i in range(8)]
        assert {future.result() for future in as_completed(futures)}
    timer = threading.Timer(0.01, event.clear)
    timer.start()
    timer.join()
    assert not event.is_set()
    ended = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > threading.active_count() and time.monotonic() < ended:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) == threading.active_count()  # an ended thread is gone, and does not spin


def part_thread_pool() -> None:
    """multiprocessing's pool of threads, which wants POSIX semaphores."""
    from multiprocessing.pool import ThreadPool

    with ThreadPool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]


def part_asyncio() -> None:
    """Tasks, time-outs, queues, and threads that wake the loop."""
    import asyncio

    async def main_task() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        queue: asyncio.Queue[int] = asyncio.Queue()
        sleeps = [asyncio.to_thread(time.sleep, 0.001) for _ in range(4)]
        results = await asyncio.gather(*sleeps, queue.put(1))
        assert len(results) == 5
        assert await asyncio.wait_for(queue.get(), 1) == 1
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            assert not failures, failures
            return
        raise AssertionError("the time-out did not come")

    asyncio.run(main_task())


def part_signals() -> None:
    """A handler, and a signal that this process sends to itself."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        return  # Python allows handlers in the main thread alone
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.raise_signal(signal.SIGUSR1)
    assert seen == []
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def part_time() -> None:
    """Sleeping, every clock, dates and zones."""
    import datetime
    import zoneinfo

    time.sleep(0.001)
    clocks = (time.time, time.monotonic, time.perf_counter, time.process_time, time.thread_time)
    assert all(clock() > 0 for clock in clocks)
    for name in ("time", "monotonic", "perf_counter"):
        time.get_clock_info(name)
    summer = datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))
    assert summer.utcoffset() == datetime.timedelta(hours=2)
    assert datetime.datetime.now(datetime.UTC).year > 2000
    time.localtime()


def part_random() -> None:
    """Every source of randomness."""
    import hashlib
    import random
    import secrets
    import uuid

    random.seed()
    assert 0 <= random.random() < 1
    assert len(secrets.token_hex(8)) == 16
    assert uuid.uuid4() != uuid.uuid4()
    assert uuid.uuid1().version == 1
    assert len(os.urandom(4)) == 4
    assert hashlib.scrypt(b"x", salt=b"y", n=2, r=1, p=1)
    for name in ("md5", "sha1", "sha256", "blake2b", "sha3_256"):
        assert hashlib.new(name, b"x").hexdigest()


def part_data() -> None:
    """json, csv, logging, and pure modules."""
    import contextvars
    import csv
    import dataclasses
    import decimal
    import fractions
    import functools
    import gc
    import itertools
    import logging
    import platform
    import re
    import statistics
    import traceback

    base = scratch()
    assert json.loads(json.dumps({"a": [1, None]})) == {"a": [1, None]}
    with (base / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerow([1, "a"])
    logger = logging.getLogger("workload")
    handler = logging.FileHandler(base / "log")
    logger.addHandler(handler)
    logger.warning("hello")
    handler.close()
    logger.removeHandler(handler)
    assert (base / "log").read_text() == "hello\n"
    assert decimal.Decimal("1.1") + 1 == decimal.Decimal("2.1")
    assert statistics.mean([fractions.Fraction(1), fractions.Fraction(3)]) == 2
    assert functools.reduce(lambda a, b: a + b, itertools.islice(itertools.count(), 4)) == 6
    assert re.findall(r"\d+", "a1b22") == ["1", "22"]
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=1)
    assert contextvars.copy_context().run(variable.get) == 1
    assert dataclasses.asdict(dataclasses.make_dataclass("D", ["x"])(1)) == {"x": 1}
    assert platform.platform()
    assert traceback.format_stack()
    gc.collect()


def part_memory() -> None:
    """A mapped file that grows, anonymous memory, and large blocks that are reallocated."""
    import mmap

    path = scratch() / "mapped"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:5] = b"hello"
        mapped.flush()
        mapped.resize(8192)
        mapped.madvise(mmap.MADV_WILLNEED)
    with mmap.mmap(-1, 2**20) as anonymous:
        anonymous.write(b"x")
        anonymous.madvise(mmap.MADV_DONTNEED)
    block = bytearray(2**20)
    for _ in range(6):
        block += bytes(len(block))
    assert len(block) == 2**26


def part_old_stat() -> None:
    """stat as libraries make it that were linked with an old glibc, Arrow's for one."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(256)
    assert libc.__xstat(1, b"/tmp", found) == 0, os.strerror(ctypes.get_errno())
    assert int.from_bytes(found[8:16], "little") == os.stat("/tmp").st_ino


def part_process() -> None:
    """What a process may ask about itself."""
    assert os.getpid() > 0
    assert os.uname().machine == "x86_64"
    assert max(os.getuid(), os.geteuid(), os.getgid(), os.getegid()) < 2**32 - 1024
    assert "VmRSS" in Path("/proc/self/status").read_text()
    assert "r-xp" in Path("/proc/self/maps").read_text()
    assert os.listdir("/proc/self/fd")
    assert (os.cpu_count() or 0) >= 1
    assert len(os.sched_getaffinity(0)) >= 1
    os.getrandom(1)


def part_late_imports() -> None:
    """C extensions that nobody has loaded yet, and callbacks of ctypes from libffi's own text."""
    import ctypes
    import importlib

    for name in ("_elementtree", "_statistics", "_queue", "_zoneinfo", "_lsprof", "_decimal", "termios"):
        importlib.import_module(name)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)
    assert compare(1) == 2


def part_many_threads() -> None:
    """As many threads at once as asyncio's default executor may make."""
    import threading

    gate = threading.Barrier(33)
    threads = [threading.Thread(target=gate.wait, args=(10,)) for _ in range(32)]
    for thread in threads:
        thread.start()
    gate.wait(10)
    for thread in threads:
        thread.join(5)


# ---- the packages of the image -------------------------------------------------------------------


def part_numpy() -> None:
    """Arithmetic, linear algebra, files, mapped files, large arrays."""
    import numpy as np

    base = scratch()
    matrix = np.random.default_rng(1).random((300, 300))
    assert np.allclose(np.linalg.inv(matrix) @ matrix, np.eye(300), atol=1e-6)
    np.save(base / "a.npy", matrix)
    assert np.load(base / "a.npy", mmap_mode="r").shape == (300, 300)
    np.savetxt(base / "a.txt", matrix[:3])
    assert np.loadtxt(base / "a.txt").shape == (3, 300)
    large = np.zeros(8_000_000)
    large.resize(10_000_000, refcheck=False)
    assert np.fft.fft(large[:1024]).shape == (1024,)


def part_pandas() -> None:
    """Frames, csv, json, sqlite, groups, dates."""
    import sqlite3

    import pandas as pd

    base = scratch()
    dates = pd.date_range("2024-01-01", periods=3, tz="UTC")
    frame = pd.DataFrame({"k": list("aab"), "v": [1, 2, 3], "t": dates})
    frame.to_csv(base / "x.csv", index=False)
    read = pd.read_csv(base / "x.csv", parse_dates=["t"])
    assert read.groupby("k")["v"].sum().to_dict() == {"a": 3, "b": 3}
    frame.to_json(base / "x.json")
    assert len(pd.read_json(base / "x.json")) == 3
    with sqlite3.connect(base / "x.db") as connection:
        frame[["k", "v"]].to_sql("t", connection, index=False)
        assert len(pd.read_sql("select * from t", connection)) == 3
    connection.close()
    assert "k" in str(frame)
    assert frame["t"].dt.tz_convert("Europe/Paris").notna().all()


def part_pillow() -> None:
    """Pictures in files."""
    from PIL import Image, ImageDraw, ImageFilter

    path = scratch() / "x.png"
    image = Image.new("RGB", (64, 64), "red")
    ImageDraw.Draw(image).line((0, 0, 63, 63), fill="blue")
    for suffix in (".png", ".jpg", ".gif"):
        image.filter(ImageFilter.BLUR).save(path.with_suffix(suffix))
        assert Image.open(path.with_suffix(suffix)).convert("L").size == (64, 64)


def part_matplotlib() -> None:
    """A figure in files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    base = scratch()
    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3], label="line")
    axes.legend()
    axes.set_title("$x^2$")
    for suffix in ("png", "pdf", "svg"):
        figure.savefig(base / f"x.{suffix}")
        assert (base / f"x.{suffix}").stat().st_size > 1000
    pyplot.close(figure)


def parts() -> list[str]:
    """The names of all parts, in the order of the file."""
    return [name for name in globals() if name.startswith("part_")]


def run_part(name: str) -> dict[str, object]:
    """Run one part; return its line."""
    begin = time.monotonic()
    try:
        globals()[name]()
    except Exception as error:  # noqa: BLE001 - the line has to tell whatever went wrong
        return {"part": name, "ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"part": name, "ok": True, "seconds": round(time.monotonic() - begin, 3)}


def main(names: list[str] | None = None) -> None:
    """Run the named parts, or all, and print one line each."""
    for name in names or parts():
        print(json.dumps(run_part(name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

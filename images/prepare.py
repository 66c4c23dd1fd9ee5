"""Runs inside the image while it is built: byte code, no set-id file, and a manifest. Standard library only.

Its first argument is the step: `python`, then `packages` once they are in place, then `hardened` once our own code is.
What takes long comes first: its result stays the same while our code changes, so the engine can keep it. Further
arguments are directories with packages besides our own: those of somebody else's image.
"""

import compileall
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import stat
import sys

PACKAGES = "/opt/packages"
HARDENED = "/opt/hardened"
SUFFIXES = tuple(importlib.machinery.all_suffixes())


def clear_set_id_bits():
    """A box never gains anything by exec anyway (no-new-privileges); here is simply nothing to gain."""
    root_device = os.lstat("/").st_dev
    for directory, names, files in os.walk("/"):
        names[:] = [name for name in names if os.lstat(os.path.join(directory, name)).st_dev == root_device]
        for name in files:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


def compile_all(*directories):
    """Byte code that is never checked against its source: the root is read-only, and a stat for each import is saved."""
    for directory in directories:
        compileall.compile_dir(
            directory,
            quiet=2,  # some packages carry templates that are no Python
            workers=0,
            maxlevels=50,
            invalidation_mode=compileall.py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def is_package(path):
    """Whether a directory holds a package: one that is nothing but data has no Python file and no extension in it."""
    return any(name.endswith(SUFFIXES) for name in os.listdir(path)) or any(
        os.path.isfile(os.path.join(path, name, "__init__.py")) for name in os.listdir(path)
    )


def modules(places):
    """Top-level names that can be imported: of the standard library only what is really there."""
    names = {name for name in sys.stdlib_module_names if importlib.util.find_spec(name) is not None}
    for path in (os.path.join(place, entry) for place in places for entry in os.listdir(place)):
        entry = os.path.basename(path)
        name = entry.partition(".")[0]
        is_module = os.path.isfile(path) and entry.endswith(SUFFIXES)
        if name.isidentifier() and (is_module or (os.path.isdir(path) and entry == name and is_package(path))):
            names.add(name)
    return sorted(names)


def manifest(places):
    """What the host reads from the image's label without starting a box."""
    found = importlib.metadata.distributions(path=[PACKAGES, *places])
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "path": places,
        "modules": modules([PACKAGES, *places]),
        "packages": {distribution.metadata["Name"]: distribution.version for distribution in found},
    }


def main():
    os.umask(0o022)
    step, places = sys.argv[1], sys.argv[2:]
    if step == "python":
        clear_set_id_bits()
        compile_all(os.path.dirname(os.__file__))
    elif step == "packages":
        compile_all(PACKAGES)
    else:
        compile_all(HARDENED)
        with open(os.path.join(HARDENED, "manifest.json"), "w") as stream:
            json.dump(manifest(places), stream, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":  # from Python 3.12 on, compileall's workers import this file
    main()

"""What attack programs may use besides the standard library; its text goes into the box before theirs."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def answer(act: Callable[..., object], *arguments: object) -> str:
    """Do it: "succeeded", the name of the errno, or that of the exception."""
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return type(error).__name__
    return "succeeded"


def syscall(number: int, *arguments: int | bytes) -> int:
    """One raw syscall; what it gave. Raises OSError."""
    words = [word if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments]
    result = int(LIBC.syscall(ctypes.c_long(number), *words))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

"""What `executor.state` is: the box's variables, seen from the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class State(Mapping[str, object]):
    """The variables of the box, read one by one between steps; `_print_outputs` is kept on the host."""

    def __init__(self, read: Callable[[str], object], on_failed: Callable[[], None]) -> None:
        self._read = read
        self._on_failed = on_failed
        self.logs = ""

    def __getitem__(self, name: str) -> object:
        return self.logs if name == "_print_outputs" else self._read(name)

    def __contains__(self, name: object) -> bool:
        if name == "_print_outputs":
            self._on_failed()  # smolagents asks just this while it handles what a step has raised
            return True
        try:
            self._read(str(name))
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        raise TypeError("the variables of the sandbox can be read by name, not listed")

    def __len__(self) -> int:
        raise TypeError("the variables of the sandbox can be read by name, not counted")

    def __bool__(self) -> bool:
        return True

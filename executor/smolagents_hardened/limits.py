"""Every number of the box, with its unit and where it comes from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from smolagents_hardened.errors import ConfigError

KIB = 2**10
MIB = 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one box may use; every field is a hard bound that the kernel or the host enforces.

    Raises ConfigError where a value is not a positive number or two of them contradict each other.
    """

    # The box, enforced by the kernel.
    memory_bytes: int = 512 * MIB  # numpy, pandas and scikit-learn together take about 200 MiB
    cpus: float = 1.0  # quota of cores
    cpu_s: int = 3600  # RLIMIT_CPU of the whole session: what ends a spinning box if everything else is dead
    tasks: int = 128  # threads and processes: asyncio.to_thread (up to 32 workers) plus BLAS, with room
    open_files: int = 256
    scratch_bytes: int = 64 * MIB  # tmpfs, counts against memory_bytes
    scratch_files: int = 4096  # inodes of that tmpfs

    # One step, enforced on the host.
    wall_s: float = 30.0  # smolagents' own default (MAX_EXECUTION_TIME_SECONDS)
    grace_s: float = 1.0  # between the polite interrupt and the kill
    start_s: float = 60.0  # from asking for a box to its HELLO: a loaded machine, not a fast one
    logs_bytes: int = 1 * MIB  # prints and C-level output of one step
    calls: int = 1000  # tool calls of one step
    frames: int = 100_000  # frames of one step, whatever they carry

    # Files and pictures, enforced on the host.
    files_bytes: int = 16 * GIB  # of all inputs; they are mounted, not copied, wherever that can be done
    files_count: int = 100_000  # files, folders and links of all inputs
    files_copied_bytes: int = 1 * GIB  # of the inputs that have to be copied: bytes; all of them for a remote engine
    outputs_bytes: int = 1 * GIB  # of all files that leave the boxes of one executor
    outputs_count: int = 10_000  # of these files, and of the folders that they are in
    collect_s: float = 30.0  # after a step: its pictures and declared outputs, all in all
    pictures: int = 8  # figures that one step may show
    picture_bytes: int = 8 * MIB  # one of them, three bytes a pixel: twice 1600 x 900; larger ones are scaled down

    # One message, enforced by the decoder on the host and by the encoder in the box.
    frame_bytes: int = 1 * MIB  # base64 of a 256 KiB chunk, and any ordinary message, fit with room
    value_bytes: int = 1 * MIB  # largest value that DONE carries; beyond it the host gets Opaque
    blob_bytes: int = 128 * MIB  # arrays, pixels and bytes of one message, together
    nodes: int = 100_000  # JSON nodes of one message: JSON takes up to 24x its size in memory
    depth: int = 64  # nesting of one message
    text_bytes: int = 64 * KIB  # str(value) of the last statement

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value < 2**53:
                raise ConfigError(f"Limits.{field.name} must be a positive number, not {value!r}")
            if field.type == "int" and not isinstance(value, int):
                raise ConfigError(f"Limits.{field.name} must be a whole number, not {value!r}")
        if self.memory_bytes < 64 * MIB:
            raise ConfigError("Limits.memory_bytes must be at least 64 MiB: CPython itself needs about 20 MiB")
        if self.scratch_bytes > self.memory_bytes:
            raise ConfigError("Limits.scratch_bytes is memory too: it cannot exceed Limits.memory_bytes")
        if self.value_bytes > self.frame_bytes:
            raise ConfigError("Limits.value_bytes travels in one frame: it cannot exceed Limits.frame_bytes")

    @classmethod
    def from_mapping(cls, mapping: dict[str, object]) -> Limits:
        """Build from plain data (`executor_kwargs`); an unknown key is a ConfigError that lists the known ones."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise ConfigError(f"unknown limit {unknown[0]!r}; known limits: {', '.join(sorted(known))}")
        return cls(**mapping)  # type: ignore[arg-type]  # __post_init__ checks each value

    def to_json(self) -> str:
        """One line of JSON, the form in which the limits reach the runner by argv."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

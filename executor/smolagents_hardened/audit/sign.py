"""Ed25519 signatures of records and heads. Needs the extra [sign].

A signed record proves everything before it. What no signature can prove is that nothing came after: for that, keep a
signed head (`Head`) where whoever can write the trail cannot.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smolagents_hardened.audit.file import sync_directory
from smolagents_hardened.errors import ConfigError

# What is signed begins with its purpose, so that a signature of one kind is worth nothing as another.
_RECORD = b"smolagents-hardened audit record v1\0"
_HEAD = b"smolagents-hardened audit head v1\0"
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Head:
    """What the end of a trail was at one time: number and hash of its last record, signed."""

    seq: int
    hash: str
    sig: str = ""

    @classmethod
    def read(cls, path: Path) -> Head:
        """Read a head file. Raises ConfigError for anything else."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            head = cls(raw["seq"], raw["hash"], raw["sig"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} holds no head of a trail: {error}") from error
        if type(head.seq) is not int or not isinstance(head.hash, str) or not isinstance(head.sig, str):
            raise ConfigError(f"{path} holds no head of a trail")
        return head

    def write(self, path: Path, *, is_durable: bool = False) -> None:
        """Put it into a file, wholly or not at all; with `is_durable` it survives a power cut."""
        new = path.with_name(path.name + ".new")
        with new.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(self), sort_keys=True) + "\n")
            stream.flush()
            if is_durable:
                os.fsync(stream.fileno())
        os.replace(new, path)
        if is_durable:
            sync_directory(path.parent)


def head_path(trail: Path) -> Path:
    """Where a trail leaves its signed head."""
    return trail.with_name(trail.name + ".head")


class Signer:
    """Signs with a private key. `every`: each so many records carry a signature, and the last one on close."""

    def __init__(self, private_key: Any, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ConfigError(f"sign every so many records: a whole number from 1 on, not {every!r}")
        self.every = every
        self._key = private_key

    @classmethod
    def from_file(cls, path: str | Path, every: int = 1) -> Signer:
        """Read an unencrypted Ed25519 key in PEM. Raises ConfigError, also when others may read the file."""
        path = Path(path)
        serialization, ed25519 = _library()
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"the key {path} can be read by others: chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise error if isinstance(error, ConfigError) else ConfigError(f"no key in {path}: {error}") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ConfigError(f"the key in {path} is no Ed25519 key")
        return cls(key, every)

    @classmethod
    def generate(cls, path: str | Path, every: int = 1) -> Signer:
        """Make a key, write it to `path` (for its owner only) and its public half to `path` + ".pub".

        Raises ConfigError when one of the files is there already.
        """
        public = Path(f"{path}.pub")
        if public.exists():
            raise ConfigError(f"the public key cannot be written to {public}: File exists")
        serialization, ed25519 = _library()
        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"the key cannot be written to {path}: {error.strerror}") from error
        with os.fdopen(fd, "wb") as stream:
            stream.write(pem)
        made = cls(key, every)
        with public.open("xb") as stream:
            stream.write(made.public_pem())
        return made

    def public_pem(self) -> bytes:
        """The public half, for `verify`."""
        serialization, _ = _library()
        public: bytes = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return public

    def record(self, sha256: str) -> str:
        """The signature (hex) of a record's hash."""
        return str(self._key.sign(_RECORD + sha256.encode()).hex())

    def head(self, seq: int, sha256: str) -> Head:
        """A signed head."""
        return Head(seq, sha256, self._key.sign(_HEAD + f"{seq}:{sha256}".encode()).hex())


class Verifier:
    """Checks signatures with a public key."""

    def __init__(self, public_key: Any) -> None:
        self._key = public_key

    @classmethod
    def from_pem(cls, pem: bytes) -> Verifier:
        """Raises ConfigError for what is no Ed25519 public key."""
        serialization, ed25519 = _library()
        if b"PRIVATE KEY" in pem:
            raise ConfigError("this is the private key: give the public one, FILE.pub")
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError as error:
            raise ConfigError(f"no public key in PEM: {error}") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ConfigError("the public key is no Ed25519 key")
        return cls(key)

    def record(self, sha256: str, signature: object) -> bool:
        """Whether a record's signature fits its hash."""
        return self._is_signed(_RECORD + sha256.encode(), signature)

    def head(self, head: Head) -> bool:
        """Whether a head was signed with this key."""
        return self._is_signed(_HEAD + f"{head.seq}:{head.hash}".encode(), head.sig)

    def _is_signed(self, data: bytes, signature: object) -> bool:
        from cryptography.exceptions import InvalidSignature

        if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
            return False
        try:
            self._key.verify(bytes.fromhex(signature), data)
        except InvalidSignature:
            return False
        return True


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError("signatures need a library: install smolagents-hardened[sign]") from error
    return serialization, ed25519

"""What a user has set about governance and audit, checked, in one place; `open` makes a governor of it.

Everything can be given as plain data: `executor_kwargs` end up in a JSON file.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import cast

from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.redact import Redactor
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.approval import as_approver
from smolagents_hardened.governance.authority import Authority, Prices
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.hooks import as_hook, shadow
from smolagents_hardened.governance.prices import PriceTable
from smolagents_hardened.governance.reload import SUFFIXES, PolicyFile
from smolagents_hardened.governance.terminal import TerminalApprover


@dataclass(frozen=True, slots=True)
class Charter:
    """A checked set of hooks, people, means and records."""

    hooks: tuple[object, ...]
    audit: Path | None
    keeping: Keeping
    redactor: Redactor
    authority: Authority

    def open(self, run_id: str) -> Governor:
        """A governor on its own trail, whose first record says what is at work. Raises AuditError."""
        trail = Trail(self.audit, redact=self.redactor, keeping=self.keeping)
        trail.append(
            "run",
            run=run_id,
            hooks=[as_hook(hook).name for hook in self.hooks],
            package=version("smolagents-hardened"),
            python=platform.python_version(),
        )
        return Governor(self.hooks, trail, clock=time.monotonic, run_id=run_id, authority=self.authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user may ask for by keyword, unchecked."""

    governance: object = None  # a hook, a policy file, an import string of a hook, or a list of these
    audit: str | Path | None = None
    audit_options: Mapping[str, object] | None = None  # fsync, sign_key, sign_every, rotate_bytes, redact ...
    approver: object = None  # "terminal", an import string, an Approver or a callable
    hook_timeout_s: float | None = None
    judges_managed: bool = True  # our hooks are asked about the calls of managed agents, too
    delegation: object = None  # scope, budgets, expires
    budgets: object = None
    prices: object = None
    shadow: bool = False  # hooks are asked and recorded, without effect


def charter(wishes: Wishes) -> Charter:
    """Check everything. Raises ConfigError that names the option."""
    keeping, redactor = audit_settings(wishes.audit_options or {})
    if wishes.audit is None and keeping.needs_file:
        raise ConfigError("audit_options: fsync, rotate_bytes, sign_key need a file: give audit='audit.jsonl' as well")
    governance = wishes.governance
    asked = governance if isinstance(governance, list | tuple) else () if governance is None else (governance,)
    hooks = tuple(_hook(one) for one in asked)
    return Charter(
        hooks=tuple(shadow(hook) for hook in hooks) if wishes.shadow else hooks,
        audit=_audit(wishes.audit),
        keeping=keeping,
        redactor=redactor,
        authority=Authority(
            approver=_approver(wishes.approver),
            hook_timeout_s=_limit_s(wishes.hook_timeout_s),
            judges_managed=wishes.judges_managed,
            grant=_grant(wishes.delegation),
            budgets=_budgets(wishes.budgets),
            prices=_prices(wishes.prices),
        ),
    )


def _hook(governance: object) -> object:
    if isinstance(governance, str | Path):
        text = str(governance)
        if text.endswith(SUFFIXES) or isinstance(governance, Path):
            return PolicyFile(text)
        governance = _imported("governance", text, f"a policy file ({', '.join(SUFFIXES)})")
    as_hook(governance)  # raises ConfigError for what is no hook
    return governance


def _imported(option: str, text: str, otherwise: str) -> object:
    """The object that an import string "pkg.mod:name" names."""
    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"{option} {text!r} is neither {otherwise} nor an import string 'pkg.mod:name'")
    try:
        return cast(object, getattr(import_module(module_name), name))
    except ImportError as error:
        raise ConfigError(f"{option} {text!r}: module {module_name!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise ConfigError(f"{option} {text!r}: module {module_name!r} has no {name!r}") from error


def _audit(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    audit = Path(path)
    if not audit.parent.is_dir():
        raise ConfigError(f"audit: the directory {str(audit.parent)!r} does not exist; create it first")
    return audit


def audit_settings(options: Mapping[str, object]) -> tuple[Keeping, Redactor]:
    """How to keep the trail: `fsync`, `sign_key` (a file), `sign_every`, `rotate_bytes`, `lock_timeout_s`, `sinks`,
    `redact` (names, patterns).

    Raises ConfigError.
    """
    from smolagents_hardened.audit.sign import Signer

    known = ("fsync", "sign_key", "sign_every", "rotate_bytes", "lock_timeout_s", "sinks", "redact")
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ConfigError(f"audit_options: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    given = dict(options)
    key, every = given.pop("sign_key", None), given.pop("sign_every", 1)
    redactor = Redactor.from_mapping(given.pop("redact", {}))
    if key is not None:
        given["signer"] = Signer.from_file(str(key), every)  # type: ignore[arg-type]  # checked by Signer
    elif "sign_every" in options:
        raise ConfigError("audit_options: sign_every needs sign_key")
    if "sinks" in given:
        listed = given["sinks"] if isinstance(given["sinks"], list | tuple) else [given["sinks"]]
        named = [_imported("audit_options: sink", sink, "a sink") if isinstance(sink, str) else sink for sink in listed]
        given["sinks"] = tuple(named)
    return Keeping(**given), redactor  # type: ignore[arg-type]  # Keeping checks each


def _approver(approver: object) -> object:
    if approver == "terminal":
        return TerminalApprover()
    if isinstance(approver, str):
        approver = _imported("approver", approver, "'terminal'")
    if approver is not None:
        as_approver(approver)
    return approver


def _limit_s(limit_s: object) -> float | None:
    if limit_s is None:
        return None
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not 0 < limit_s < 1e6:
        raise ConfigError(f"hook_timeout_s must be a positive number of seconds, not {limit_s!r}")
    return float(limit_s)


def _budgets(budgets: object) -> tuple[Budget, ...]:
    if budgets is None:
        return ()
    listed = [budgets] if isinstance(budgets, Budget | Mapping) else budgets
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ConfigError(f"budgets is a list of tables, not {budgets!r}")
    return tuple(one if isinstance(one, Budget) else Budget.from_mapping(one) for one in listed)


def _grant(delegation: object) -> Grant | None:
    if delegation is None or isinstance(delegation, Grant):
        return delegation
    return Grant(Delegation.from_mapping(delegation))


def _prices(prices: object) -> Prices | None:
    if isinstance(prices, str):
        prices = _imported("prices", prices, "a table")
    if prices is None or callable(prices):
        return prices
    if not isinstance(prices, Mapping):
        raise ConfigError(f"prices is a table of tool and number, or a function of the call, not {prices!r}")
    PriceTable(prices)
    return dict(prices)

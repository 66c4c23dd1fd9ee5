"""Bad input is a typed error that says what to do, before anything starts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from smolagents import CodeAgent, PythonInterpreterTool
from tests.conftest import MakeExecutor

from smolagents_hardened import ConfigError, Decision, HardenedExecutor, Limits, ToolCall
from smolagents_hardened.config import Options, from_options


def allow(call: ToolCall) -> Decision:
    """A hook that an import string can name."""
    return Decision.allow()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "dokcer"}, "backend must be one of"),
        ({"gate": "loose"}, "gate must be one of standard, strict, off"),
        ({"require": ["seccomp"]}, "unknown layer 'seccomp'"),
        ({"limits": {"memory": 1}}, "unknown limit 'memory'"),
        ({"limits": {"memory_bytes": "1G"}}, "must be a positive number"),
        ({"limits": {"calls": 1.5}}, "must be a whole number"),
        ({"limits": 5}, "limits must be"),
        ({"timeout_seconds": 0}, "wall_s must be a positive number"),
        ({"governance": "no/such/policy.toml"}, "no/such/policy.toml"),
        ({"governance": "no_such_module:hook"}, "cannot be imported"),
        ({"governance": "smolagents_hardened:nothing"}, "has no 'nothing'"),
        ({"governance": "just words"}, "neither a policy file"),
        ({"approver": "termnal"}, "approver 'termnal' is neither 'terminal' nor an import string"),
        ({"approver": "no_such_module:ask"}, "approver 'no_such_module:ask': .* cannot be imported"),
        ({"prices": "smolagents_hardened:nothing"}, "prices .* has no 'nothing'"),
        ({"governance": 5}, "hook"),
        ({"audit": "/no/such/place/audit.jsonl"}, "does not exist"),
        ({"additional_functions": {"f": 3}}, "'f' is not callable"),
        ({"max_print_outputs_length": 0}, "positive whole number"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    """Each wrong value is a ConfigError that names the option or the thing that is missing."""
    with pytest.raises(ConfigError, match=message):
        from_options([], Options(**options))  # type: ignore[arg-type]


def test_an_unknown_option_lists_the_known_ones() -> None:
    """A misspelt key in executor_kwargs is refused."""
    with pytest.raises(ConfigError, match=r"unknown option 'memory'.*known options: .*limits"):
        HardenedExecutor(memory=1)


def test_pickle_is_refused() -> None:
    """allow_pickle gets an answer of its own."""
    with pytest.raises(ConfigError, match="nothing from the sandbox is ever unpickled"):
        HardenedExecutor(allow_pickle=True)


def test_imports_must_be_a_list() -> None:
    """A string in place of the list is a mistake, not a list of letters."""
    with pytest.raises(ConfigError, match="must be a list of module names"):
        from_options("numpy", Options())


def test_an_import_that_the_image_lacks(make_executor: MakeExecutor) -> None:
    """It fails at construction, by name, and no box is started."""
    with pytest.raises(ConfigError, match="Non-installed authorized modules: no_such_module, torch"):
        make_executor(("numpy", "torch", "no_such_module.sub"))


def test_a_tool_that_cannot_be_governed(executor: HardenedExecutor) -> None:
    """PythonInterpreterTool runs code on the host: refused, with what to do."""
    with pytest.raises(ConfigError, match="add_base_tools=False"):
        executor.send_tools({"python_interpreter": PythonInterpreterTool()})


def test_a_managed_agent_without_a_sandbox(make_executor: MakeExecutor) -> None:
    """A managed CodeAgent that runs its code on the host is refused unless the user says so."""
    from examples.scripted import ScriptedModel

    agent = CodeAgent([], ScriptedModel([]), name="helper", description="helps")
    with pytest.raises(ConfigError, match="'helper' would run its code on the host"):
        make_executor().send_tools({"helper": agent})
    make_executor(allow_unsandboxed_agents=True).send_tools({"helper": agent})


def test_a_variable_that_cannot_be_named(executor: HardenedExecutor) -> None:
    """A variable's name must be an identifier."""
    with pytest.raises(ConfigError, match="Python identifier"):
        executor.send_variables(variables={"a-b": 1})


def test_a_variable_that_is_too_large(executor: HardenedExecutor) -> None:
    """A value beyond the budget is refused when it is given, by name, and nothing is lost."""
    executor.send_variables(variables={"kept": 1})
    with pytest.raises(ConfigError, match=r"variables \['big'\].*too large|too many"):
        executor.send_variables(variables={"big": list(range(1_000_000))})
    assert executor("kept").output == 1


def test_hooks_come_in_every_form(tmp_path: Path) -> None:
    """A callable, a list, an import string and a policy file are all accepted; None allows everything."""
    policy = tmp_path / "policy.toml"
    policy.write_text('default = "allow"\n')
    for governance in (allow, [allow, str(policy)], f"{__name__}:allow", policy, None):
        assert len(from_options([], Options(governance=governance)).charter.hooks) <= 2


def test_an_import_string_names_an_object() -> None:
    """pkg.mod:name gives the object itself."""
    assert from_options([], Options(governance="tests.test_config:allow")).charter.hooks == (allow,)


@pytest.mark.parametrize("wrong", ["false", "no", None, 0, [0]])
@pytest.mark.parametrize("name", [one.name for one in fields(Options) if isinstance(one.default, bool)])
def test_what_is_true_or_false_is_nothing_else(name: str, wrong: object) -> None:
    """A text from JSON, YAML or the environment would count as true, and switch on what it says is off."""
    with pytest.raises(ConfigError, match=f"{name} must be true or false"):
        from_options([], Options(**{name: wrong}))  # type: ignore[arg-type]
    from_options([], Options(**{name: False}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "limits",
    [
        {"memory_bytes": 1024},
        {"memory_bytes": 64 * 2**20, "scratch_bytes": 65 * 2**20},
        {"frame_bytes": 1024, "value_bytes": 2048},
        {"wall_s": -1},
        {"wall_s": float("nan")},
        {"cpus": True},
    ],
)
def test_contradicting_limits_are_refused(limits: dict[str, object]) -> None:
    """Limits that cannot hold together are refused."""
    with pytest.raises(ConfigError):
        Limits.from_mapping(limits)


@pytest.mark.parametrize(
    ("given", "limits"), [(None, {}), (5, {"*": 5}), (0.5, {"*": 0.5}), ({"slow": 2, "*": 9}, {"slow": 2, "*": 9})]
)
def test_tool_timeouts(given: object, limits: dict[str, float]) -> None:
    """Seconds for all tools, or by name."""
    assert from_options([], Options(tool_timeouts=given)).tool_timeouts == limits  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [0, -1, True, "5", {"slow": None}, float("inf"), float("nan")])
def test_odd_tool_timeouts_are_refused(given: object) -> None:
    """What is no positive number of seconds is named."""
    with pytest.raises(ConfigError, match="tool_timeouts"):
        from_options([], Options(tool_timeouts=given))  # type: ignore[arg-type]

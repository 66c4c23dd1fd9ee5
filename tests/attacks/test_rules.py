"""Each argument rule of filter 2 on a real kernel: tried both ways, with garbage above, and told from its absence."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from tests.support import locked, rule_calls, scratch_child
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.confinement.rules import PRETENDED, RuleSet

RULES = load_profile().run
SOURCE = Path(rule_calls.__file__).read_text(encoding="utf-8")
# The kernel reads all 64 bits of mremap's flags: garbage that passes the filter is its own EINVAL.
READ_WHOLE = {25}


def judge(rules: RuleSet, answer: list[Any]) -> str:
    """What is wrong with one answer, if anything."""
    number, words, is_above, found = answer
    expected = rules.verdict(number, [word % 2**64 for word in words])
    otherwise = next(syscall.otherwise for syscall in rules.syscalls if syscall.number == number)
    if expected == PRETENDED:
        return "" if found == 0 else f"{answer}: was made"
    if expected:
        return "" if found == expected else f"{answer}: expected {errno.errorcode[expected]}"
    return f"{answer}: did not pass" if found == otherwise and not (is_above and number in READ_WHOLE) else ""


@proves("kernel.arguments")
def test_each_rule_is_kept_in_a_box(box: HardenedExecutor) -> None:
    """[R6] Beside each rule a call is refused with its errno, within it the kernel answers; garbage above changes nothing."""
    answers = json.loads(box(f"{SOURCE}\nmain()").logs.splitlines()[-1])
    assert [wrong for answer in answers if (wrong := judge(RULES, answer))] == []
    assert {number for number, *_ in answers} == {syscall.number for syscall in RULES.syscalls if syscall.rules}


@proves("kernel.arguments")
def test_without_the_filter_each_refused_call_is_answered_otherwise(tmp_path: Path) -> None:
    """A kernel without the filter answers no call as the filter refuses it: so a refusal is the filter's."""
    run = f"{SOURCE}\n{scratch_child.PROLOGUE}\nmain()"
    answers = locked.run(run, tmp_path, is_locked=False).lines()[0]
    pid = next(words[0] for number, words, is_above, _ in answers if number == 234 and not is_above)
    rules = load_profile(pid=pid).run
    refusals = [
        (answer, rules.verdict(answer[0], [word % 2**64 for word in answer[1]]))
        for answer in answers
        if not (answer[2] and answer[0] in READ_WHOLE)
    ]
    assert [answer for answer, refusal in refusals if refusal > 0 and answer[3] == refusal] == []
    assert [answer for answer, refusal in refusals if refusal == PRETENDED and answer[3] == 0] == []


Mutant = tuple[str, int, int | None]  # a syscall, one of its rules, and one of its comparisons or the rule itself
MUTANTS: list[Mutant] = [
    (syscall.name, place, index)
    for syscall in RULES.syscalls
    for place, rule in enumerate(syscall.rules)
    for index in (None, *range(len(rule.arguments)))
]
# Each child takes the filter of its mutant and tells what each call is answered then.
TRY_EACH = """
from dataclasses import replace
from smolagents_hardened.confinement.rules import Argument
NEVER = Argument(0, 1, 0)  # nothing masked by 0 is 1

def mutate(rules, mutant):
    name, place, index = mutant
    def changed(rule):
        if index is None:
            return replace(rule, arguments=(NEVER,))
        return replace(rule, arguments=rule.arguments[:index] + rule.arguments[index + 1:])
    def rebuilt(syscall):
        kept = [changed(rule) if at == place else rule for at, rule in enumerate(syscall.rules)]
        return replace(syscall, rules=tuple(kept)) if syscall.name == name else syscall
    return RuleSet(tuple(rebuilt(syscall) for syscall in rules.syscalls), rules.answers, rules.default)

for mutant in [None, *json.loads(MUTANTS)]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        rules = load_profile(pid=os.getpid()).run
        calls, clone = prepared(), raw_clone()
        lockdown_unsafe.forbid_gaining()
        lockdown_unsafe.install_filter(compile_filter(mutate(rules, mutant) if mutant else rules))
        os.write(writer, json.dumps([answer[3] for answer in attempt(calls, clone)]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answers = json.loads(file.read() or "null")  # it could not even go on
    os.waitpid(child, 0)
    print(json.dumps([mutant, answers]), flush=True)
"""


@proves("kernel.arguments")
def test_no_rule_is_without_effect(tmp_path: Path) -> None:
    """[R6] Without a rule, and without each of its comparisons, some call is answered otherwise: none is there for show."""
    source = f"{SOURCE}\nMUTANTS = {json.dumps(MUTANTS)!r}\n{scratch_child.PROLOGUE}\n{TRY_EACH}"
    ended = locked.run(source, tmp_path, is_locked=False)
    assert ended.status == 0, ended.errors
    [[nothing, whole], *others] = ended.lines()
    assert nothing is None
    assert whole
    assert len(others) == len(MUTANTS)
    assert [mutant for mutant, answers in others if answers == whole] == []

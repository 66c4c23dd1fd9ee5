"""The target on source text in a record: a secret that stands in it under its name is not shown, whatever stands around it.

Whole programs are made from a small grammar, so that it is known where a secret stands; texts that are cut up or no
Python at all have to give a record, in time.
"""

from __future__ import annotations

import ast
import json
import textwrap
import warnings
from time import process_time

from tests.support.fuzz_choices import Choices

from smolagents_hardened.audit.plain import Snippet
from smolagents_hardened.audit.trail import Trail

_REPEATED_CHARS, _MOST_S = 60_000, 5.0  # some 0.3 s when it is traced; a quadratic reader takes minutes
# The secret's two halves: neither is part of a word or of a number that stands anywhere else.
HALVES = ("Zq7Xv9", "Kw2LmP")
DIGITS = "7140923448"
SECRET_NAMES = (
    "password",
    "api_key",
    "DB_PASSWORD",
    "accessToken",
    "client_secret",
    "token",
    "user_credentials",
    "Cookie",
)
_HARMLESS_NAME = "colour"

# Expressions, <a> and <b> are the halves; the first ones are one literal.
_LITERALS = (
    "'<a><b>'", '"<a><b>"', "'''<a><b>'''", '"""<a>\n\'s "<b>\\""""', "r'\\<a><b>'", "b'<a><b>'", 'Rb"<a>\\"<b>"',
    "u'<a><b>'", "'it\\'s # <a><b>'", "'<a>\\\n<b>'", "'\\\\<a><b>\\\\'", '"(<a>, {<b>"', "'''''<a>''\\'<b>'''",
    "f'<a><b>'", 'f"<a>{x}<b>"', "f'<a>{{x}}<b>'", "f'<a>{x!r:>{w}}<b>'", "fr'\\<a>{x}<b>'", 'f\'{x}<a>{y["z"]}<b>\'',
    "f'''<a>{f(\n1)}<b>'''", 'f\'{"<a><b>"}\'', "'é<a><b>'", "'\\N{BULLET}<a><b>'", "'<a>;<b>'", "'<a>=<b>'",
    "'<a>\\t<b>'", "<digits>", "-<digits>", "0x<digits>", "<digits>.5", "<digits>j",
)  # fmt: skip
_EXPRESSIONS = (
    *_LITERALS,
    "[\nx, '<a>',\nf'<b>']", "(\nx +\n'<a><b>')", "f(\nx,\n'<a>',\ny='<b>')",
    "'<a>' '<b>'", '\'<a>\' "<b>"', "b'<a>' rb'<b>'", "'<a>' f'{x}<b>'", "('<a>'\n    '<b>')",
    '(  # it\'s (\n\'<a>\'  # "\n\'<b>\')', "'<a>' \\\n '<b>'", "'<a>' + '<b>'", "'<a>' + x + '<b>'",
    "'<a>%s' % '<b>'", "('<a>' if x else '<b>')", "x or '<a><b>'", "'<a>' if x else '<b>'", "['<a>', '<b>']",
    "('<a>', '<b>')", "{'a': '<a>', 'b': ['<b>']}", "{'<a>', '<b>'}", "str('<a><b>')", "'<a>'.join(['<b>'])",
    "f(x, '<a><b>')", "f(g(1), y='<a>', z='<b>')", "b'<a><b>'.decode()", "['<a><b>'][0]", "(lambda: '<a><b>')()",
    "x if y else ['<a>', {'k': '<b>'}]", "not '<a><b>'", "[*x, '<a>', *'<b>']", "'<a>'[1:] + '<b>'",
    "(x, ('<a>', (('<b>'))))", "await f('<a><b>')", "[x for x in '<a>' if x != '<b>']", "{x: '<a>' for x in '<b>'}",
    "(y := '<a><b>')", "{'u': 1, **{'v': '<a><b>'}}", "'<a>' < '<b>'",
)  # fmt: skip
# Statements, <n> is the secret's name and <v> what is bound to it; within brackets first.
_WITHIN = (
    "f(<n>=<v>)", "f(x, <n>=<v>, y=1)", "f(<n> = <v>)", "f(g(1), *a, <n>=<v>, **k)", "f(**{'<n>': <v>})",
    "x = f(1)(<n>=<v>).g", "f(\n    <n>  # it's (\n    =  # {\n    <v>,\n)", "class A(B, <n>=<v>): pass",
    "@f(<n>=<v>)\ndef g(): pass", "f(lambda: 1, <n>=<v>)", "{'<n>': <v>}",
    'd = {\'user\': \'bob\', "<n>": <v>, \'z\': 1}', "d = {'a': {'<n>': <v>}}", "d = {**x, '<n>': <v>}",
    "d = {\n  '<n>'\n  :\n  <v>\n}", "d = [{'a': 1}, {'<n>': <v>}]", "f({'a': x[1:2], '<n>': <v>})",
    "d = {'<n>': <v> for x in y}", "d = {x: 1, '<n>': <v>, y: 2}", "f(a={'<n>': <v>})", "d = {'''<n>''': <v>}",
    "d = {b'<n>': <v>}", "d = {r'<n>': <v>}", "d = {('<n>'): <v>}", "if (<n> := <v>): pass", "f(<n> := (<v>))",
    "x = [<n> := (<v>), 1]", "while (<n> := (<v>)) != x: break", "x = y[(<n> := <v>)]", "def h(<n>=<v>): pass",
    "def h(a, /, b=1, *, <n>: str = <v>) -> 'x': pass", "async def h(<n>: 'str | None' = <v>): pass",
    "x = (lambda <n>=<v>: 1)", "f(lambda x, <n>=<v>: {1: 2})", "def h(a: 'x' = {}, <n>=<v>, c=[1]): pass",
    "x = [f(<n>=<v>) for y in z if y]", "return f(<n>=<v>)", "assert f(<n>=<v>), 'no'", "raise E(<n>=<v>)",
    "x = a if f(<n>=<v>) else b", "print(f(<n>=<v>)[0:1])", "with f(<n>=<v>) as g, h() as i: pass",
    "for x in f(<n>=<v>): pass", "(<n>) = (<v>)", "x = {1: lambda: 2, '<n>': <v>}", "x = {'<n>': lambda: (<v>)}",
    "x[f(1, <n>=<v>)] = 2", "f(x if y else z, <n>=<v>)", "f(not x, <n>=<v>)", "f(x for x in y)(<n>=<v>)",
    "del f(<n>=<v>).x", "f(a, <n>=<v>\n)",
)  # fmt: skip
_ALONE = (
    "<n> = <v>", "<n>=<v>", "<n>: str = <v>", "<n>: 'dict[str, int]' = <v>", "<n>: dict[str, int] = <v>",
    "x = <n> = <v>", "<n> = x = <v>", "<n> += <v>", "x, <n> = 1, <v>", "<n>, x = <v>, 1", "(<n>, x) = <v>, 1",
    "[x, <n>] = 1, <v>", "x, (y, <n>) = 1, (2, <v>)", "<n> = \\\n    <v>", "<n> \\\n  = <v>", "o.<n> = <v>",
    "o.a[0].<n> = <v>", "o.f('x').<n>: str = <v>", "o . <n> = <v>", "d['<n>'] = <v>", 'd[\'a\']["<n>"] = <v>',
    "d[r'<n>'] += <v>", "d['<n>', 1] = <v>", "if x: <n> = <v>", "if x: y = 1; <n> = <v>",
    "if x: pass\nelse: <n> = <v>", "for x in y: <n> = <v>", "while x: <n> = <v>", "with a as b: <n> = <v>",
    "try: <n> = <v>\nexcept E: pass", "class A: <n> = <v>", "class A:\n  x: int = 1\n  <n>: str = <v>",
    "match x:\n  case {'a': 1}: <n> = <v>", "x = 1; <n> = <v>; y = 2", "def h(): <n> = <v>",
    "if x == {'a': 1}: <n> = <v>", "if (lambda: 1)(): <n> = <v>", "x = {1: 2}; <n> = <v>",
    "for x in y[1:2]: <n> = <v>", "<n> = yield <v>", "global <n>; <n> = <v>", "<n> = x[1], <v>", "<n> = lambda: <v>",
)  # fmt: skip
# Within the fields of texts; the quotes decide what can stand there, so the value is part of it.
_IN_TEXTS = (
    "x = f\"{f(<n>='<a><b>')}\"", "x = f'{f(<n>=\"<a><b>\")}'", "x = f'a' f\"{y} {f(1, <n>='<a>' '<b>')!r:>{w}}\"",
    "x = f\"{(<n> := '<a><b>')}\"", "x = f\"{ {'<n>': '<a><b>'} }\"", "x = f\"{{}} {f(<n>=['<a>', '<b>'])}\"",
    "x = rf\"\\{f(<n>='<a><b>')}\"", "x = \"it's\" f\"{f(<n>='<a><b>')}\"", "x = f\"{y:{f(<n>='<a><b>')}}\"",
    "x = f'''{\nf(\n<n>=\"<a><b>\")}'''", "x = f\"{[f(<n>='<a><b>') for y in z]}\"",
)  # fmt: skip
# The same with any other expression in the place of each <x>.
_BESIDE_WITHIN = (
    "f(<x>, <n>=<v>)", "f(a=<x>, <n>=<v>, b=<x>)", "f(*<x>, **{'<n>': <v>})", "d = {'a': <x>, '<n>': <v>}",
    "d = {<x>: 1, '<n>': <v>, 'z': <x>}", "d = [<x>, {'<n>': <v>}]", "def h(a=<x>, <n>=<v>): pass",
    "def h(a: <x>, <n>: <x> = <v>) -> <x>: pass", "x = <x>, (<n> := <v>)", "@f(<x>)\n@g(<n>=<v>)\ndef h(): pass",
    "x = (<x>)[<x>](<n>=<v>)[<x>]", "x = [f(<n>=<v>) for y in <x> if <x>]", "x = {**<x>, '<n>': <v>}",
    "x = f(<n>=<v>) if <x> else <x>", "with f(<x>), g(<n>=<v>) as y: pass", "x = lambda a=<x>, <n>=<v>: <x>",
    "class A(<x>, <n>=<v>): pass", "f(<x>)(<x>, <n>=<v>)", "x = f(<x>\n  # )'\n  , <n>=<v>)",
    "print(<x>, f(<n>=<v>), sep=<x>)", "assert f(<x>, <n>=<v>), <x>",
)  # fmt: skip
_BESIDE_ALONE = (
    "x = <x>; <n> = <v>", "if <x>: <n> = <v>", "while <x>: <n> = <v>", "x: <x> = <x>; <n> = <v>", "d[<x>]['<n>'] = <v>",
    "d['<n>'][<x>].y = <v>", "f(<x>).<n> = <v>", "<n> = <x>, <v>", "<n> = [<x>, <v>]", "<n> = {<x>: <v>}",
    "<n> = (<x>) or <v>", "match <x>:\n  case 1 if <x>: <n> = <v>", "x = <x>\n<n> = <v>", "<n>: <x> = <v>",
    "for x in <x>: <n> = <v>", "try: x = <x>\nexcept <x>: <n> = <v>", "with <x>: <n> = <v>",
    "<n> = x = <v> if <x> else <x>", "<n> = x[<x>], <v>", "<n> = f(<x>), <v>",
)  # fmt: skip
_OTHERS = (
    "x", "{1: 'a'}", "y[1:2]", "lambda: {2: 3}", "'it\\'s'", "f'{y}{{'", "(lambda a, b=1: a)", "x if y else z",
    "[i for i in y if i]", "{'password'}", "d['password']", "'password'", "password", "not password", "'# ('",
    "'''\n\"'''", "f'{y:{z}}'", "{**x}", "(x\n)", "-1", "1.5e-3", "b'('", "r'\\\\'", "f(x)[0]", "{'token': x}",
    "f(token=x)", "x == 'a'", "(a := 1)", "x[y:token]", "'secret' in x", "f(lambda: x)", "x, y", "await x", "*x", "...",
    "{x: y for x in y}", "0xff", "1if x else 2", "'a' 'b'", "'\\\\\\\\'", "é", "x<y", "x!=y", "x>=(y)",
    "{'a': {'token': x}, 'b': 1}", "[token, 1]", "(token)", "token[0]", "f'{token=}'",
)  # fmt: skip
_NOISE = (
    "x = \"\"\"it's \"quoted\" ( \"\"\"", "# a \"\"\" here", "# one ' there", "x = f'''{y[\"a\"]} \" '''",
    "x = 1", "", "# it's a comment (", "print('don\\'t')", 'x = "it\'s"', 'x = \'"\'', '\'\'\'doc\'s "text\'\'\'',
    'x = f"{y[\'a\']}"', "x = f'{y!r:>{z}}{{'", "x = '\\\\'", "x = r'\\''", "x = y[1:2]", "if x: y = {1: 'a'}",
    "x = lambda a, b=1: a", "def g(a: 'b' = 'c') -> 'd': return a", "x = y if z else {}", "x = (1,\n  2)",
    "x = 1if y else 2", "x = 0xfor y", "x: 'int' = 2", "é = 'ü'", "x = y \\\n  + 1", "x = b'\\xff' rb'\\''",
    "print(x, end='')", "for i in range(3): pass", "x = [i for i in y if i]", "@g\nclass A: pass", "x = '''\n'''",
    "# the password's (new", "print('password:')", "x = f(max_tokens=5)", "if password == x: y = 1", "del token",
    "def g(password): pass", "x = d['password']", "x = {'token'}", "x = token if y else 1", "print(f'password {x}')",
    "x = 'token' in y", "import secrets", "x = password, token", "x = y[token:1]", "print(password, 'a')",
    "for token in x: pass", 'x = \'{\' + "["', "x = -1 .real",
)  # fmt: skip
_PIECES = (
    "'", '"', "'''", '"""', "\\", "\n", "\r", "\r\n", "(", ")", "[", "]", "{", "}", "=", ":", ":=", ",", ";", "#",
    "password", "password=", "'token': ", " ", "\t", "\x0c", "\x00", "é", "ﬁ", "\ud800", "\u2028", "f'{",
    "f'{password='", "rb'", "1", "1e", "lambda", "if ", "-", "api-key: x", "password = ", "\\N{", "{password='x'}",
    "token=\\\n", "x.", "Bearer x", "$", "`", "password=(", "'''password",
)  # fmt: skip


def snippets(data: bytes) -> None:
    """Source text gives a record, in bounded time; a literal that Python binds to a secret's name is not in it; what has no
    such name is there as it was.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser: the programs are odd on purpose
        _check(Choices(data))


def _check(choices: Choices) -> None:
    program, name = _program(choices), choices.pick(SECRET_NAMES)
    code, harmless = program.replace("<n>", name), program.replace("<n>", _HARMLESS_NAME)
    ast.parse(code)
    shown = json.dumps(_shown(code), ensure_ascii=False)
    assert not any(part in shown for part in (*HALVES, DIGITS)), (code, shown)
    assert any(stem in harmless for stem in ("password", "token", "secret")) or _shown(harmless) == harmless, harmless
    for _ in range(choices.below(4)):
        at = choices.below(len(code) + 1)
        code = code[:at] + choices.pick(_PIECES) + code[at + choices.below(24) :]
        _shown(code)
    if choices.chance(16):
        piece = choices.pick(_PIECES) + choices.pick(("", *_PIECES))
        began = process_time()
        _shown(choices.pick(("", "password = ", "password = (", "f'{")) + piece * (_REPEATED_CHARS // len(piece)))
        assert process_time() - began < _MOST_S, piece


def _shown(code: str) -> object:
    with Trail(clock=lambda: 1.5e9) as trail:
        record = trail.append("code", text=Snippet(code))
    assert record["kind"] == "code"
    return record["text"]


def _program(choices: Choices) -> str:
    """A program that binds the secret to <n> once, among statements that do not."""
    is_within = bool(choices.below(2))
    made = _bound(choices, is_within=is_within).replace("<v>", _value(choices, is_within=is_within))
    made = made.replace("<a>", HALVES[0]).replace("<b>", HALVES[1]).replace("<digits>", DIGITS)
    around = [choices.pick(_NOISE) if choices.below(4) else "" for _ in range(choices.below(4))]
    around = [one for one in around if _is_python(one)]
    place = choices.below(len(around) + 1)
    lines = "\n".join((*around[:place], made, *around[place:]))
    match choices.below(4):
        case 1:
            return f"def h():\n{textwrap.indent(lines, '    ')}\n    return 1"
        case 2:
            return f"async def h(x=1):\n  if x:\n{textwrap.indent(lines, '    ')}\n"
        case 3:
            return lines.replace("\n", "\r\n")
        case _:
            return lines


def _bound(choices: Choices, *, is_within: bool) -> str:
    """A statement that binds <v> to <n>."""
    plain, beside = (_WITHIN, _BESIDE_WITHIN) if is_within else (_ALONE, _BESIDE_ALONE)
    made = choices.pick(_IN_TEXTS if choices.chance(8) else beside if choices.below(2) else plain)
    while "<x>" in made:
        more = made.replace("<x>", choices.pick(_OTHERS), 1)
        is_python = _is_python(more.replace("<x>", "x").replace("<n>", "n").replace("<v>", "1"))
        made = more if is_python else made.replace("<x>", "x", 1)
    return made


def _value(choices: Choices, *, is_within: bool) -> str:
    made = choices.pick(_EXPRESSIONS if choices.below(3) else _LITERALS)
    if is_within:  # a comma, a colon or `:=` would mean something else there
        made = f"({made})" if choices.below(2) or made not in _LITERALS else made
    return made


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True

"The codec against texts and values that nobody would write on purpose. Seeded: a failure repeats."
import json, random, warnings
import pytest
from mcp_nb.catalog import DEFAULT_TOOLS
from mcp_nb.codec import (CALL_CLOSE, CALL_OPEN, FAMILIES, MAX_CLOSERS, MAX_TEXT, TOOL_FORMATS, Parsed, completion, identifier, legal, parse, render, render_call,
                          render_calls, split_prompt)
from mcp_nb.config import UserError
from mcp_nb.schema import Message, Tool, ToolCall

ERRORS = {'', 'unclosed', 'syntax', 'not_a_call', 'value', 'unknown_tool', 'unknown_parameter'}
ODD = ['', ' ', "'", '"', '\'"', "'''", '"""', '\\', '\\\\', '\\d+\\.(\\w)', '\n', '\r\n', '\t', '\0', '\x1b[0m', '\x85', '\u2028', '\ufeff', '\ud800', '\udfff\ud800',
       'ü', 'e\u0301', 'ﬁ', '🙂', '👩‍👩‍👧', '\U0010ffff', 'שלום', CALL_OPEN, CALL_CLOSE, f"'){CALL_CLOSE}", f"{CALL_CLOSE}{CALL_OPEN}x(y='", '<end_of_turn>\n', '{{ x }}', '{% if %}', '{# c #}',
       '%r', '%s %(a)s', '{0}', '{file}', '$HOME', '`a`', 'None', 'true', '1', '-1', '#', ',', ')', ', b=1)', '=', '\\N{DASH}', '\\u12', 'f"{1}"', 'x' * 3000]
NAMES = ['read', 'create-issue', 'a.b/c', 'from', 'None', 'match', '_', '', '2fa', '-A', 'größe', '日本', 'ﬁle', '__debug__', '__class__', 'self', 'print', 'items', 'keys', 'get', 'e\u0301', 'x y', '{', "'", 'i' * 200]

def text(dice):
    "Any text that UTF-8 can carry (half surrogates are refused as values: no file could hold them)."
    return any_text(dice).encode('utf-8', 'ignore').decode()

def any_text(dice):
    if dice.random() < 0.6: return ''.join(dice.choice(ODD) for _ in range(dice.randint(1, 3)))
    return ''.join(chr(dice.choice([dice.randrange(128), dice.randrange(0x300), dice.randrange(0x110000)])) for _ in range(dice.randint(0, 30)))

def value(dice, depth=3):
    "Any JSON value."
    kinds = ['text', 'text', 'whole', 'real', 'flag', 'nothing'] + ['list', 'dict'] * (depth > 0)
    kind = dice.choice(kinds)
    if kind == 'text': return text(dice)
    if kind == 'whole': return dice.choice([0, -1, 7, 2**31, -2**63, 10**50, dice.randint(-999, 999)])
    if kind == 'real': return dice.choice([0.0, -0.0, 1.0, -2.5, 1e-320, 1.7976931348623157e308, 0.1 + 0.2, 1e16, dice.uniform(-1e6, 1e6)])
    if kind == 'flag': return dice.random() < 0.5
    if kind == 'list': return [value(dice, depth - 1) for _ in range(dice.randint(0, 4))]
    if kind == 'dict': return {text(dice): value(dice, depth - 1) for _ in range(dice.randint(0, 4))}

def names(dice, n):
    "Different names that are also written differently."
    drawn = [dice.choice(NAMES) if dice.random() < 0.7 else text(dice) for _ in range(n)]
    return list({identifier(x): x for x in drawn}.values())

def tools_and_call(dice):
    tools = [Tool(name, text(dice), {'type': 'object', 'properties': {k: {} for k in names(dice, dice.randint(0, 5))}}) for name in names(dice, dice.randint(1, 4))]
    tool = dice.choice(tools)
    return tools, ToolCall(tool.name, {k: value(dice) for k in tool.properties if dice.random() < 0.8})

def exact(calls): return json.dumps([c.to_dict() for c in calls])     # 1, 1.0 and True differ here


def test_written_and_read_back():
    for seed in range(2000):
        dice = random.Random(seed)
        tools, call = tools_and_call(dice)
        written = render_call(call)
        if written.count(CALL_CLOSE) > MAX_CLOSERS: continue      # the limit that keeps reading fast
        assert exact(parse(written, tools).calls) == exact([call]) and not parse(written, tools).repaired, (seed, call)
        as_written = ToolCall(identifier(call.tool_name), {identifier(k): v for k, v in call.parameters.items()})
        assert exact(parse(written).calls) == exact([as_written]), (seed, call)

def test_several_calls_with_text_around():
    for seed in range(300):
        dice = random.Random(seed)
        tools, call = tools_and_call(dice)
        calls = [call, ToolCall(call.tool_name, {k: value(dice, 1) for k in call.parameters}), call]
        answer = parse(f'Let me look. {render_calls(calls)}\nDone.', tools)
        assert exact(answer.calls) == exact(calls) and answer.error == '' and answer.text == 'Let me look. \nDone.', seed

def test_forgotten_backslashes_are_put_back():
    words, mended = ["'", '"', ' ', 'a', 'jq -r', "'x'", '.', '(', ')', ' = ', ', ', '=', '\n', 'ü', '[1]'], 0
    for seed in range(2000):
        dice = random.Random(seed)
        said, quote = ''.join(dice.choice(words) for _ in range(dice.randint(1, 8))), dice.choice('\'"')
        if f'{quote}{said}{quote}'.startswith(quote * 3): continue     # that is Python's own triple quote
        answer = parse(f'{CALL_OPEN}grep(pattern={quote}{said}{quote}, _i=True){CALL_CLOSE}', DEFAULT_TOOLS)
        assert not answer.error and (not answer.repaired or answer.calls == (ToolCall('grep', {'pattern': said, '-i': True}),)), (said, answer)
        mended += answer.repaired
    assert mended > 500

def test_template_and_render_call_agree():
    for seed in range(120):
        dice = random.Random(seed)
        tools, call = tools_and_call(dice)
        family = dice.choice([f for f in FAMILIES if f not in TOOL_FORMATS])
        before, after, end, assistant, bos = FAMILIES[family]
        assert render([Message('assistant', tool_calls=(call,))], family=family, generate=False) == bos + before + assistant + after + render_call(call) + end, (seed, call)
        lines = render([], tools, family, generate=False)
        assert all(f'{identifier(t.name)}({", ".join(f"{identifier(k)}?: any" for k in t.properties)})' in lines for t in tools), seed
        query = text(dice)
        whole = render([Message('user', query), Message('assistant', tool_calls=(call,))], tools, family, generate=False)
        assert whole.rstrip('\n') == ''.join(split_prompt(query, tools, family)) + completion([call], family=family), seed     # training bytes are serving bytes

def sayable(value, family):
    "What a format can say of a value: FunctionGemma's has no way to write a text with its own delimiter, or a key that is no word."
    if family != 'functiongemma': return value
    if isinstance(value, dict): return {identifier(k): sayable(v, family) for k, v in value.items()}
    if isinstance(value, list): return [sayable(v, family) for v in value]
    return value.replace('<escape>', '') if isinstance(value, str) else value

def sorted_calls(calls): return json.dumps([c.to_dict() for c in calls], sort_keys=True)

@pytest.mark.parametrize('family', TOOL_FORMATS)
def test_makers_formats_are_written_and_read_back(family):
    for seed in range(600):
        dice = random.Random(seed)
        tools, call = tools_and_call(dice)
        if family == 'functiongemma':
            tools = [Tool(identifier(t.name), t.description, {'type': 'object', 'properties': {identifier(k): {} for k in t.properties}}) for t in tools]
            call = ToolCall(identifier(call.tool_name), sayable(call.parameters, family))
        calls = [call, ToolCall(call.tool_name, {k: sayable(value(dice, 1), family) for k in call.parameters}), call][:dice.randint(1, 3)]
        written = render_calls(calls, family)
        if len(written) > MAX_TEXT: continue
        found = parse(written, tools, family)
        assert sorted_calls(found.calls) == sorted_calls(calls) and (found.error, found.text, found.repaired) == ('', '', 0), (seed, written, found)
        assert sorted_calls(parse(written, None, family).calls) == sorted_calls(calls), seed
        query = text(dice)
        whole = render([Message('user', query), Message('assistant', tool_calls=tuple(calls))], tools, family, generate=False)
        assert whole.rstrip('\n') == (''.join(split_prompt(query, tools, family)) + completion(calls, family=family)).rstrip('\n'), seed     # training bytes are serving bytes

@pytest.mark.parametrize('family', [f for f in TOOL_FORMATS if TOOL_FORMATS[f].calls])
def test_makers_formats_are_legal(family):
    "But for control characters, which the library's JSON does not write."
    for seed in range(60):
        dice = random.Random(seed)
        call = ToolCall(dice.choice(['read', 'a-b', 'größe', 'x.y/z']), {k: dice.choice([''.join(c for c in text(dice) if c in '\n\r\t' or c >= ' ' and c != '\x7f'), 7, -2.5, True, None, ['a', 1], {'k': 'v'}]) for k in ('path', '-A')})
        tools = [Tool(call.tool_name, '', {'type': 'object', 'properties': {'path': {}, '-A': {}}})]
        written = render_calls([call], family)
        assert legal(written, tools, family), (seed, written)
        assert not legal(render_calls([ToolCall('other', call.parameters)], family), tools, family)

def check_total(source):
    for tools, family in ((None, ''), (DEFAULT_TOOLS, ''), *((DEFAULT_TOOLS, f) for f in ('qwen3', 'llama_json', 'phi_mini_json', 'functiongemma'))):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            answer = parse(source, tools, family)
        assert isinstance(answer, Parsed) and answer.error in ERRORS
        assert all(isinstance(c, ToolCall) for c in answer.calls)
        json.dumps([c.to_dict() for c in answer.calls])

PIECES = ODD + [CALL_OPEN, CALL_CLOSE, 'read', 'grep(', '(', ')', 'file_path=', "'a'", '[', ']', '{', '}', ':', '*', '**', '1', '0x', '1e999', 'lambda: 0', 'open("x")', '__import__("os")', ' if 1 else 2', 'b"x"', '...',
                '\n', ';', 'x:=1', '@', '-' * 3000, '(' * 300, '[' * 300, '1+' * 3000, 'a.' * 3000, '()' * 300, '{1:' * 150, '9' * 5000, '0x' + 'f' * 5000, 'not ' * 300]

def test_any_text_is_survived():
    for seed in range(3000):
        dice = random.Random(seed)
        check_total(''.join(dice.choice(PIECES) for _ in range(dice.randint(1, 14))))
        check_total(CALL_OPEN + "read(file_path=" + ''.join(dice.choice(PIECES) for _ in range(dice.randint(1, 5))) + ')' + CALL_CLOSE)

def test_mutated_calls_are_survived():
    source = render_calls([ToolCall('read', {'file_path': 'a.py', 'limit': 20}), ToolCall('grep', {'pattern': "it's \\d", '-A': 2, '-i': True}),
                           ToolCall('write', {'file_path': 'n.md', 'content': f'end {CALL_CLOSE} ü\n'})])
    for seed in range(3000):
        dice = random.Random(seed)
        mutated = source
        for _ in range(dice.randint(1, 6)):
            a, b = sorted(dice.randrange(len(mutated) + 1) for _ in 'ab')
            mutated = dice.choice([mutated[:a] + mutated[b:], mutated[:a] + mutated[a:b] * 2 + mutated[b:], mutated[:a] + dice.choice(PIECES) + mutated[a:], mutated[:a] + mutated[a:b][::-1] + mutated[b:], mutated[:a]]) or ' '
        check_total(mutated)

@pytest.mark.parametrize('family', ['qwen3', 'llama_json', 'phi_mini_json', 'functiongemma'])
def test_mutated_calls_of_makers_formats_are_survived(family):
    source = render_calls([ToolCall('read', {'file_path': 'a.py', 'limit': 20}), ToolCall('grep', {'pattern': "it's \\d", '-A': 2, '-i': True})], family)
    pieces = [*PIECES, '<tool_call>', '</tool_call>', '<|tool_call|>', '<|/tool_call|>', '<escape>', '<start_function_call>', '<end_function_call>', 'call:', '{"name": ', 'NaN', '1e999', '\\ud800', '[' * 3000, '{"a":' * 3000, 'a:{' * 3000, '"', 'null', '9' * 5000]
    for seed in range(1500):
        dice = random.Random(seed)
        mutated = source
        for _ in range(dice.randint(1, 6)):
            a, b = sorted(dice.randrange(len(mutated) + 1) for _ in 'ab')
            mutated = dice.choice([mutated[:a] + mutated[b:], mutated[:a] + mutated[a:b] * 2 + mutated[b:], mutated[:a] + dice.choice(pieces) + mutated[a:], mutated[:a] + mutated[a:b][::-1] + mutated[b:], mutated[:a]]) or ' '
        check_total(mutated)


# ---- single cases

@pytest.mark.parametrize('literal', ['{1: 2}', '{None: 1}', '[(1, 2)]', '{"a": (1,)}', '(1,)', '{1, 2}', 'b"x"', '1j', '...', '1e999', '-1e999'])
def test_only_json_values_pass(literal):
    answer = parse(f'{CALL_OPEN}f(a={literal}){CALL_CLOSE}')
    assert answer.error == 'value' and not answer.calls, answer

def test_a_parameter_given_twice_is_no_call():
    answer = parse(f"{CALL_OPEN}read(file_path='a', file_path='b'){CALL_CLOSE}", DEFAULT_TOOLS)
    assert answer.error and not answer.calls, answer

def test_a_regex_with_single_backslashes_raises_no_warning():
    source = CALL_OPEN + r"grep(pattern='\d+')" + CALL_CLOSE       # what a small model really writes
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert parse(source, DEFAULT_TOOLS).calls == (ToolCall('grep', {'pattern': r'\d+'}),)

def test_parameters_that_are_written_alike_are_refused_before_any_text_comes():
    tool = Tool('t', '', {'type': 'object', 'properties': {'a-b': {}, 'a.b': {}}})
    with pytest.raises(UserError, match='written'): render([Message('user', 'x')], [tool])

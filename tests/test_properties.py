"Properties that hold for anything: any schema a server may send, any value a call may carry."
import json, random, string
from hypothesis import HealthCheck, given, settings, strategies as st
from mcp_nb.catalog import from_mcp, to_mcp
from llguidance import LLMatcher, LLTokenizer
from mcp_nb.codec import grammar, identifier, legal, parse, render, render_call, render_calls, split_prompt, uncallable, written_apart
from mcp_nb.config import UserError
from mcp_nb.schema import Message, Tool, ToolCall, problems_of
from mcp_nb.servers import usable_tools
from mcp_nb.synthesis import a_value, synthesize
from mcp_nb.toolbank import make_group

fast = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(fast, max_examples=25)
text = st.text(st.characters(exclude_categories=('Cs',)), max_size=40) | st.sampled_from(['', "it's", '"', "'''", '\\', '\n', '</tool_use>', '<tool_use>', '🙂👩‍👩‍👧', 'ü\r\n\t', '\0', "a='b', c=1", '{}', '\u2028'])
scalars = text | st.integers(-2**63, 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12)
names = st.text(string.ascii_letters + string.digits + '_-./:$ äß中🙂', min_size=1, max_size=20).filter(str.strip)

types = st.sampled_from(['string', 'integer', 'number', 'boolean', 'array', 'object', 'null'])
def node(children):
    return st.fixed_dictionaries({}, optional={'type': types | st.lists(types, max_size=3), 'properties': st.dictionaries(names, children, max_size=4), 'required': st.lists(names, max_size=3), 'items': children, 'enum': st.lists(scalars, max_size=4),
                                               'anyOf': st.lists(children, max_size=3), 'allOf': st.lists(children, max_size=3), 'format': st.sampled_from(['date', 'email', 'uri', 'odd']), 'minimum': st.integers(-5, 50), 'maximum': st.integers(-5, 50), 'minItems': st.integers(0, 3),
                                               'pattern': st.sampled_from(['^a+$', '(', '[0-9]{3}']), 'description': text, 'default': scalars, '$ref': st.sampled_from(['#', '#/$defs/a', '#/nowhere', 'http://127.0.0.1:9/x']), 'nullable': st.booleans()})
schemas = st.recursive(node(st.nothing() | st.builds(dict)), node, max_leaves=8)
anything = schemas | values                                            # half sensible, or not a schema at all


@fast
@given(st.lists(st.tuples(names, st.dictionaries(names, values, max_size=5)), min_size=1, max_size=3))
def test_what_is_rendered_is_read_back(calls):
    "render → parse is the identity for any legal call, nested values, quotes, newlines and emoji included."
    tools = [Tool(n, '', {'type': 'object', 'properties': {k: {} for k in p}}) for n, p in calls]
    wanted = tuple(ToolCall(n, p) for n, p in calls)
    if len({identifier(t.name) for t in tools}) < len(tools) or any(len({identifier(k) for k in p}) < len(p) for _, p in calls): return
    back = parse(render_calls(wanted), tools)
    assert (back.calls, back.error, back.repaired) == (wanted, '', 0)

@fast
@given(names, st.dictionaries(names, values, max_size=4))
def test_the_template_writes_what_the_codec_writes(name, parameters):
    call = ToolCall(name, parameters)
    assert render_call(call) in render([Message('assistant', tool_calls=(call,))], generate=False)

@fast
@given(names, text, anything)
def test_any_schema_is_a_tool_or_one_line(name, description, schema):
    "Whatever a server sends as a schema: a tool that can be shown, checked and asked for, or one clear line."
    if isinstance(schema, dict): schema = dict(schema, **{'$defs': {'a': {'type': 'object', 'properties': {'again': {'$ref': '#/$defs/a'}, 'root': {'$ref': '#'}}}}})
    kept, left_out = usable_tools([{'name': name, 'description': description, 'inputSchema': schema}])
    assert len(kept) + sum(not what.startswith('the text of') for what, _ in left_out) == 1 and all('\n' not in reason for _, reason in left_out)
    for tool in kept:
        assert from_mcp(to_mcp(tool)) == tool                          # what was tidied stays as it is
        assert isinstance(problems_of(ToolCall(tool.name, {}), [tool]), list)
        try: assert identifier(tool.name) in split_prompt('x', [tool])[0]
        except UserError as e: assert 'would both be written' in str(e)
        for parameter, s in tool.properties.items():
            value, said = a_value(parameter, s, tool, random.Random(0))
            assert said and all(isinstance(x, str) for x in said); json.dumps(value)

@few
@given(st.lists(st.tuples(names, text, schemas), min_size=1, max_size=4, unique_by=lambda t: t[0]))
def test_any_server_gives_legal_examples(tools):
    kept, _ = usable_tools([{'name': n, 'description': d, 'inputSchema': s} for n, d, s in tools])
    kept, _ = written_apart(kept)
    if not kept: return
    for example in make_group(random.Random(0), size=8, server=synthesize('any', kept)):
        assert not [p for c in example.calls for p in problems_of(c, example.tools)], example

def test_five_hundred_tools_and_a_recursive_schema():
    loop = {'type': 'object', 'properties': {'name': {'type': 'string'}, 'children': {'type': 'array', 'items': {'$ref': '#'}}}, 'required': ['name']}
    wire = [{'name': f'größe-{i}-{w}', 'inputSchema': loop} for i in range(125) for w in ('get', 'set', 'list', 'löschen')]
    kept, left_out = usable_tools(wire)
    assert len(kept) == 500 and not left_out
    server = synthesize('many', kept)
    group = make_group(random.Random(1), size=20, server=server)
    assert len(group) == 20 and all(len(e.tools) <= 20 for e in group)

@few
@given(names, text, anything, st.integers(0, 2**32))
def test_whatever_the_grammar_admits_is_read(name, description, schema, seed):
    "A walk that takes any admitted byte, for a tool of any schema: it ends, and the codec reads legal calls of that tool."
    kept, _ = usable_tools([{'name': name, 'description': description, 'inputSchema': schema}])
    try: tools, _ = written_apart(kept)
    except UserError: return
    if not tools or uncallable(tools): return
    dice, matcher, said = random.Random(seed), LLMatcher(LLTokenizer('byte'), grammar(tools)), []
    assert matcher.try_consume_tokens(list(b'<tool_use>')) == 10, matcher.get_error()
    while not (matcher.is_accepting() and bytes(said).endswith(b'</tool_use>')):
        mask = matcher.compute_bitmask()
        may = [b for b in range(256) if mask[b >> 3] >> (b & 7) & 1]
        closing = [b for b in may if chr(b) in '\'")]},']
        said.append(dice.choice(closing if closing and (len(said) > 200 or dice.random() < 0.3) else may))
        assert matcher.consume_token(said[-1]) and len(said) < 4000
    answer = parse('<tool_use>' + bytes(said).decode(), tools)
    assert answer.calls and not answer.error, (bytes(said), answer)
    assert not [p for c in answer.calls for p in problems_of(c, tools)], (bytes(said), answer)

@fast
@given(st.dictionaries(names, values, min_size=1, max_size=5), st.sets(names))
def test_every_call_is_legal(parameters, left_out):
    "What training data may hold, the grammar admits: any value, optional parameters or not."
    tool = Tool('t', '', {'type': 'object', 'properties': {k: {} for k in parameters}})
    if len({identifier(k) for k in parameters}) < len(parameters) or 'e+308' in repr(parameters): return
    assert legal(render_call(ToolCall('t', {k: v for k, v in parameters.items() if k not in left_out})), [tool])

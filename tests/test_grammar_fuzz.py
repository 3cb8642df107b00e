"Walks that take any admitted token: whatever the grammar of any list of tools admits must parse, and pass the check of its schema. Seeded; MCP_NB_WALKS sets how many lists."
import functools, os, random, time
import numpy as np
from jsonschema_rs import Draft202012Validator
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from mcp_nb.catalog import checkable
from mcp_nb.codec import ending, guide, legal, parse, render_calls, uncallable, vocabulary, written_apart
from mcp_nb.schema import Tool, ToolCall, problems_of, schema_problem
from mcp_nb.servers import usable_tools

WALKS = int(os.environ.get('MCP_NB_WALKS', 300))
NAMES = ['path', 'query', 'from', 'to', 'id', 'max-results', '$top', '-A', 'größe', '日本', 'x y', 'class', 'a.b', 'limit', 'tags', 'name', 'kind', "it's", 'a"b', '🙂', 'value', 'line\nbreak', 'options', 'X-Key', '2fa']
TEXTS = ['', 'a', 'low', 'high', "it's", 'say "hi"', '\'"', 'a\nb', 'C:\\x', 'ü', '🙂', '\t', '</tool_use>', 'None', '1', 'x' * 40, '\u2028', '\x07']
PATTERNS = ['^[a-z]+$', '^[A-Z]{2,3}$', r'^\d{4}-\d{2}$', '[0-9]', r'^(a|b)c*$', r'^a$|^b$', r'\.(md|txt)$', r'^(?!-)[\w-]+$', r'^\S+@\S+$', r'^[^/]+/[^/]+$', r'(a)\1', r'\bx\b', r'^(?=.*\d)(?=.*[a-z]).{4,}$', r'^$', r'^.{3}$', r'[^a-z]', r'^\\\\', r"'", '"', r'^#?([a-f0-9]{6}|[a-f0-9]{3})$', r'^\s*$', r'^\p{L}+$', r'^v?\d+(\.\d+){0,2}$', '^a{2,}b?$', '(?i)^yes$', '^(?:[01]\\d|2[0-3]):[0-5]\\d$', 'é']
FORMATS = ['date', 'date-time', 'time', 'email', 'uuid', 'uri', 'ipv4', 'ipv6', 'hostname', 'duration', 'regex', 'odd']

def scalar(dice): return dice.choice([dice.choice(TEXTS), dice.randint(-5, 12), dice.choice([0.5, -1.25, 1e-7, 3.0, 1e20]), True, False, None])
def value(dice, depth=2):
    if depth and dice.random() < .2: return [value(dice, depth - 1) for _ in range(dice.randint(0, 3))]
    return {dice.choice(NAMES): value(dice, depth - 1) for _ in range(dice.randint(0, 2))} if depth and dice.random() < .1 else scalar(dice)

def text(dice):
    s = {'type': 'string'}
    if dice.random() < .25: s['minLength'] = dice.choice([0, 1, 1, 2, 5, 30])
    if dice.random() < .25: s['maxLength'] = dice.choice([0, 1, 3, 8, 50, 500, 100000])
    if dice.random() < .25: s['pattern'] = dice.choice(PATTERNS)
    if dice.random() < .15: s['format'] = dice.choice(FORMATS)
    return s

def number(dice):
    s = {'type': dice.choice(['integer', 'integer', 'number'])}
    low = dice.choice([0, 1, -10, 0.5, -0.1, 5, 1e6, -2**60])
    if dice.random() < .35: s[dice.choice(['minimum', 'minimum', 'exclusiveMinimum'])] = low
    if dice.random() < .35: s[dice.choice(['maximum', 'maximum', 'exclusiveMaximum'])] = low + dice.choice([0, 1, 9, 0.5, 100, 1e9, -1])
    if dice.random() < .15: s['multipleOf'] = dice.choice([1, 2, 5, 10, 0.5, 0.01, 0.1, 3, 7])
    return s

def array(dice, depth):
    s = {'type': 'array'}
    if dice.random() < .85: s['items'] = node(dice, depth - 1)
    if dice.random() < .15: s['prefixItems'] = [node(dice, depth - 1) for _ in range(dice.randint(1, 3))]
    if dice.random() < .3: s['minItems'] = dice.choice([0, 1, 1, 2, 3])
    if dice.random() < .3: s['maxItems'] = dice.choice([0, 1, 2, 3, 10])
    if dice.random() < .2: s['uniqueItems'] = True
    if dice.random() < .07: s['contains'] = node(dice, 0)
    if 'contains' in s and dice.random() < .3: s[dice.choice(['minContains', 'maxContains'])] = dice.choice([0, 1, 2])
    return s

def an_object(dice, depth):
    names = dice.sample(NAMES, dice.randint(0, 4))
    s = {'type': 'object', 'properties': {n: node(dice, depth - 1) for n in names}}
    if dice.random() < .1: s.pop('properties')
    if dice.random() < .7: s['required'] = [n for n in names if dice.random() < .5] + ([dice.choice(NAMES)] if dice.random() < .07 else [])
    if 'required' in s: s['required'] = list(dict.fromkeys(s['required']))
    if dice.random() < .35: s['additionalProperties'] = dice.choice([False, False, True, node(dice, 0)])
    if dice.random() < .08: s['patternProperties'] = {dice.choice(['^x', '^[a-z]+$', '_id$', '.*']): node(dice, 0)}
    if dice.random() < .06: s['propertyNames'] = dice.choice([{'pattern': '^[a-z]+$'}, {'maxLength': 4}, {'enum': NAMES[:6]}])
    if dice.random() < .08: s[dice.choice(['minProperties', 'maxProperties'])] = dice.choice([0, 1, 2, 3])
    if names and dice.random() < .06: s['dependentRequired'] = {names[0]: [dice.choice(NAMES)]}
    if names and dice.random() < .05: s.update({'if': {'properties': {names[0]: {'const': scalar(dice)}}}, 'then': {'required': names[-1:]}, 'else': {'properties': {names[-1]: node(dice, 0)}}})
    if names and dice.random() < .06: s['anyOf'] = [{'required': [n]} for n in names[:3]]
    return s

def node(dice, depth=3):
    "Any JSON Schema, from what servers send to what nobody would."
    roll = dice.random()
    if roll < .3: s = text(dice)
    elif roll < .48: s = number(dice)
    elif roll < .54: s = {'type': 'boolean'}
    elif roll < .62: s = {'enum': [scalar(dice) if dice.random() < .3 else dice.choice(TEXTS[:6]) for _ in range(dice.randint(1, 5))]}
    elif roll < .65: s = {'const': value(dice)}
    elif roll < .69: s = {'type': dice.sample(['string', 'integer', 'null', 'boolean', 'array', 'object', 'number'], dice.randint(1, 3)), **dice.choice([{}, {'minLength': 2}, {'minimum': 3}])}
    elif roll < .72: s = dice.choice([{}, True, {'description': 'anything'}, {'default': 3}, False])
    elif depth <= 0: s = dice.choice([{'type': 'null'}, {'type': 'string'}, {'type': 'integer', 'minimum': 1}])
    elif roll < .82: s = array(dice, depth)
    elif roll < .92: s = an_object(dice, depth)
    elif roll < .97: s = {dice.choice(['anyOf', 'anyOf', 'oneOf', 'allOf']): [node(dice, depth - 1) for _ in range(dice.randint(1, 3))], **(dice.choice([{}, {'type': 'string'}, {'minLength': 1}]))}
    elif roll < .985: s = {'$ref': dice.choice(['#/$defs/tree', '#/$defs/text', '#', '#/$defs/both'])}
    else: s = {'not': node(dice, depth - 1)}
    if isinstance(s, dict) and dice.random() < .04: s = {**s, 'enum': [scalar(dice) for _ in range(3)]}
    return s if isinstance(s, bool) or dice.random() < .7 else {**s, 'description': dice.choice(TEXTS), 'default': scalar(dice)}

DEFS = {'tree': {'type': 'object', 'properties': {'name': {'type': 'string'}, 'children': {'type': 'array', 'items': {'$ref': '#/$defs/tree'}}}, 'required': ['name']},
        'text': {'type': 'string', 'minLength': 1}, 'both': {'allOf': [{'$ref': '#/$defs/text'}, {'maxLength': 9}]}}

def tool_list(dice):
    "A list of tools as the house takes it in or (each second time) as it stands, and the schemas as their server has them."
    schemas = [dict(an_object(dice, 3), **{'$defs': DEFS}) for _ in range(dice.randint(1, 8))]
    names = dice.sample(NAMES, len(schemas))
    if dice.random() < .5: tools, _ = usable_tools([{'name': n, 'description': dice.choice(TEXTS), 'inputSchema': s} for n, s in zip(names, schemas)])
    else: tools = [t for n, s in zip(names, schemas) if isinstance(s.setdefault('properties', {}), dict) and not schema_problem(t := Tool(n, '', s))]
    return written_apart(tools)[0], dict(zip(names, schemas))

@functools.cache
def embedded():
    "The vocabulary of the embedded model, the bytes of its tokens, and which of them are wild."
    from mcp_nb.models import FileTokenizer, pruned_base
    tokenizer = FileTokenizer(pruned_base(), 'gemma')
    tokens = vocabulary(tokenizer.backend.to_str(), [tokenizer.eos_token_id])
    pieces = [tokens.decode_bytes([i]) for i in range(tokens.vocab_size)]
    wild = np.array([any(c in b'\'"\\()[]{}<>,:=0123456789\n\t' or c < 32 or c > 127 for c in p) for p in pieces])
    return tokens, pieces, wild

def walk(matcher, dice, limit):
    "Take admitted tokens until the stop token is taken or none are left: (bytes, what went wrong on the way)."
    tokens, pieces, wild = embedded()
    mask, said, whole, stop = allocate_token_bitmask(1, tokens.vocab_size), b'', b'', tokens.eos_token
    for n in range(limit):
        fill_next_token_bitmask(matcher, mask)
        may = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder='little')[:tokens.vocab_size])
        if matcher.is_error() or not len(may): return said, f'dead end: {matcher.get_error().splitlines()[0] if matcher.get_error() else "nothing admitted"}'
        if stop in may:
            if not matcher.is_accepting(): return said, 'dead end: only the stop token'
            if len(may) == 1 or dice.random() < .4: return said, ''
        if not said and dice.random() < .9: may = np.array([i for i in may if pieces[i].startswith(b'<')] or may)
        some = may if dice.random() < .4 or not len(m := may[wild[may]]) else m
        token = int(some[dice.randrange(len(some))])
        if token == stop: continue
        if not matcher.consume_token(token): return said, f'refused: {matcher.get_error().splitlines()[0]}'
        said += pieces[token]
        if matcher.is_accepting(): whole = said
    rest = ending(matcher, tokens, 100)
    return whole if rest is None else said + b''.join(pieces[i] for i in rest[:-1]), ''

def refused(call, schema):
    "What the server finds wrong with a call: nothing if it cannot read its own schema, or if nothing fulfils it."
    return [e.message for e in Draft202012Validator(schema).iter_errors(call.parameters)] if checkable(schema) else []

def verdict(said, tools, schemas):
    "What is wrong with an answer; '' when nothing is."
    try: answer = parse(said.decode(), tools)
    except UnicodeDecodeError: return 'not UTF-8'
    if answer.error: return f'parse: {answer.error}'
    if said.startswith(b'<') and not answer.calls: return 'no call'
    found = [p.partition(': ')[2] for c in answer.calls for p in problems_of(c, tools)] or [f'by the server: {p}' for c in answer.calls for p in refused(c, schemas[c.tool_name])]
    return f'schema: {found[0]}' if found else ''

def failures(lists, seed=0):
    "(seed, problem, answer, tools) of each walk that went wrong, and how many had a call."
    wrong, called = [], 0
    for n in range(seed, seed + lists):
        dice = random.Random(n)
        tools, schemas = tool_list(dice)
        matcher = guide(tools, embedded()[0])
        if matcher.is_error(): wrong.append((n, f'compile: {matcher.get_error().splitlines()[0]}', b'', tools)); continue
        said, end = walk(matcher, dice, dice.choice([4, 15, 40, 90]))
        called += said.startswith(b'<')
        if problem := end or verdict(said, tools, schemas): wrong.append((n, problem, said, tools))
    return wrong, called

def test_whatever_is_admitted_parses_and_fits_its_schema():
    "One thing no grammar can hold: that a list of two or more free values has different ones."
    wrong, called = failures(WALKS)
    broken = [(n, problem, said[-200:]) for n, problem, said, _ in wrong if 'non-unique' not in problem]
    assert called > WALKS / 2 and len(wrong) - len(broken) <= 1 + WALKS / 200
    assert not broken, (len(broken), broken[:5])

def test_the_right_form_of_a_valid_value_is_admitted():
    "What the check lets pass, the grammar admits as the codec writes it: for common schemas."
    for schema, values in [({'type': 'string', 'minLength': 1}, ['a', "it's", 'a\n"b"\'', '\\d+', 'ü🙂']), ({'type': 'string', 'maxLength': 60}, ["o'hara", 'x\ny', '', 'C:\\new', '\t']), ({'type': 'string', 'pattern': '^[a-z]+-[0-9]{2}$'}, ['ab-12']), ({'type': 'string', 'pattern': '\\S'}, ["it's so", 'say "hi"']),
                           ({'type': 'string', 'format': 'date-time'}, ['2027-02-19T15:30', '2021-02-27T15:00:00Z']), ({'type': 'integer', 'minimum': -3, 'maximum': 4000}, [-3, 0, 17, 4000]), ({'type': 'number', 'minimum': 0, 'maximum': 99.9}, [0, 0.5, 99.9, 9.99, 90]), ({'type': 'number', 'multipleOf': 0.01}, [0.07, 19.99, -3]),
                           ({'enum': ['a', 1.0, None, {'k': [True]}]}, ['a', 1.0, 1, None, {'k': [True]}]), ({'type': 'array', 'items': {'enum': ['a', 'b', 'c']}, 'uniqueItems': True}, [[], ['c', 'a', 'b']]), ({'type': ['string', 'null'], 'minLength': 2}, ['ab', None]), ({'type': 'object', 'properties': {'b': {'type': 'integer'}, 'a': {}}, 'required': ['a']}, [{'a': [1, {}]}, {'b': 1, 'a': 'x'}]),
                           ({'type': 'object', 'additionalProperties': {'type': 'integer'}}, [{}, {"it's": 1, 'ü': -2}]), ({'type': 'object', 'patternProperties': {'^x-': {'type': 'string'}}, 'properties': {'n': {'type': 'integer'}}, 'additionalProperties': False}, [{'n': 1}, {'n': 1, 'x-a': 'b'}, {'x-': ''}]), ({'$ref': '#/$defs/tree'}, [{'name': 'a', 'children': [{'name': 'b', 'children': []}]}])]:
        tool = Tool('t', '', {'type': 'object', 'properties': {'v': schema}, 'required': ['v'], '$defs': DEFS})
        for v in values:
            call = ToolCall('t', {'v': v})
            assert not problems_of(call, [tool]) and legal(render_calls([call]), [tool]), (schema, v)

def test_large_lists_and_schemas_stay_cheap():
    many = [Tool(f'tool_{i}', '', {'type': 'object', 'properties': {f'p{k}': {'type': 'string'} for k in range(5)}}) for i in range(300)]
    choices = Tool('choices', '', {'type': 'object', 'properties': {f'p{i}': {'enum': [f'value-{i}-{k}' for k in range(5000)]} for i in range(3)}, 'required': ['p1']})
    ways = Tool('ways', '', {'type': 'object', 'properties': {'a': {'allOf': [{'anyOf': [{'required': [f'a{i}']}, {'properties': {f'b{i}': {'const': 1}}}]} for i in range(30)]}}, 'required': ['a']})
    for tools in (many, [choices], [ways], [*many, choices, ways]):
        start = time.process_time()
        assert not guide(tools, embedded()[0]).is_error() and time.process_time() - start < 3
    assert legal("<tool_use>choices(p1='value-1-4999')</tool_use>", [choices]) and uncallable([ways, choices]) == ['ways']

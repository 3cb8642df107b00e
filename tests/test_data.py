"What is shipped in mcp_nb/data, and what is generated from it."
import itertools, json, os, pathlib, random, re, subprocess, sys
from functools import cache
import pytest
from mcp_nb import dataset as ds, phrasebank as pb, toolbank as tb
from mcp_nb.catalog import parse_tool
from mcp_nb.conversations import conversations
from mcp_nb.config import data_file, make_config, read_json, read_lines, run_folder
from mcp_nb.schema import ToolCall, normalized, problems_of

CASE_FILES = {'acceptance.jsonl': 300, 'development.jsonl': 100, 'brief_cases.jsonl': 20, 'unseen.jsonl': 300, 'unseen2.jsonl': 300, **{f'real_requests/{n}.jsonl': 50 for n in pb.REAL}}
UNSEEN = read_json(data_file('unseen.tools.json')) | {f'second:{k}': v for k, v in read_json(data_file('unseen2.tools.json')).items()}
TOOLS = {t.name: t for t in pb.known_tools()}

def cases(name): return read_lines(data_file(name))
def tools_of(case, name=''): return read_json(data_file(f'servers/{pathlib.Path(name).stem}.json')) if name.startswith('real_requests') else UNSEEN[('second:' if name.startswith('unseen2') else '') + case['tools']] if isinstance(case.get('tools'), str) else case.get('tools', ())
def slots(text): return {m.group(0)[1:-1] for m in pb.SLOT.finditer(text)}
def where(frame, wording=''): return f"{frame['origin']}: {wording[:80]!r} -> {json.dumps(frame['calls'])[:120]}"
def pairs(): return ((frame, wording) for frame in pb.phrase_bank() for wording in frame['say'])

@cache
def generated(): return ds.make_dataset(make_config('cpu', dataset_size=6000, validation_size=300, validation_split=0.2, toolbank_share=0.5))


# ---- case files

@pytest.mark.parametrize('name', CASE_FILES)
def test_cases(name):
    found = cases(name)
    assert len(found) >= CASE_FILES[name] and (name != 'brief_cases.jsonl' or len(found) == 20)
    assert len({c['id'] for c in found}) == len(found) == len({normalized(c['query']) for c in found})
    for case in found:
        assert case['query'].strip() and isinstance(case['expected'], list), case['id']
        known = TOOLS | {t.name: t for t in map(parse_tool, tools_of(case, name))}
        for call in case['expected']:
            assert call['tool'] in known, (case['id'], call['tool'])
            if call['params'] is None: continue
            tool = known[call['tool']]
            for key, values in call['params'].items():
                assert key in tool.properties and isinstance(values, list) and values, (case['id'], key)
            assert set(tool.required) <= set(call['params']), (case['id'], tool.required)

@pytest.mark.parametrize('name', CASE_FILES)
def test_expected_calls_are_legal(name):
    for case in cases(name):
        known = TOOLS | {t.name: t for t in map(parse_tool, tools_of(case, name))}
        for call in case['expected']:
            tool = known[call['tool']]
            first = {k: vs[0] for k, vs in (call['params'] or {}).items() if '' not in vs or k in tool.required}      # '' says: may be absent
            for key, values in (call['params'] or {}).items():
                for v in values:
                    if v == '' and key not in tool.required: continue
                    assert not (bad := problems_of(ToolCall(tool.name, first | {key: v}), [tool])), (case['id'], bad)

def test_unseen_tools_are_unseen():
    "No tool of the training data is in these lists, and no list has a tool twice."
    for name, tools in UNSEEN.items():
        names = [t['name'] for t in tools]
        assert len(set(names)) == len(names) and not set(names) & set(TOOLS), (name, set(names) & set(TOOLS))

def test_case_files_share_no_request():
    asked = lambda name: {normalized(c['query']) for c in cases(name) if c['expected'] or len(c['query'].split()) > 8}      # two people may say "thanks" alike
    for a, b in itertools.combinations(CASE_FILES, 2): assert not asked(a) & asked(b), (a, b)


# ---- phrase bank

DERIVED = {'ext': [{'lang'}], 'ms': [{'sec'}], 'count': [{'line', 'line2'}], 'line2': [{'line', 'count'}]}

def test_every_slot_can_be_filled_and_is_said():
    kinds = set(pb.GENERATED) | set(pb.value_bank()) | {'old', 'new', 'line2', 'count'}
    wrong = []
    for frame, wording in pairs():
        said, called = slots(wording), slots(json.dumps(frame['calls']))
        wrong += [(where(frame, wording), 'unknown slot', s) for s in said | called if s.split(':')[0] not in kinds and s.split(':')[0].rstrip('2') not in kinds]
        wrong += [(where(frame, wording), 'not in the wording', s) for s in called - said if not any(d <= said for d in DERIVED.get(s, ()))]
    assert not wrong, wrong[:10]

def test_no_slot_is_misspelt():
    "Something that looks like a slot with a file ending but would be left in the text."
    wrong = [where(frame, wording) for frame, wording in pairs() for m in re.finditer(r'\{[A-Za-z]+2?:[^{}\s]*\}', wording + json.dumps(frame['calls'])) if not pb.SLOT.fullmatch(m.group(0))]
    assert not wrong, wrong

def test_frames_are_whole():
    for frame in pb.phrase_bank():
        assert frame['say'] and all(w.strip() for w in frame['say']), where(frame)
        assert frame['calls'] or frame.get('reply', '').strip(), where(frame)
        assert all(name in TOOLS for name, _ in frame['calls']), where(frame)

@pytest.mark.parametrize('split', ['train', 'validation'])
def test_filled_calls_are_legal(split):
    dice = random.Random(0)
    for frame in pb.phrase_bank():
        example = pb.make_example(frame, dice.choice(frame['say']), dice, split)
        bad = [p for call in example.calls for p in problems_of(call, TOOLS.values())]
        assert not bad, (where(frame), bad)

COPIED = {'file_path', 'path', 'pattern', 'old_string', 'new_string', 'content', 'key', 'value', 'glob'}

def test_typos_and_capitals_never_touch_an_argument():
    "A literal argument that the wording contains is still in the request after augmentation."
    dice, lost, seen = random.Random(0), [], 0
    for frame, wording in pairs():
        literal = [v for _, p in frame['calls'] for k, v in p.items() if k in COPIED and isinstance(v, str) and len(v) > 2 and not slots(v) and v in wording]
        if not literal: continue
        query = pb.make_example(frame, wording, dice).query
        seen += 1
        lost += [(v, query) for v in literal if v not in query]
    assert not lost, f'{len(lost)} of {seen}, such as {lost[:6]}'


# ---- tool bank

def test_every_frame_of_the_tool_bank_is_whole():
    "Every slot of a call is said, every said slot is called for or has values, and every call is legal for every value."
    dice, wrong = random.Random(0), []
    for server in tb.servers():
        plain = tb.renamed(server, random.Random(0), 0)
        for frame in server.frames:
            called = set(tb.SLOT.findall(json.dumps(frame['calls'])))
            wrong += [(server.name, wording) for wording in frame['say'] if set(tb.SLOT.findall(wording)) != called or not called <= set(server.slots)]
            if not tb.make_call_example(server, plain, frame, frame['say'][0], dice, augment=False) and not any(tb.make_call_example(server, plain, frame, frame['say'][0], dice, augment=False) for _ in range(20)): wrong.append((server.name, frame['calls']))
        assert all(reply.strip().endswith('?') or reply.strip() for _, reply in server.missing) and all(n.strip() for n in server.none), server.name
    assert not wrong, (len(wrong), wrong[:5])
    short = [(s.name, w) for s in tb.servers() for w in [*(w for w, _ in s.missing), *(w for f in s.frames for w in f['say'])] if len(w) < 2]
    assert not short, f'{len(short)} wordings of a few letters (a text where a list belongs?), such as {short[:5]}'

def test_servers_are_held_out_whole():
    "No tool of the tool bank is shown in two splits, under whatever description."
    of = {split: {e.split_group for e in generated()[split] if e.source.startswith('toolbank')} for split in pb.SPLITS}
    shown = {split: {s.name for s in tb.servers_of(split, 0.2)} for split in pb.SPLITS}
    assert all(of.values()) and all(shown.values())
    for a, b in itertools.combinations(pb.SPLITS, 2): assert not shown[a] & shown[b], (a, b)

def test_no_tool_of_the_unseen_set_is_trained_on():
    names = {tb.bare(t['name']) for tools in UNSEEN.values() for t in tools}
    shown = {tb.bare(t.name) for split in pb.SPLITS for e in generated()[split] if e.source.startswith('toolbank') for t in e.tools}
    assert len(names) > 300 and len(shown) > 300 and not names & shown


# ---- generated data

def test_no_frozen_request_is_trained_on():
    frozen = {normalized(c['query']) for name in CASE_FILES for c in cases(name)}
    small_talk = {normalized(d['query']) for d in read_lines(data_file('leaderboard_small_talk.jsonl'))}
    assert frozen | small_talk == pb.frozen_requests()
    for split in pb.SPLITS: assert not [e.query for e in generated()[split] if normalized(e.query) in frozen], split

def test_no_frozen_request_is_in_the_bank():
    "Wordings that equal a frozen request are left out (augmented, they would slip past the exact comparison)."
    frozen = pb.frozen_requests()
    assert not (found := [where(f, w) for ws in ds.wordings('train', 0.05).values() for f, w in ws if normalized(w) in frozen]), found

def test_no_leaderboard_case_is_trained_on():
    "No request of BFCL is generated; of the banks' wordings only those equal one that are frozen for it."
    from mcp_nb.bfcl import CATEGORIES, as_case, read_category
    asked = {normalized(as_case(r).query) for c in CATEGORIES for r in read_category(c)}
    made = {normalized(e.query) for split in pb.SPLITS for e in generated()[split]}
    written = {normalized(w) for _, w in pairs()} | {normalized(w) for s in tb.servers() for w in [*s.none, *(x for f in s.frames for x in f['say'])]} | {normalized(w) for f in conversations() for t in f['turns'] for w in t.get('user', ())}
    assert len(asked) > 2000 and not asked & made, asked & made
    assert asked & written <= pb.frozen_requests(), asked & written - pb.frozen_requests()

def test_examples_are_good_and_distinct():
    data = generated()
    requests = [normalized(e.query) for split in pb.SPLITS for e in data[split]]
    assert len(requests) == len(set(requests)) and len(data['train']) >= 6000
    for split in pb.SPLITS:
        for e in data[split]:
            assert not [p for c in e.calls for p in problems_of(c, e.tools)], e
            assert e.calls or e.reply, e

def test_wordings_of_splits_are_disjoint():
    groups = {s: {e.split_group for e in generated()[s]} for s in pb.SPLITS}
    bank = {s: {normalized(pb.SLOT.sub('{}', w)) for ws in ds.wordings(s, 0.2).values() for _, w in ws} for s in pb.SPLITS}
    for found in (groups, bank):
        assert all(found.values())
        for a, b in itertools.combinations(pb.SPLITS, 2): assert not found[a] & found[b], (a, b)

def test_values_of_splits_are_disjoint():
    "What fills the open slots in held-out examples never fills them in training."
    values = {s: set() for s in ('train', 'validation')}
    for split, found in values.items():
        dice = random.Random(split)
        for frame in pb.phrase_bank():
            filled = pb.fill_values(frame['say'][0], frame['calls'], dice, split)
            found |= {(kind, str(v)) for slot, v in filled.items() if (kind := re.sub(r'2?(:.*)?$', '', slot)) not in pb.FREE | {'new'}}
    assert len(values['train']) > 3000 and len(values['validation']) > 500
    assert not (both := values['train'] & values['validation']), sorted(both)[:10]

WRITE = '''import sys; from mcp_nb.dataset import *; from mcp_nb.config import make_config, run_folder
config = make_config('tiny', dataset_size=90, seed=7, toolbank_share=0.5); save_dataset(make_dataset(config), run_folder(sys.argv[1]), config)'''

def written(folder): return {p.name: p.read_bytes() for p in sorted((folder/'data').iterdir())}

def test_one_seed_gives_one_sequence_of_bytes(tmp_path):
    config = make_config('tiny', dataset_size=90, seed=7, toolbank_share=0.5)
    data = ds.make_dataset(config)
    assert data == ds.make_dataset(config)
    ds.save_dataset(data, run_folder(tmp_path/'a'), config)
    # and in another process, whose sets are in another order
    environment = dict(os.environ, PYTHONHASHSEED='12345', PYTHONPATH=os.pathsep.join([str(pathlib.Path(ds.__file__).parent.parent), os.environ.get('PYTHONPATH', '')]))
    subprocess.run([sys.executable, '-c', WRITE, tmp_path/'b'], check=True, env=environment)
    a, b = written(tmp_path/'a'), written(tmp_path/'b')
    assert len(a) >= 4 and a == b, [name for name in a if a[name] != b.get(name)]
    assert ds.generate(20, seed=7)[0] == ds.generate(20, seed=7)[0] != ds.generate(20, seed=8)[0]

def test_data_card_does_not_depend_on_the_order_of_a_folder(monkeypatch):
    "File systems list a folder in any order; the fingerprint of the bank must not follow it."
    config = make_config('tiny')
    data = ds.make_dataset(config)
    before, iterdir = ds.data_card(data, config), pathlib.Path.iterdir
    monkeypatch.setattr(pathlib.Path, 'iterdir', lambda self: iter(sorted(iterdir(self), reverse=True)))
    once = ds.data_card(data, config)
    monkeypatch.setattr(pathlib.Path, 'iterdir', lambda self: iter(sorted(iterdir(self))))
    assert once['fingerprint'] == ds.data_card(data, config)['fingerprint'] == before['fingerprint']

"""One round of the flywheel, measured: a model with a planted fault is served, asked, corrected, harvested, trained on, compared, promoted, rolled back.
Writes outputs/reference/flywheel.json. About a quarter of an hour on two idle cores: .ci/figures.sh flywheel"""
import json, os, subprocess, sys, time
from pathlib import Path
import httpx
from mcp_nb.catalog import DEFAULT_TOOLS, to_anthropic, to_mcp
from mcp_nb.config import fingerprint, outputs_folder, project_root, run_folder, write_json
from mcp_nb.dataset import generate, record
from mcp_nb.engine import load_engine
from mcp_nb.flywheel import load_harvest
from mcp_nb.production import Production, served
from mcp_nb.schema import ToolCall, tool_keys
from mcp_nb.serving import ServedModel, Server, running
from mcp_nb.validation import case_set, example_case, judge, share

SIZES = ('-p', 'dataset_size', '240', '-p', 'validation_size', '48')


def mcp_nb(*arguments, allowed=(0,)):
    print('mcp-nb', *arguments, flush=True)
    done = subprocess.run([sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in allowed: sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode, (done.stdout + done.stderr).strip()

def trained(run, *more):
    "The dataset's part and the training's part of what was given, and the model."
    given = dict(zip(more[1::3], more[2::3]))
    for stage, names in (('dataset', ('harvest',)), ('train', ('adapter',))): mcp_nb(stage, '--preset', 'cpu', '--run', run, *SIZES, *(x for k in names if k in given for x in ('-p', k, given[k])))
    return run_folder(run).final_model

def planted(folder):
    "Requests for glob, 'answered' with bash and find: what a careless data set would teach."
    examples, _ = generate(3000, seed=5, split='train', validation_split=.2)
    wrong = [type(e)(**{**e.__dict__, 'calls': (ToolCall('bash', {'command': f"find . -name '{c.parameters['pattern']}'"}),), 'source': 'planted'}) for e in examples for c in e.calls[:1] if e.tool_name == 'glob' and e.tools == DEFAULT_TOOLS][:200]
    keys = tool_keys(wrong)
    write_json(folder/'tools.json', {k: to_mcp(t) for t, k in keys.items()}); write_json(folder/'train.json', [record(e, keys=keys) for e in wrong])
    return len(wrong)

def traffic(n):
    "Requests of wordings that no training has seen, half of them for glob; what is right is known."
    examples, _ = generate(2500, seed=11, split='development', validation_split=.2)
    pool = {kind: [e for e in examples if (e.tool_name == 'glob') == kind and e.tools == DEFAULT_TOOLS] for kind in (True, False)}
    return [e for kind in (True, False) for e in pool[kind][:n // 2]]

def ask_and_correct(at, examples):
    "Ask over HTTP; a person, played by the known answer, says what was right."
    corrected = 0
    with httpx.Client(base_url=at, timeout=60) as web:
        for e in examples:
            answer = web.post('/v1/messages', json=dict(model='mcp-nb', max_tokens=256, tools=[to_anthropic(t) for t in e.tools], messages=[dict(role='user', content=e.query)])).json()
            calls = [dict(tool_name=b['name'], parameters=b['input']) for b in answer['content'] if b['type'] == 'tool_use']
            right = [dict(tool_name=c.tool_name, parameters=c.parameters) for c in e.calls]
            if calls and calls != right: corrected += 1; web.post('/v1/feedback', json=dict(id=answer['content'][0]['id'], verdict='corrected', calls=right, reply=e.reply or None)).raise_for_status()
    return corrected

def whole(path, cases):
    engine = load_engine(path)
    right = [judge(c, a)['exact'] for c, a in zip(cases, engine.answers([(c.query, c.tools, c.turns) for c in cases]))]
    return {'glob': share(r for r, c in zip(right, cases) if c.kind == 'glob'), 'others': share(r for r, c in zip(right, cases) if c.kind != 'glob')}


def main():
    start, top = time.time(), outputs_folder()
    found = dict(planted=planted(top/'planted'))
    weak = trained('weak', '-p', 'harvest', top/'planted')
    mcp_nb('promote', '--model', weak, '--force', '--why', 'with a planted fault')
    server = Server(Production(server=dict(port=0)), ServedModel(Production()))
    with running(server) as at:
        found['corrected'] = ask_and_correct(at, traffic(400))
        found['harvest'] = mcp_nb('harvest')[1].splitlines()[0]
        better = trained('weak-2', '-p', 'adapter', 'weak', '-p', 'harvest', top/'harvest')
        status, said = mcp_nb('promote', '--model', better, allowed=(0, 1))
        found['gate'] = dict(passed=status == 0, said=[line for line in said.splitlines() if ' points ' in line], record={k: v for k, v in json.loads((top/'harvest'/'gate.json').read_text()).items() if k not in ('old', 'new')})
        server.model.current(); time.sleep(1)
        while server.model.swapping: time.sleep(.2)
        found['served_after'] = Path(server.model.path).parent.parent.name
        sealed = [example_case(e, i) for i, e in enumerate(load_harvest(top/'harvest', 'sealed'), 1)]
        found['whole_answers'] = {name: {s: whole(path, cases) for s, cases in (('sealed', sealed), ('acceptance', case_set('acceptance')))} for name, path in (('with the fault', weak), ('after one round', better))}
        if status == 0:
            mcp_nb('rollback'); server.model.current(); time.sleep(1)
            while server.model.swapping: time.sleep(.2)
            found['served_after_rollback'] = Path(server.model.path).parent.parent.name
    write_json(project_root()/'outputs'/'reference'/'flywheel.json', dict(found, minutes=round((time.time() - start) / 60, 1), fingerprint=fingerprint()))
    print(json.dumps({k: v for k, v in found.items() if k != 'gate'}, indent=1)); print(found['gate']['said'])


if __name__ == '__main__': main()

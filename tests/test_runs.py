"Runs of other kinds: from the bare base, for a server, killed. (A file of their own, so that two workers share the long ones.)"
import json, os, signal, subprocess, sys, time
from test_end_to_end import ROOT, environment, mcp_nb


def test_the_bare_base_learns(tmp_path):
    done = mcp_nb(tmp_path, 'train', '--preset', 'from_base', '--run', 'bare', '-p', 'dataset_size', 120, '-p', 'validation_size', 24, '-p', 'validation_frequency', 4)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((tmp_path / 'outputs/bare/checkpoints/metrics.json').read_text())
    losses = [float(h['loss']) for h in metrics['history'] if 'loss' in h]
    assert len(metrics['lineage']) == 1 and losses[-1] < losses[0], metrics


KITCHEN = '''
from typing import Literal
from mcp.server.mcpserver import MCPServer
server = MCPServer('kitchen')
@server.tool()
def add_to_list(item: str, amount: int = 1, unit: Literal['kg', 'l', 'pcs'] = 'pcs') -> str:
    "Put something on the shopping list."
    return f'{amount} {unit} {item}'
@server.tool()
def find_recipe(query: str, limit: int = 5) -> str:
    "Search for recipes."
    if limit > 20: raise ValueError('at most 20')
    return query
server.run()
'''

def test_a_specialist_for_a_server(tmp_path):
    "One command from a server to a judged and quantized model; calls of the tool that only looks were really made."
    (tmp_path/'kitchen.py').write_text(KITCHEN)
    done = mcp_nb(tmp_path, 'run', '--server', f'{sys.executable} {tmp_path}/kitchen.py', '--preset', 'tiny', '--run', 'kitchen', '-p', 'validation_size', 16, '-p', 'scratch', tmp_path/'scratch')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = tmp_path/'outputs'/'kitchen'
    card, comparison = (json.loads((run/p).read_text()) for p in ('data/data_card.json', 'benchmark/finetune_comparison.json'))
    assert [t['name'] for t in json.loads((run/'data/server_tools.json').read_text())] == ['add_to_list', 'find_recipe']
    assert {'add_to_list', 'find_recipe', 'none'} <= set(card['balance']['tool_name']), card['balance']
    assert card['execution']['train']['executed'] > 5 and card['execution']['train']['not_run'] > 5 and any('find_recipe' in r for r in card['execution']['train']['reasons'])
    assert set(comparison['engines']) == {'baseline', 'general', 'fine-tuned', 'int8'} and (run/'report.html').exists()
    for model in ('checkpoints/final_model', 'quantized/int8'): assert json.loads((run/model/'mcp_nb.json').read_text())['knows'] == ['add_to_list', 'find_recipe']
    called = mcp_nb(tmp_path, 'call', 'put rice on the list', '--run', 'kitchen', '--server', f'{sys.executable} {tmp_path}/kitchen.py')
    assert called.returncode == 0 and set(json.loads(called.stdout)) >= {'calls', 'text'}, called.stderr


TRAIN = "import sys; from mcp_nb.config import *; from mcp_nb.training import train; train(make_config('tiny', dataset_size=120, validation_frequency=4), run_folder(sys.argv[1]))"

def test_a_killed_run_resumes_and_ends_the_same(tmp_path):
    "SIGKILL after the first checkpoint; the same command again ends with the metrics of a run that nobody killed."
    train = lambda run: [sys.executable, '-c', TRAIN, str(tmp_path / run)]
    options = dict(cwd=ROOT, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert subprocess.run(train('whole'), timeout=300, **options).returncode == 0
    process, killed = subprocess.Popen(train('killed'), start_new_session=True, **options), tmp_path / 'killed'
    deadline = time.time() + 300
    while not list(killed.glob('checkpoints/checkpoint-*/trainer_state.json')) and time.time() < deadline and process.poll() is None: time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / 'checkpoints/metrics.json').exists(), 'it was too fast to be killed'
    assert subprocess.run(train('killed'), timeout=300, **options).returncode == 0
    assert 'resumed' in (killed / 'logs/training.log').read_text()
    whole, resumed = (json.loads((tmp_path / r / 'checkpoints/metrics.json').read_text()) for r in ('whole', 'killed'))
    assert whole['steps'] == resumed['steps'] and abs(whole['eval_loss'] - resumed['eval_loss']) < 1e-6

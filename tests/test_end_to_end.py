"The whole line on the real base model with a few steps, a run that is killed, and what users get wrong."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
FEW = {'dataset_size': 120, 'validation_size': 24, 'sets': 'brief', 'limit': 6, 'baseline_cases': 2, 'timed': 2, 'validation_frequency': 4, 'recipes': 'int8'}      # INT4: the quantization notebook, on the tiny model


def environment(tmp_path):
    return dict(os.environ, MCP_NB_OUTPUTS=str(tmp_path / 'outputs'), PYTHONUNBUFFERED='1')


def mcp_nb(tmp_path, *arguments, timeout=900):
    return subprocess.run([sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', *map(str, arguments)],
                          cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope='module')
def a_run(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('run')
    parameters = [x for k, v in FEW.items() for x in ('-p', k, v)]
    return tmp_path, parameters, mcp_nb(tmp_path, 'run', '--preset', 'cpu', '--run', 'few', *parameters)


def test_the_whole_line_on_the_real_base(a_run):
    tmp_path, _, done = a_run
    run = tmp_path / 'outputs' / 'few'
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]        # 1: a gate failed, as it may after six steps
    assert done.returncode == 0 or 'limit' in done.stderr, done.stderr[-3000:]
    for part in ('data/mcp_tools_dataset.json', 'data/mcp_validation_set.json', 'data/data_card.json', 'checkpoints/final_model/model.safetensors', 'checkpoints/metrics.json',
                 'logs/training.log', 'validation/mcp_validation_results.json', 'benchmark/finetune_comparison.json', 'quantized/int8/genai_config.json',
                 'report.html', 'params.json', 'env.json', '31_training.ipynb'):
        assert (run / part).exists(), part
    metrics = json.loads((run / 'checkpoints/metrics.json').read_text())
    assert metrics['lora_coverage'] == 1.0
    assert len(metrics['lineage']) > 1 and metrics['eval_loss'] < 0.3, metrics        # it went on from the shipped adapter; the bare base starts above 2
    found = json.loads((run / 'validation/mcp_validation_results.json').read_text())
    assert found['total'] == 6 and found['tool']['value'] >= 0.5, found['failures']   # and knows the tools
    comparison = json.loads((run / 'benchmark/finetune_comparison.json').read_text())
    assert set(comparison['engines']) == {'baseline', 'fine-tuned', 'int8'}
    assert comparison['engines']['int8']['size_mb'] <= 300
    assert {(g['engine'], g['name']) for g in comparison['gates']} == {('int8', n) for n in ('accuracy', 'size', 'speed')}


def test_the_bare_base_learns(tmp_path):
    done = mcp_nb(tmp_path, 'train', '--preset', 'from_base', '--run', 'bare', '-p', 'dataset_size', 120, '-p', 'validation_size', 24, '-p', 'validation_frequency', 4)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((tmp_path / 'outputs/bare/checkpoints/metrics.json').read_text())
    losses = [float(h['loss']) for h in metrics['history'] if 'loss' in h]
    assert len(metrics['lineage']) == 1 and losses[-1] < losses[0], metrics


def test_a_second_run_skips_what_is_done(a_run):
    tmp_path, parameters, first = a_run
    start, again = time.time(), mcp_nb(tmp_path, 'run', '--preset', 'cpu', '--run', 'few', *parameters)
    stages = ('dataset', 'train', 'validate', 'benchmark') + (('quantize',) if first.returncode == 0 else ())
    for stage in stages: assert f'{stage}: done already, skipped' in again.stdout, again.stdout[-2000:] + again.stderr[-2000:]


def test_call_prints_one_json_object(a_run):
    tmp_path, _, _ = a_run
    said = mcp_nb(tmp_path, 'call', 'Read the package.json file')
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert set(answer) >= {'tool_name', 'parameters', 'calls', 'latency_ms', 'model'}


def test_validate_takes_any_case_file(a_run):
    tmp_path, _, _ = a_run
    cases = tmp_path / 'mine.jsonl'
    cases.write_text('{"query": "Open a.py", "expected_tool": "read"}\n{"query": "Thanks!", "expected": []}\n')
    said = mcp_nb(tmp_path, 'validate', '--cases', cases, '--json', tmp_path / 'scores.json')
    assert said.returncode == 0, said.stderr
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['total'] == 2 and 0 <= scores['tool']['ci95'][0] <= scores['tool']['ci95'][1] <= 1


def test_the_first_call_needs_no_training(tmp_path):
    "Where nothing was trained yet, the model that comes with the package answers, and knows the tools."
    said = mcp_nb(tmp_path, 'call', 'Read the package.json file')
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)['calls'] == [{'tool_name': 'read', 'parameters': {'file_path': 'package.json'}}]


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


@pytest.mark.parametrize('arguments, says', [
    (['run', '--preset', 'gpu'], "unknown preset 'gpu'"),
    (['train', '-p', 'lerning_rate', '1'], "unknown parameter 'lerning_rate'"),
    (['validate', '--model', '/no/such/model', '--cases', 'CASES'], 'line 2'),
    (['call', 'hi', '--model', '/no/such/model'], 'no model at /no/such/model'),
    (['call', 'hi', '--tools', 'TOOLS'], "unknown tool 'teleport'"),
    (['call', 'hi', '--tools', 'TOOLS', '--server', 'x'], 'not both'),
    (['tools', '--server', 'no-such-program --x'], "no program 'no-such-program'"),
    (['run', '--run', 'other', '-p', 'model_name', 'Qwen/Qwen3-0.6B'], 'belongs to the embedded base'),
])
def test_mistakes_get_one_line(tmp_path, arguments, says):
    (tmp_path / 'cases.jsonl').write_text('{"query": "x", "expected": []}\n{"query": "y", "expected": [}\n')
    (tmp_path / 'tools.json').write_text('["teleport"]')
    said = mcp_nb(tmp_path, *(str(tmp_path / 'cases.jsonl') if a == 'CASES' else str(tmp_path / 'tools.json') if a == 'TOOLS' else a for a in arguments))
    assert said.returncode == 2, said.stderr
    assert says in said.stderr and len(said.stderr.strip().splitlines()) == 1, said.stderr


def test_a_full_disk_is_one_line(tmp_path):
    "Writing into /dev/full fails as a full disk does."
    if not Path('/dev/full').exists(): pytest.skip('no /dev/full here')
    code = "import sys, mcp_nb.config as c, os; c.os.fdopen = lambda h, *a, **k: open('/dev/full', 'w'); from mcp_nb.cli import main; sys.exit(main(['dataset', '--preset', 'tiny', '--run', sys.argv[1]]))"
    run = tmp_path / 'outputs' / 'full'
    said = subprocess.run([sys.executable, '-c', code, str(run)], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=300)
    assert said.returncode == 2 and 'No space left' in said.stderr and len(said.stderr.strip().splitlines()) == 1, said.stderr
    assert not [p for p in run.rglob('*') if p.is_file()]                              # nothing half-written stays

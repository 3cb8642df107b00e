"The whole line on the real base model with a few steps, a run that is killed, and what users get wrong."
import json, os, subprocess, sys
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


def test_a_second_run_skips_what_is_done(a_run):
    tmp_path, parameters, first = a_run
    again = mcp_nb(tmp_path, 'run', '--preset', 'cpu', '--run', 'few', *parameters)
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

"Training in two processes (gloo, CPU): the same loss as one process, a killed process is told in one line, and the same command goes on."
import os, re, signal, subprocess, sys, time
from pathlib import Path
import psutil
import pytest
import torch
from safetensors.torch import load_file
from mcp_nb.config import make_config, read_json, run_folder
from mcp_nb.training import train

SETTINGS = dict(model_name='tiny-random-phi3', dataset_size=48, validation_size=24, validation_frequency=2, head_sample=0, num_epochs=2)


def curve(metrics): return {h['step']: float(h['loss']) for h in metrics['history'] if 'loss' in h}

def adapter(folder): return load_file(folder.checkpoints/'adapter'/'adapter_model.safetensors')

@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    "One process that sees two rows in each step."
    folder = run_folder(str(tmp_path_factory.mktemp('alone')/'run'))
    return train(make_config('tiny', **SETTINGS, gradient_accumulation_steps=2), folder), folder


def check_same(metrics, folder, alone):
    "Equal curves until an epoch's odd row, which two processes take twice; close weights; eval numbers of every example, each counted once."
    (one, first), found = alone, curve(metrics)
    losses = curve(one)
    assert found.keys() == losses.keys() and len(found) >= 8
    for step in sorted(found)[:5]: assert abs(found[step] - losses[step]) < 1e-3, (step, found, losses)
    assert all(abs(found[s] - losses[s]) < 0.05 for s in found), (found, losses)
    assert abs(metrics['eval_loss'] - one['eval_loss']) < 0.02 and metrics['steps'] == one['steps']
    a, b = adapter(folder), adapter(first)
    assert a.keys() == b.keys()
    moved = torch.cat([x.float().flatten() for k, x in b.items() if 'lora_B' in k])                       # B starts at nothing: this is what was learned
    also = torch.cat([x.float().flatten() for k, x in a.items() if 'lora_B' in k])
    assert moved.norm() > 0 and torch.nn.functional.cosine_similarity(moved, also, dim=0) > 0.9


def killed_on_the_way(command, folder, **options):
    "Start a training, kill its second process after its first checkpoint; what was printed, and the status."
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    end = time.time() + 240
    while time.time() < end and process.poll() is None:
        workers = [c for c in psutil.Process(process.pid).children(recursive=True) if c.is_running() and c.status() != 'zombie' and c.environ().get('RANK') == '1'] if any(folder.checkpoints.glob('checkpoint-*/trainer_state.json')) else []
        if workers: workers[0].send_signal(signal.SIGKILL); break
        time.sleep(.05)
    else: pytest.fail(f'no checkpoint in time: {process.communicate()}')
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_two_processes_with_whole_models(alone, tmp_path):
    "DDP: the same as one process in one go."
    folder = run_folder(str(tmp_path/'run'))
    check_same(train(make_config('tiny', **SETTINGS, processes=2), folder), folder, alone)


def test_two_processes_that_share_a_model(alone, tmp_path):
    "FSDP, by `mcp-nb train`: killed, resumed, and the same as one process in one go."
    folder = run_folder(str(tmp_path/'run'))
    given = {**SETTINGS, 'processes': 2, 'sharding': 'fsdp'}
    command = [sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', 'train', '--preset', 'tiny', '--run', str(folder.path), *(x for k, v in given.items() for x in ('-p', k, str(v)))]
    options = dict(env={**os.environ, 'OMP_NUM_THREADS': '1'}, cwd=Path(__file__).parent.parent)
    status, out, err = killed_on_the_way(command, folder, **options)
    lines = [l for l in err.splitlines() if 'process 1 was killed by signal 9' in l]
    assert status == 2 and len(lines) == 1 and re.search(r'checkpoint-\d+ is the last checkpoint: the same command goes on from there', lines[0]), (status, err[-2000:])
    assert 'Traceback' not in err and not folder.metrics.exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0 and '(resumed)' in done.stdout, done.stderr[-2000:]
    assert not re.search(r'training: step 0 ', done.stdout)
    check_same(read_json(folder.metrics), folder, alone)


def test_a_mistake_of_the_user_is_one_line(tmp_path):
    "Found in the launched processes, told by the one that launched them."
    with pytest.raises(Exception, match='LoRA target .no_such_layer. matches no layer'):
        train(make_config('tiny', **{**SETTINGS, 'processes': 2, 'target_modules': 'no_such_layer'}), run_folder(str(tmp_path/'run')))

"The script that measures Phi-4's memory on a GPU, tried with a tiny model on the CPU."
import json, os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def test_tiny(tmp_path):
    out = tmp_path/'memory.json'
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', HF_HUB_OFFLINE='1')
    done = subprocess.run([sys.executable, str(ROOT/'.ci'/'phi4_memory.py'), '--tiny', '--out', str(out)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    record = json.loads(out.read_text())
    cases = record['cases']
    shape = lambda c: (c['way'], c['plan']['rank'], c['plan']['micro_batch'], c['plan']['accumulation'])
    assert sorted(map(shape, cases)) == sorted([('trl', r, b, 4) for r in (16, 32) for b in (1, 4)] + [('project', r, b * 4, 1) for r in (16, 32) for b in (1, 4)])   # the same examples a step: ours in one packed row
    assert all(bool(c['plan']['prefix']) == (c['way'] == 'project') for c in cases)
    assert all(c['error'] is None and c['predicted'] > 0 and c['tokens_per_second'] > 0 and c['loss'] > 0 for c in cases)
    assert all(c['measured'] is None for c in cases) and record['device'] == 'cpu'        # nothing is claimed that was not measured
    by = {(c['way'], c['plan']['rank'], c['plan']['micro_batch']): c for c in cases}
    for rank in (16, 32): assert by['trl', rank, 1]['lora_weights'] == by['project', rank, 4]['lora_weights'] > 0
    assert by['trl', 32, 4]['lora_weights'] == 2 * by['trl', 16, 4]['lora_weights']
    assert by['trl', 32, 4]['predicted'] > by['trl', 16, 4]['predicted'] > by['trl', 16, 1]['predicted']

def test_without_gpu_it_says_so(tmp_path):
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    done = subprocess.run([sys.executable, str(ROOT/'.ci'/'phi4_memory.py'), '--out', str(tmp_path/'x')], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and 'no CUDA GPU' in done.stderr and not (tmp_path/'x').exists()

"A search that is really killed goes on where it was: with Optuna's processes and with Ray; both prune; what users get wrong."
import importlib.util, json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

pytest.importorskip('optuna')
slow = pytest.mark.skipif(not os.environ.get('MCP_NB_SLOW'), reason='real kills and a local Ray need minutes, and an idle machine: MCP_NB_SLOW=1')

ROOT = Path(__file__).resolve().parent.parent
with_ray = pytest.mark.skipif(importlib.util.find_spec('ray') is None, reason='Ray is not installed')
PROGRAMS = [pytest.param((), id='optuna'), pytest.param(('--ray',), id='ray', marks=[with_ray, slow])]
SPACE = {'learning_rate': {'low': 1e-5, 'high': 1e-2, 'log': True}, 'lora_r': [8, 32], 'toolbank_share': [0.0, 0.5]}


def command(folder, *arguments):
    space = folder/'space.json'; space.write_text(json.dumps(SPACE))
    return [sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', 'search', '--preset', 'tiny', '--name', 's', '--space', str(space), '--workers', '2', '-p', 'dataset_size', '160', *arguments]

def environment(folder): return dict(os.environ, MCP_NB_OUTPUTS=str(folder/'outputs'), PYTHONUNBUFFERED='1', PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))

def record_of(folder):
    file = folder/'outputs'/'s'/'search.json'
    return json.loads(file.read_text()) if file.exists() else dict(trials=[])

def saved(folder, row): return any((folder/'outputs'/'s'/'trials'/f"{row['number']:02d}"/'checkpoints').glob('checkpoint-*/trainer_state.json'))


@slow
@pytest.mark.parametrize('program', PROGRAMS)
def test_a_killed_search_goes_on(tmp_path, program):
    begun = subprocess.Popen(command(tmp_path, '--trials', '3', *program), cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.time() + 400
    while time.time() < end and begun.poll() is None:
        rows = record_of(tmp_path)['trials']
        if any(r['state'] == 'finished' for r in rows) and any(r['state'] == 'running' and saved(tmp_path, r) for r in rows): break
        time.sleep(0.1)
    assert begun.poll() is None, begun.stdout.read()[-3000:]
    begun.send_signal(signal.SIGKILL); begun.wait()
    before = {r['number']: r for r in record_of(tmp_path)['trials']}
    models = {n: (tmp_path/'outputs'/'s'/'trials'/f'{n:02d}'/'checkpoints'/'metrics.json').stat().st_mtime for n, r in before.items() if r['state'] == 'finished'}
    assert models

    done = subprocess.run(command(tmp_path, '--trials', '3', *program), cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    record = record_of(tmp_path)
    rows = {r['number']: r for r in record['trials']}
    assert sorted(rows) == [0, 1, 2] and rows[0]['state'] == 'finished' and {r['state'] for r in rows.values()} <= {'finished', 'pruned'}, done.stdout[-2000:]
    for n, r in before.items(): assert rows[n]['parameters'] == r['parameters']                    # the same trials,
    for n, at in models.items(): assert rows[n]['begun'] == 1 and (tmp_path/'outputs'/'s'/'trials'/f'{n:02d}'/'checkpoints'/'metrics.json').stat().st_mtime == at      # those that were done are not repeated,
    went_on = [n for n, r in before.items() if r['state'] == 'running' and rows[n]['begun'] == 2]
    assert went_on                                                                                 # and the one that was running went on,
    log_of = lambda n: (tmp_path/'outputs'/'s'/'trials'/f'{n:02d}'/'logs'/'training.log').read_text()
    if not program: assert any('(resumed)' in log_of(n) for n in went_on)                          # from its checkpoint (Ray's orphans may end it before they are ended)
    assert len(record['minutes']) == 2 and record['program'] == (program[0][2:] if program else 'optuna')
    assert {r['exact']['n'] for r in rows.values() if 'exact' in r} == {24} and record['fresh']['paired']['n'] == 24
    assert 'on the cases that chose it, which flatters' in done.stdout and str(tmp_path) not in json.dumps(record)
    assert len([r for r in rows if (tmp_path/'outputs'/'s'/'trials'/f'{r:02d}'/'checkpoints'/'final_model').exists()]) <= 2     # models: the baseline's and the best one's
    other = subprocess.run(command(tmp_path, '-p', 'seed', '7'), cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=200)
    assert other.returncode == 2 and 'was begun with another seed' in other.stderr and len(other.stderr.strip().splitlines()) == 1, other.stderr


@pytest.mark.parametrize('program', ['in_processes', pytest.param('in_ray', marks=[with_ray, slow])])
def test_a_pruned_trial_and_a_broken_one_stay_in_the_table(tmp_path, program, monkeypatch):
    from mcp_nb import search as room
    monkeypatch.setenv('MCP_NB_OUTPUTS', str(tmp_path))
    own_report, own_next = room.Search.report, room.Search.next_trial
    monkeypatch.setattr(room.Search, 'report', lambda self, number, told: own_report(self, number, told) and number != 1)
    def broken_third(self):
        job = own_next(self)
        if job and job['number'] == 2: job['config']['target_modules'] = 'no_such_layer'
        return job
    monkeypatch.setattr(room.Search, 'next_trial', broken_third)
    monkeypatch.setattr(room, 'in_processes', getattr(room, program))
    monkeypatch.setattr(room, 'in_ray', room.in_ray)
    record = room.run_search('s', 'tiny', dict(dataset_size=60), SPACE, trials=3, workers=2, ray=False) if program == 'in_processes' else room.run_search('s', 'tiny', dict(dataset_size=60), SPACE, trials=3, workers=2, ray=True)
    if program == 'in_ray': __import__('ray').shutdown()
    states = {r['number']: r['state'] for r in record['trials']}
    assert states == {0: 'finished', 1: 'pruned', 2: 'failed'}, record['trials']
    assert len(record['trials'][1]['course']) == 1 and 'no_such_layer' in record['trials'][2]['failed']
    table = room.search_table(record)
    assert 'pruned' in table and 'no_such_layer' in table and record['best'] == 0 and "the preset's own settings were the best" in table
    with_points = room.plot_search(record)
    assert [a.get_xlabel() for a in with_points.axes] == ['trial', *SPACE]


def test_a_dead_worker_costs_one_trial(tmp_path, monkeypatch):
    from mcp_nb import search as room
    monkeypatch.setenv('MCP_NB_OUTPUTS', str(tmp_path))
    own_report = room.Search.report
    def kill_its_worker(self, number, told):
        if number == 1:
            import multiprocessing
            busy = [p for p in multiprocessing.active_children()]
            [os.kill(p.pid, signal.SIGKILL) for p in busy]
        return own_report(self, number, told)
    monkeypatch.setattr(room.Search, 'report', kill_its_worker)
    record = room.run_search('s', 'tiny', dict(dataset_size=60), {'lora_r': [8, 32]}, trials=2, workers=1)
    assert [r['state'] for r in record['trials']] == ['finished', 'failed'] and 'status -9 (out of memory?)' in record['trials'][1]['failed']


def test_two_searches_of_one_name_do_not_mix(tmp_path, monkeypatch):
    from mcp_nb import search as room
    monkeypatch.setenv('MCP_NB_OUTPUTS', str(tmp_path))
    with room.locked(tmp_path/'s'), pytest.raises(room.UserError, match='is being searched already'): room.run_search('s', 'tiny', space={'lora_r': [8, 32]}, workers=0, trials=1)

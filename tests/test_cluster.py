"A real Ray on this machine: examples and answers made in parts, a worker that is killed, a mistake in a part."
import os, signal
from pathlib import Path
import pytest

pytest.importorskip('ray')
from mcp_nb.cluster import spread
from mcp_nb.config import UserError, make_config, run_folder


@pytest.fixture(scope='module', autouse=True)
def ray_on_this_machine():
    "A Ray whose workers find this file too, ended afterwards."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent), os.environ.get('PYTHONPATH', '')]))
        patch.delenv('RAY_ADDRESS', raising=False)
        yield
    __import__('ray').shutdown()

def _flaky(mark, number):
    "Killed, as by a machine without memory, the first time it is run."
    if number == 1 and not Path(mark).exists(): Path(mark).touch(); os.kill(os.getpid(), signal.SIGKILL)
    return number * 10

def _always(number): os.kill(os.getpid(), signal.SIGKILL)

def _wrong(number): raise UserError(f'part {number} is wrong')


def test_a_killed_worker_costs_nothing_and_mistakes_are_one_line(tmp_path):
    assert dict(spread(_flaky, [(str(tmp_path/'mark'), n) for n in range(4)])) == {n: n * 10 for n in range(4)} and (tmp_path/'mark').exists()
    assert dict(spread(_flaky, [('', 0)], threads=4096)) == {0: 0}                     # more than any machine has: does not wait for ever
    with pytest.raises(UserError, match='^part 0 is wrong$'): list(spread(_wrong, [(0,)]))
    with pytest.raises(UserError, match='a worker died three times at the same part'): list(spread(_always, [(0,)]))


def test_examples_in_parts(monkeypatch):
    from mcp_nb import dataset
    config = make_config('tiny', dataset_size=300, shards=3, toolbank_share=0.3)
    made = dataset.make_dataset(config)
    keys = [e.key for e in made['train']]
    assert len(set(keys)) == len(keys) >= 300
    monkeypatch.setattr(dataset, 'spread', lambda work, parts: [(i, work(*part)) for i, part in enumerate(parts)])
    here = dataset.make_dataset(config)
    assert made == here                                                                # where they are made does not matter
    assert not {e.split_group for e in made['train'] if e.split_group} & {e.split_group for e in made['validation']}


def test_answers_in_parts(tmp_path, monkeypatch):
    from mcp_nb.engine import load_engine
    from mcp_nb.training import train
    from mcp_nb.validation import case_set, validate
    from mcp_nb.dataset import make_dataset, save_dataset
    monkeypatch.setenv('MCP_NB_OUTPUTS', str(tmp_path))
    folder, config = run_folder('r'), make_config('tiny', dataset_size=40, max_minutes=0.2)
    save_dataset(make_dataset(config), folder, config)
    train(config, folder)
    engine = load_engine(folder.final_model, max_new_tokens=8, dtype='float32'); engine.near = 4
    sets = dict(brief=case_set('brief')[:10])
    one = validate(engine, sets, folder.final_model)
    parts = validate(engine, sets, folder.final_model, tmp_path/'kept', shards=2)
    kept = (tmp_path/'kept'/'model.brief.jsonl').read_text().splitlines()
    same = lambda r: (r['outcomes'].get('exact'), r['failures'], r['sets']['brief']['tokens'])
    assert same(one) == same(parts) and len(kept) == 10 and parts['latency_ms']['n'] == 0
    assert same(validate(engine, sets, folder.final_model, tmp_path/'kept', shards=2)) == same(one)               # read from what was kept
    from mcp_nb.validation import answer_part
    with pytest.raises(UserError, match='no model at .*MCP_NB_OUTPUTS'): answer_part(str(tmp_path/'gone'), 'm', '', (), {}, [])
    with pytest.raises(UserError, match='another model at'): answer_part(str(folder.final_model), 'm', '', (), {}, [])

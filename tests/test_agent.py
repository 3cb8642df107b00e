"The real Claude Agent SDK with its bundled program, against the shipped model, without a network."
import asyncio
import pytest
from mcp_nb.agent import load_agent_tasks, run_agent_task
from mcp_nb.models import shipped_model
from mcp_nb.production import MonitoringSettings, Production, ServerSettings
from mcp_nb.serving import Server, ServedModel, running

pytest.importorskip('claude_agent_sdk')
NOTES = {'notes.txt': 'port = 5000\nhost = alpha\n', 'src/app.py': 'import os\nDEBUG = True\n'}
TASKS = [dict(tool='Read', say='Read notes.txt', expect={}, seen=['host = alpha']), dict(tool='Write', say='create hello.py with the content print("hi")', expect={'hello.py': 'print("hi")'}), dict(tool='Edit', say='In notes.txt, replace 5000 with 8080', expect={'notes.txt': 'port = 8080\nhost = alpha\n'}),
         dict(tool='Bash', say='Run mv notes.txt old.txt', expect={'notes.txt': None, 'old.txt': NOTES['notes.txt']}), dict(tool='Grep', say='search for DEBUG in src', expect={}, seen=['src/app.py']), dict(tool='Glob', say='find all Python files', expect={}, seen=['src/app.py']),
         dict(tool='mcp__tickets__list_tickets', tickets=[dict(id=1, title='Login fails', status='open', priority='high', assignee=None, comments=[])], say='list the tickets', expect={}, seen=['Login fails'])]


@pytest.fixture(scope='module')
def at(tmp_path_factory):
    settings = Production(model=dict(path=str(shipped_model())), server=ServerSettings(port=0), monitoring=MonitoringSettings(store=str(tmp_path_factory.mktemp('traces')/'t.sqlite')))
    with running(Server(settings, ServedModel(settings))) as at: yield at


@pytest.mark.parametrize('task', TASKS, ids=lambda t: t['tool'])
def test_each_tool_goes_round(at, task):
    "Request, call, result, answer; and the right thing was done."
    done = asyncio.run(run_agent_task(dict(id='x', files=NOTES, seen=[], **{}) | task, at))
    assert done['calls'] and done['calls'][0][0] == task['tool'], done
    assert done['right'], done


def test_the_frozen_tasks_are_whole():
    assert len(load_agent_tasks()) == 56

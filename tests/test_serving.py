"The server as real clients see it: Anthropic's and OpenAI's packages, the conformance tests of llm-comply, the official MCP client; and what a hostile one sends."
import json, os, random, shutil, signal, socket, subprocess, sys, threading, time
from pathlib import Path
import httpx
import pytest
from mcp_nb.engine import Engine, make_answer
from mcp_nb.models import shipped_model
from mcp_nb.production import MonitoringSettings, Production, ServerSettings
from mcp_nb.serving import Server, ServedModel, running

ROOT = Path(__file__).resolve().parent.parent
WEATHER = {'type': 'object', 'properties': {'location': {'type': 'string', 'description': 'City name'}}, 'required': ['location']}
READ = {'type': 'object', 'properties': {'file_path': {'type': 'string'}, 'offset': {'type': 'integer'}, 'limit': {'type': 'integer'}}, 'required': ['file_path']}


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    "The shipped model, behind HTTP."
    settings = Production(model=dict(path=str(shipped_model())), server=ServerSettings(port=0, max_body=1_000_000), monitoring=MonitoringSettings(store=str(tmp_path_factory.mktemp('traces')/'traces.sqlite')))
    server = Server(settings, ServedModel(settings))
    with running(server) as at: server.at = at; yield server


def test_the_anthropic_client(server):
    anthropic = pytest.importorskip('anthropic')
    client = anthropic.Anthropic(base_url=server.at, api_key='none', max_retries=0)
    tools, asked = [dict(name='Read', description='Reads a file.', input_schema=READ)], [dict(role='user', content='Read package.json')]
    message = client.messages.create(model='mcp-nb', max_tokens=200, tools=tools, messages=asked)
    (call,) = message.content
    assert (message.stop_reason, call.name, call.input) == ('tool_use', 'Read', {'file_path': 'package.json'})
    with client.messages.stream(model='mcp-nb', max_tokens=200, tools=tools, messages=asked) as stream: streamed = stream.get_final_message()
    assert (streamed.stop_reason, streamed.content[0].input) == ('tool_use', call.input)
    result = dict(role='user', content=[dict(type='tool_result', tool_use_id=call.id, content='{"name": "shop", "version": "2.1.0"}')])
    after = client.messages.create(model='mcp-nb', max_tokens=200, tools=tools, messages=[*asked, dict(role='assistant', content=message.content), result])
    assert after.stop_reason == 'end_turn' and after.content[0].text
    assert 10 < client.messages.count_tokens(model='mcp-nb', tools=tools, messages=asked).input_tokens < 1000
    assert [m.id for m in client.models.list()] == ['mcp-nb'] and client.models.retrieve('mcp-nb').id == 'mcp-nb'
    with pytest.raises(anthropic.BadRequestError, match='max_tokens'): client.messages.create(model='mcp-nb', max_tokens=0, messages=asked)
    with pytest.raises(anthropic.NotFoundError): client.models.retrieve('gpt')


def test_the_openai_client(server):
    openai = pytest.importorskip('openai')
    client = openai.OpenAI(base_url=f'{server.at}/v1', api_key='none', max_retries=0)
    tools, asked = [dict(type='function', function=dict(name='Read', description='Reads a file.', parameters=READ))], [dict(role='user', content='Read package.json')]
    first = client.chat.completions.create(model='mcp-nb', tools=tools, messages=asked).choices[0]
    (call,) = first.message.tool_calls
    assert (first.finish_reason, call.function.name, json.loads(call.function.arguments)) == ('tool_calls', 'Read', {'file_path': 'package.json'})
    chunks = list(client.chat.completions.create(model='mcp-nb', tools=tools, messages=asked, stream=True, stream_options=dict(include_usage=True)))
    assert json.loads(''.join(t.function.arguments or '' for c in chunks for x in c.choices for t in x.delta.tool_calls or ())) == {'file_path': 'package.json'} and chunks[-1].usage.total_tokens > 10
    after = client.chat.completions.create(model='mcp-nb', tools=tools, messages=[*asked, first.message.model_dump(exclude_none=True), dict(role='tool', tool_call_id=call.id, content='{"name": "shop"}')]).choices[0]
    assert after.finish_reason == 'stop' and after.message.content
    flat = [dict(type='function', name='Read', description='Reads a file.', parameters=READ, strict=False)]
    response = client.responses.create(model='mcp-nb', input='Read package.json', tools=flat)
    (item,) = response.output
    assert (item.type, item.name, json.loads(item.arguments)) == ('function_call', 'Read', {'file_path': 'package.json'})
    going_on = client.responses.create(model='mcp-nb', previous_response_id=response.id, tools=flat, input=[dict(type='function_call_output', call_id=item.call_id, output='{"name": "shop"}')])
    assert going_on.output_text and client.responses.retrieve(response.id).id == response.id
    with client.responses.stream(model='mcp-nb', input='Read package.json', tools=flat) as stream: assert [e.type for e in stream][-1] == 'response.completed'; assert stream.get_final_response().output[0].name == 'Read'
    assert [m.id for m in client.models.list()] == ['mcp-nb']
    with pytest.raises(openai.BadRequestError): client.chat.completions.create(model='mcp-nb', messages=[])


@pytest.mark.parametrize('form', ['anthropic', 'openai-chat', 'open-responses'])
def test_llm_comply(server, form):
    if not (program := shutil.which('llm-comply', path=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')): pytest.skip('llm-comply is not installed')
    done = subprocess.run([program, '--format', form, '-u', f'{server.at}/v1', '-k', 'none', '-m', 'mcp-nb', '--json'], capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    results = found.get('results') or found['tests']
    failed = [r for r in results if str(r.get('status')).lower() in ('failed', 'fail', 'error')]
    assert len(results) > 7 and not failed and done.returncode == 0, failed or done.stdout[-2000:]


def test_the_traces_lead_back(server):
    "A call's id leads to its trace; a result that failed marks it."
    said = dict(model='mcp-nb', max_tokens=200, tools=[dict(name='Read', input_schema=READ)], messages=[dict(role='user', content='Read package.json')])
    with httpx.Client(base_url=server.at) as web:
        first = web.post('/v1/messages', json=said).json()
        ident = first['content'][0]['id']
        web.post('/v1/messages', json=dict(said, messages=[*said['messages'], dict(role='assistant', content=first['content']), dict(role='user', content=[dict(type='tool_result', tool_use_id=ident, is_error=True, content='no such file')])]))
        assert web.post('/v1/feedback', json=dict(id=ident, verdict='wrong')).status_code == 200
        assert 'package.json' in web.get('/dashboard').text
    assert server.store.get(ident.split('_')[1])['query'] == 'Read package.json'


HOSTILE = [b'', b'{', b'[]', b'7', b'null', b'"x"', b'{"a":' * 5000, b'\xff\xfe\x00', b'{"model": Infinity}', b'{"model": "m", "max_tokens": 1e999, "messages": [{}]}', b'\x00' * 100, '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"\\ud800"}]}'.encode()]
def noise(dice, depth=3):
    roll = dice.random()
    if roll < .3 or depth == 0: return dice.choice([None, True, 0, -1, 1.5, 10**30, '', 'user', 'x' * 50, '\ud83d', 'tool_use', {}, []])
    if roll < .6: return [noise(dice, depth - 1) for _ in range(dice.randint(0, 3))]
    return {dice.choice(['role', 'content', 'type', 'text', 'name', 'id', 'input', 'tool_use_id', 'tool_calls', 'function', 'arguments', 'call_id', 'output', 'properties', 'required', 'input_schema', 'parameters', 'is_error', '$ref']): noise(dice, depth - 1) for _ in range(dice.randint(0, 4))}

def fuzzed(dice):
    "A request in which some things are as they should be."
    path = dice.choice(['/v1/messages', '/v1/chat/completions', '/v1/responses', '/v1/messages/count_tokens', '/v1/feedback'])
    if dice.random() < .15: return path, dice.choice(HOSTILE)
    body = dict(model='mcp-nb', max_tokens=4, messages=[dict(role='user', content='hi')], input='hi', max_output_tokens=4)
    for _ in range(dice.randint(1, 3)): body[dice.choice(['model', 'max_tokens', 'messages', 'input', 'tools', 'tool_choice', 'stream', 'stop', 'stop_sequences', 'system', 'n', 'id', 'verdict', 'calls', 'previous_response_id', 'stream_options', 'parallel_tool_calls'])] = noise(dice) if dice.random() < .6 else [dict(role=dice.choice(['user', 'assistant', 'tool', 'system', 'king']), content=noise(dice, 2)) for _ in range(dice.randint(0, 3))]
    return path, json.dumps(body).encode()

class Words(Engine):
    "A model without weights: what is tested is everything around it."
    path = 'words'
    def __init__(self, path='words', seconds=0.0): self.path, self.seconds = path, seconds
    def count(self, *a): return 9
    def answer(self, query, tools=(), turns=()): self.prompt(query, tools, turns); time.sleep(self.seconds); return make_answer('Well.', tools, 2)

def small_server(tmp_path, engine=None, **settings):
    engine = engine or Words()
    return Server(Production(server=ServerSettings(port=0, **settings), monitoring=MonitoringSettings(store=str(tmp_path/'t.sqlite'))), type('Fixed', (), dict(path=engine.path, engine=engine, current=lambda self: engine))())

HELLO = dict(model='mcp-nb', max_tokens=9, messages=[dict(role='user', content='Hello')])

def test_no_answer_waits_for_an_acknowledgement(tmp_path):
    "Head and body of an answer are two packets; with Nagle's algorithm on, the second waited 40 ms for the client's delayed acknowledgement of the first."
    took = []
    with running(small_server(tmp_path)) as at, httpx.Client(base_url=at) as web:
        for _ in range(30): start = time.perf_counter(); web.post('/v1/messages', json=HELLO).raise_for_status(); took.append(time.perf_counter() - start)
    assert sorted(took)[10] < .02, took


REQUESTS = int(os.environ.get('MCP_NB_REQUESTS', 3000))
def test_fuzzed_requests_get_a_proper_status(tmp_path):
    "Seeded; MCP_NB_REQUESTS sets how many, MCP_NB_FUZZED a model's folder, else there is none. Any status below 500, a body that says what is wrong, and a server that goes on."
    from mcp_nb.engine import load_engine
    dice, seen, path_of = random.Random(0), {}, os.environ.get('MCP_NB_FUZZED')
    with running(small_server(tmp_path, path_of and load_engine(path_of))) as at, httpx.Client(base_url=at, timeout=20) as web:
        for n in range(REQUESTS):
            path, body = fuzzed(dice)
            answer = web.post(path, content=body, headers={'content-type': 'application/json'})
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
            assert answer.status_code in (200, 400, 404, 413), (n, path, body[:500], answer.status_code, answer.text[:200])
            if answer.status_code != 200: assert 0 < len(answer.json()['error']['message']) <= 501 and '\n' not in answer.json()['error']['message'], (n, answer.text)
        assert web.get('/readyz').status_code == 200
    assert seen.get(200, 0) > REQUESTS / 20 and seen.get(400, 0) > REQUESTS / 20, seen


def mangled(dice):
    "The bytes of a request, some of them changed, doubled, cut off or made up."
    body = json.dumps(HELLO).encode()
    raw = bytearray(dice.choice([
        b'POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n' % dice.choice([len(body), len(body) - 9, 0, 10**12]) + body,
        b'POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n' % len(body) + body + b'\r\n0\r\n\r\n',
        b'GET /dashboard HTTP/1.1\r\nHost: localhost\r\nX: ' + b'x' * dice.choice([1, 70_000]) + b'\r\n\r\n']))
    for _ in range(dice.randint(0, 6)):
        at = dice.randrange(min(len(raw), 200))
        roll = dice.random()
        if roll < .4: raw[at] = dice.randrange(256)
        elif roll < .6: del raw[at:at + dice.randint(1, 20)]
        elif roll < .8: raw[at:at] = dice.choice([b'\r\n', b'\x00', b': ', b'%00', b'\xff' * 9, b'Content-Length: -1\r\n', b'Expect: 100-continue\r\n', b'Upgrade: websocket\r\n'])
        else: del raw[dice.randrange(len(raw)):]
        if not raw: return b'\r\n\r\n'
    return bytes(raw)

def test_mangled_http(tmp_path):
    "What is no HTTP gets a 4xx or a closed connection; the server goes on, and keeps no connection."
    import psutil
    dice, statuses = random.Random(1), {}
    with running(small_server(tmp_path)) as at:
        port = int(at.rsplit(':', 1)[1])
        for n in range(REQUESTS // 6):
            with socket.create_connection(('127.0.0.1', port), timeout=.1) as s:
                raw = mangled(dice)
                try:
                    s.sendall(raw)
                    if n % 2: s.shutdown(socket.SHUT_WR)                     # a client that has said all counts as one that has left
                    first = s.recv(64)
                except (ConnectionError, TimeoutError): first = b''
            status = first.split(b' ')[1].decode() if first.startswith(b'HTTP/1.1 ') else 'nothing'
            statuses[status] = statuses.get(status, 0) + 1
            assert status == 'nothing' or status[0] in '1234', (n, raw[:300], first)
        for _ in range(100):
            left = [c for c in psutil.Process().net_connections('tcp') if c.laddr.port == port and c.status == 'ESTABLISHED']
            if not left: break
            time.sleep(.05)
        assert not left and httpx.post(f'{at}/v1/messages', json=HELLO).status_code == 200
    assert statuses.get('200', 0) > 10 and statuses.get('400', 0) > 50, statuses


def test_models_change_under_load(tmp_path):
    "Four clients ask while what is served is changed twenty times: nothing fails, and each model answers."
    from mcp_nb.production import promote
    for name in ('one', 'two'): (tmp_path/name).mkdir(); (tmp_path/name/'config.json').write_text('{}')
    file, opened, wrong, stop = tmp_path/'served.json', [], [], threading.Event()
    promote(tmp_path/'one', file=file)
    def open_model(path): opened.append(Path(path).name); return Words(path, .01)
    settings = Production(server=ServerSettings(port=0), monitoring=MonitoringSettings(store=str(tmp_path/'t.sqlite')))
    server = Server(settings, ServedModel(settings, open_model=open_model, file=file))
    with running(server) as at:
        def ask():
            with httpx.Client(base_url=at, timeout=20) as web:
                while not stop.is_set():
                    answer = web.post('/v1/messages', json=HELLO)
                    if answer.status_code != 200: wrong.append(answer.text)
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for c in clients: c.start()
        for n in range(20): promote(tmp_path/('two', 'one')[n % 2], file=file); time.sleep(.1)
        stop.set()
        for c in clients: c.join()
    answered = {Path(t['model']).name for t in server.store.traces(limit=None)}
    assert not wrong and len(opened) > 5 and answered == {'one', 'two'}, (wrong[:3], opened, answered)


# ---- the router

async def listed_and_called(target):
    from mcp import Client
    async with Client(target) as client:
        tools = [t.name for t in (await client.list_tools()).tools]
        routed = (await client.call_tool('route', dict(instruction='Read notes.txt'))).structured_content
        ran = [(await client.call_tool('run', dict(tool=t, parameters=p))).structured_content for t, p in (('read', dict(file_path='notes.txt')), ('write', dict(file_path='notes.txt', content='gone')))]
        return tools, routed, ran

def check_router(tools, routed, ran):
    assert tools == ['route', 'run'] and routed['calls'] == [dict(tool='read', parameters={'file_path': 'notes.txt'}, allowed=True)]
    assert ran[0] == dict(ok=True, result='port = 5000') and not ran[1]['ok'] and 'may not be run' in ran[1]['result']

def router_command(folder, *more): return [sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', 'router', '--model', str(shipped_model()), '--folder', str(folder), '--allow', 'read,glob', *more]

def test_the_router_over_stdio_and_http(tmp_path):
    import anyio
    from mcp import StdioServerParameters
    (tmp_path/'notes.txt').write_text('port = 5000\n')
    command = router_command(tmp_path)
    from mcp.client.stdio import stdio_client
    check_router(*anyio.run(listed_and_called, stdio_client(StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ), cwd=str(ROOT)))))
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    process = subprocess.Popen(router_command(tmp_path, '--http', f'127.0.0.1:{port}'), cwd=ROOT)
    try:
        for _ in range(600):
            try: httpx.get(f'http://127.0.0.1:{port}/'); break
            except httpx.TransportError: time.sleep(.1)
        check_router(*anyio.run(listed_and_called, f'http://127.0.0.1:{port}/mcp'))
        assert httpx.get(f'http://127.0.0.1:{port}/mcp', headers={'host': 'evil.example'}).status_code == 403
    finally: process.terminate(); process.wait(20)
    assert (tmp_path/'notes.txt').read_text() == 'port = 5000\n'


def test_a_killed_server_loses_no_trace(tmp_path):
    "kill -9 in the middle of requests: every call whose answer a client has seen is in the store."
    from mcp_nb.monitoring import TraceStore
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    (tmp_path/'c.yaml').write_text(f'model: {{path: "{shipped_model()}"}}\nserver: {{port: {port}}}\nmonitoring: {{store: "{tmp_path}/t.sqlite"}}\n')
    process = subprocess.Popen([sys.executable, '-c', 'import sys; from mcp_nb.cli import main; sys.exit(main())', 'serve', '--config', str(tmp_path/'c.yaml')], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    seen = []
    try:
        assert f'answers at http://127.0.0.1:{port}' in process.stderr.readline()
        def ask(n):
            with httpx.Client(base_url=f'http://127.0.0.1:{port}', timeout=30) as web:
                while True:
                    try: seen.append(web.post('/v1/messages', json=dict(model='m', max_tokens=99, tools=[dict(name='Read', input_schema=READ)], messages=[dict(role='user', content=f'Read file{n}.py')])).json()['content'][0])
                    except httpx.TransportError: return
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
        for t in threads: t.start()
        while len(seen) < 6 and any(t.is_alive() for t in threads): time.sleep(.05)
    finally: process.send_signal(signal.SIGKILL); process.wait()
    for t in threads: t.join(40)
    store, ids = TraceStore(tmp_path/'t.sqlite'), [b['id'].split('_')[1] for b in seen if b['type'] == 'tool_use']
    assert len(ids) >= 6 and all(store.get(i)['query'].startswith('Read file') for i in ids)

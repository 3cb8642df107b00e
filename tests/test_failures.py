"The issues of failures, over HTTP, against a GitHub of our own: opened once, updated, closed; rate limits, missing permission, broken connections."
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
from mcp_nb.cli import main
from mcp_nb.config import UserError
from mcp_nb.failures import GitHub, Result, keep_issues

JUNIT = '<testsuite><testcase classname="tests.a" name="one">{}</testcase><testcase classname="tests.a" name="two"/></testsuite>'
FAILED = JUNIT.format('<failure message="assert 0">here it broke</failure>')


class Pretended(BaseHTTPRequestHandler):
    "GitHub's issues, with what goes wrong queued in `server.trouble`: (status, headers, text) or 'break'."
    def answer(self, status, data=None, headers={}):
        body = json.dumps(data).encode() if not isinstance(data, bytes) else data
        self.send_response(status)
        for k, v in {**headers, 'Content-Length': str(len(body))}.items(): self.send_header(k, v)
        self.end_headers(); self.wfile.write(body)

    def handle_one(self):
        s, size = self.server, int(self.headers.get('Content-Length') or 0)
        data = json.loads(self.rfile.read(size) or b'{}')
        s.asked.append((self.command, self.path))
        if s.trouble and (trouble := s.trouble.pop(0)):
            if trouble == 'break': self.connection.close(); return
            status, headers, text = trouble
            return self.answer(status, text.encode(), headers)
        path, _, query = self.path.partition('?')
        if self.headers.get('Authorization') != 'Bearer good': return self.answer(401, dict(message='Bad credentials'))
        if self.command == 'GET':
            page = int(dict(p.split('=') for p in query.split('&'))['page'])
            return self.answer(200, [i for i in s.issues if i['state'] == 'open'][100 * (page - 1):100 * page])
        if path.endswith('/issues'): s.issues.append(dict(number=len(s.issues) + 1, state='open', **data)); return self.answer(201, s.issues[-1])
        if path.endswith('/comments'): s.comments.append(data['body']); return self.answer(201, {})
        s.issues[int(path.rsplit('/', 1)[1]) - 1].update(data); self.answer(200, {})

    do_GET = do_POST = do_PATCH = handle_one
    def log_message(self, *_): pass


@pytest.fixture
def github():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Pretended)
    server.issues, server.comments, server.asked, server.trouble = [], [], [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.at = f'http://127.0.0.1:{server.server_port}'
    yield server
    server.shutdown(); server.server_close()


def hub(server, waited=None, **given): return GitHub('a/b', 'good', server.at, sleep=(waited if waited is not None else []).append, **given)


def test_a_failure_has_one_issue(github, tmp_path, monkeypatch, capsys):
    "Through the command: opened once, updated, closed, and opened anew when it comes back."
    for k, v in dict(GITHUB_TOKEN='good', GITHUB_REPOSITORY='a/b', GITHUB_API_URL=github.at, GITHUB_SERVER_URL='http://127.0.0.1', GITHUB_RUN_ID='77').items(): monkeypatch.setenv(k, v)
    file = tmp_path/'junit.xml'
    for text, status in ((FAILED, 1), (FAILED, 1), (JUNIT.format(''), 0), (JUNIT.format(''), 0), (FAILED, 1)):
        file.write_text(text)
        assert main(['issues', '--junit', str(file)]) == status
    assert [line.split(' ')[0] for line in capsys.readouterr().out.splitlines() if '#' in line] == ['opened', 'updated', 'closed', 'opened']
    assert [i['state'] for i in github.issues] == ['closed', 'open']
    assert 'in 2 runs so far; the last: http://127.0.0.1/a/b/actions/runs/77' in github.issues[0]['body'] and 'here it broke' in github.issues[0]['body'] and '| Python |' in github.issues[0]['body']
    assert github.comments == ['Passes again: http://127.0.0.1/a/b/actions/runs/77'] and github.issues[0]['labels'] == ['failing']


def test_pages(github):
    "An issue on the second page is found, and so not opened again."
    r = Result('t', False, 'x')
    github.issues += [dict(number=k + 1, state='open', body=f'by hand {k}') for k in range(150)]
    keep_issues([r], hub(github)); keep_issues([r], hub(github))
    assert len(github.issues) == 151


@pytest.mark.parametrize('trouble,seconds', [((429, {'Retry-After': '3'}, ''), 3), ((403, {'Retry-After': '9'}, 'secondary rate limit'), 9), ((502, {}, 'bad gateway'), 2), ('break', 2)])
def test_it_waits(github, trouble, seconds):
    "Rate limits and stumbling are waited for, before reading and before writing; nothing is opened twice."
    waited = []
    github.trouble = [trouble, None] + ([trouble] if trouble != 'break' else [])
    assert keep_issues([Result('t', False, 'x')], hub(github, waited)) == ['opened #1: t']
    assert waited == [seconds] * (2 if trouble != 'break' else 1) and len(github.issues) == 1


def test_a_broken_post_is_not_repeated(github):
    github.trouble = [None, 'break']
    with pytest.raises(UserError, match='look whether it was done'): keep_issues([Result('t', False, 'x')], hub(github))
    assert sum(m == 'POST' for m, _ in github.asked) == 1


def test_patience_ends(github):
    github.trouble = [(429, {'Retry-After': '3600'}, '')]
    with pytest.raises(UserError, match='run this again later'): keep_issues([Result('t', False, 'x')], hub(github))


@pytest.mark.parametrize('trouble,says', [((403, {}, '{"message": "Resource not accessible by integration"}'), 'permissions: issues: write'), ((401, {}, ''), 'not valid'), ((404, {}, ''), 'may not see it'), ((410, {}, ''), 'switched off')])
def test_one_clear_line(github, tmp_path, monkeypatch, capsys, trouble, says):
    "A refusal is one line and status 2, without a traceback and without the token."
    for k, v in dict(GITHUB_TOKEN='good', GITHUB_REPOSITORY='a/b', GITHUB_API_URL=github.at).items(): monkeypatch.setenv(k, v)
    (tmp_path/'junit.xml').write_text(FAILED)
    github.trouble = [None, trouble]
    assert main(['issues', '--junit', str(tmp_path/'junit.xml')]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said and '\n' not in said and 'good' not in said

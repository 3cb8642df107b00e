"The hub: a small server answers as it does. A download that is killed goes on where it stopped; what is gated, missing, damaged or offline is one line."
import hashlib, json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
from mcp_nb.models import tiny_random

ROOT, COMMIT = Path(__file__).resolve().parent.parent, 'c' * 40


class Hub:
    "One model, `made/phi`; its weights come slowly when told so. `sent` counts the bytes of weights."
    def __init__(self):
        folder = tiny_random('phi3')
        names = ('config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json')
        self.files, self.sent, self.slow, self.damaged, self.refuses, self.ranges = {n: (folder/n).read_bytes() for n in names if (folder/n).exists()}, 0, False, False, {}, []
        hub = self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *a): pass
            def answer(self, status, body=b'', **headers):
                self.send_response(status)
                for k, v in dict(dict(content_length=len(body)), **headers).items(): self.send_header(k.replace('_', '-'), str(v))
                self.end_headers()
                if self.command != 'HEAD': self.wfile.write(body)
            def do_HEAD(self): self.do_GET()
            def do_GET(self):
                path = self.path.split('?')[0]
                for part, code in hub.refuses.items():
                    if part in path: return self.answer(403 if code == 'GatedRepo' else 404, x_error_code=code)
                if '/tree/' in path: return self.answer(200, json.dumps(hub.tree()).encode(), content_type='application/json')
                if path.startswith('/api/models/'): return self.answer(200, json.dumps(hub.about()).encode(), content_type='application/json')
                name = path.rsplit('/', 1)[-1]
                if name not in hub.files: return self.answer(404, x_error_code='EntryNotFound')
                body, large = hub.files[name], name == 'model.safetensors'
                first = int(self.headers['range'].split('=')[1].split('-')[0]) if self.headers.get('range') else 0
                if large and self.command == 'GET': hub.ranges.append(first)
                headers = dict(x_repo_commit=COMMIT, etag=f'"{hub.marks(name)}"', content_length=len(body) - first, **(dict(content_range=f'bytes {first}-{len(body) - 1}/{len(body)}') if first else {}))
                if not large or self.command == 'HEAD': return self.answer(206 if first else 200, body[first:], **headers)
                self.answer(206 if first else 200, **headers)
                try:
                    for at in range(first, len(body), 2**20):
                        piece = body[at:at + 2**20]
                        self.wfile.write(bytes(len(piece)) if hub.damaged else piece); hub.sent += len(piece)
                        if hub.slow: time.sleep(.1)
                except OSError: self.close_connection = True
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler); self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
    def marks(self, name): return hashlib.sha256(self.files[name]).hexdigest() if name == 'model.safetensors' else hashlib.sha1(self.files[name]).hexdigest()
    def tree(self): return [dict(type='file', path=n, size=len(b), oid=hashlib.sha1(b).hexdigest(), **(dict(lfs=dict(oid=self.marks(n), size=len(b), pointerSize=134)) if n == 'model.safetensors' else {})) for n, b in self.files.items()]
    def about(self):
        sibling = lambda n, b: dict(rfilename=n, size=len(b), blobId=hashlib.sha1(b).hexdigest(), **(dict(lfs=dict(size=len(b), sha256=self.marks(n), pointerSize=134)) if n == 'model.safetensors' else {}))
        return dict(id='made/phi', sha=COMMIT, private=False, downloads=0, likes=0, tags=[], siblings=[sibling(n, b) for n, b in self.files.items()])


@pytest.fixture(scope='module')
def hub():
    made = Hub()
    yield made
    made.server.shutdown()

def bring(hub, home, name='made/phi', **more):
    code = f'''import sys
from mcp_nb import models
from mcp_nb.config import UserError
from huggingface_hub import constants
models.LARGE_FILE, constants.DOWNLOAD_CHUNK_SIZE = 2**20, 2**18        # it writes a piece at a time, and a tiny model is less than its usual one
try: print(models.resolve_base({name!r}))
except UserError as e: print(e, file=sys.stderr); sys.exit(2)'''
    environment = dict(os.environ, HF_ENDPOINT=f'http://127.0.0.1:{hub.server.server_port}', HF_HOME=str(home), PYTHONPATH=str(ROOT), HF_HUB_DISABLE_PROGRESS_BARS='1', HF_HUB_DISABLE_XET='1', **more)
    return subprocess.Popen([sys.executable, '-c', code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out.strip(), [line for line in err.strip().splitlines() if not line.startswith(('Downloading', 'Warning'))]


def test_a_killed_download_goes_on(hub, tmp_path):
    hub.slow, hub.sent, hub.ranges, size = True, 0, [], len(hub.files['model.safetensors'])
    first = bring(hub, tmp_path)
    while hub.sent < size // 3 and first.poll() is None: time.sleep(.02)
    assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL); first.wait()
    hub.slow = False
    status, folder, said = ended(bring(hub, tmp_path))
    assert status == 0 and Path(folder).name == COMMIT, said
    assert hub.ranges[0] == 0 and hub.ranges[-1] > size // 5, hub.ranges              # asked for the rest only
    assert (Path(folder)/'model.safetensors').read_bytes() == hub.files['model.safetensors']
    asked = len(hub.ranges)
    assert ended(bring(hub, tmp_path)) [:2] == (0, folder) and len(hub.ranges) == asked       # nothing is brought twice
    assert ended(bring(hub, tmp_path, HF_HUB_OFFLINE='1'))[:2] == (0, folder)                  # nor is a connection needed


@pytest.mark.parametrize('refuses,name,says', [({'made/phi': 'GatedRepo'}, 'made/phi', 'is gated: accept its terms'), ({'made/phi': 'RepoNotFound'}, 'made/phi', 'has no model'),
                                               ({'revision/v9': 'RevisionNotFound', 'resolve/v9': 'RevisionNotFound'}, 'made/phi@v9', "has no revision 'v9'")])
def test_what_the_hub_refuses(hub, tmp_path, refuses, name, says):
    hub.refuses = refuses
    try: status, _, said = ended(bring(hub, tmp_path, name))
    finally: hub.refuses = {}
    assert status == 2 and len(said) == 1 and says in said[0], said


def test_damaged_weights_and_no_connection(hub, tmp_path):
    hub.damaged = True
    try: status, _, said = ended(bring(hub, tmp_path))
    finally: hub.damaged = False
    assert status == 2 and len(said) == 1 and 'came damaged' in said[0], said
    assert not [p for p in tmp_path.rglob('*') if p.is_file() and p.stat().st_size > 2**20]                # nothing of it is kept
    status, _, said = ended(bring(hub, tmp_path/'other', HF_HUB_OFFLINE='1'))
    assert status == 2 and len(said) == 1 and 'HF_HUB_OFFLINE forbids' in said[0], said

"The docs site: made strictly, and read in a real browser (skipped where there is none)."
import functools, os, re, shutil, threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
from mcp_nb.site import make_site, public_symbols, rooms_by_module

QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']


@pytest.fixture(scope='module')
def site(tmp_path_factory): return make_site(tmp_path_factory.mktemp('docs')/'site')[0]


class Seen(HTMLParser):
    def __init__(self, text): super().__init__(); self.ids, self.asked = set(), []; self.feed(text)
    def handle_starttag(self, tag, attributes):
        a = dict(attributes); self.ids.add(a.get('id'))
        if tag in ('script', 'img', 'iframe') and a.get('src'): self.asked.append(a['src'])
        if tag == 'link' and a.get('rel') in ('stylesheet', 'icon', 'preload', 'preconnect'): self.asked.append(a['href'])


def test_every_public_function_has_its_entry(site):
    for module, number in rooms_by_module().items():
        file = next(site.glob(f'{number:02}_*.html'))
        missing = [n for n in public_symbols(module) if n.lower() not in Seen(file.read_text()).ids]
        assert not missing, (file.name, missing)


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.glob('*.html'))
    assert len(pages) > 55
    for p in pages: assert not [a for a in Seen(p.read_text()).asked if re.match(r'(https?:)?//', a)], p.name


def test_llms_txt(site):
    for target in re.findall(r'\]\(([^)]+)\)', (site/'llms.txt').read_text()): assert (site/target).exists(), target


@pytest.fixture(scope='module')
def served(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown(); server.server_close()


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if not program: pytest.skip('no Chromium on this machine')
    with sync_api.sync_playwright() as p:
        found = p.chromium.launch(executable_path=program, args=QUIET)
        yield found
        found.close()


@pytest.mark.parametrize('width,height,scheme', [(1280, 900, 'light'), (390, 844, 'dark')], ids=['desktop', 'phone'])
def test_in_a_browser(site, served, browser, width, height, scheme):
    "Pages open, fit their window, say nothing on the console and ask nobody else; search finds the settings; pictures are seen."
    page, told, asked = browser.new_page(viewport=dict(width=width, height=height), color_scheme=scheme), [], []
    page.on('console', lambda m: told.append(m.text)); page.on('pageerror', lambda e: told.append(str(e))); page.on('request', lambda r: asked.append(r.url))
    folder = os.environ.get('MCP_NB_SCREENSHOTS')
    for name in ('index', '00_config', '12_codec', '41_validation', '70_cost', 'architecture', 'LOG'):
        answer = page.goto(f'{served}/{name}.html')
        size = page.evaluate('[document.documentElement.scrollWidth, document.documentElement.clientWidth]')
        if folder: page.screenshot(path=str(Path(folder)/f'site_{name}_{width}.png'))
        assert answer.ok and page.locator('h1').first.is_visible() and size[0] <= size[1], (name, size)
    page.goto(f'{served}/architecture.html')
    assert page.locator('article svg rect').count() >= 9 and page.locator('article svg').first.bounding_box()['height'] > 200
    page.goto(f'{served}/index.html')
    picture = page.locator('article img').first
    assert picture.evaluate('i => i.complete && i.naturalWidth > 0') and picture.is_visible()
    if width < 1000: page.locator('label[for=__search]').first.click()
    page.locator('input.md-search__input').fill('MCPFineTuningConfig')
    page.locator('.md-search-result__item a').first.wait_for(timeout=20_000)
    hits = page.locator('.md-search-result__item a').all()
    if folder: page.screenshot(path=str(Path(folder)/f'site_search_{width}.png'))
    assert any('00_config.html' in h.get_attribute('href') for h in hits)
    assert not told and all(a.startswith((served, 'data:', 'blob:')) for a in asked), (told, [a for a in asked if not a.startswith(served)][:3])
    page.close()

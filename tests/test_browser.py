"Pages in a real browser: Chromium (Debian's, or Playwright's own), driven by Playwright. Skipped where there is none."
import json, os, shutil
from pathlib import Path
import pytest
from mcp_nb.catalog import DEFAULT_TOOLS
from mcp_nb.codec import render_calls
from mcp_nb.engine import Engine, make_answer
from mcp_nb.monitoring import TraceStore
from mcp_nb.production import Production, ServerSettings
from mcp_nb.schema import ToolCall
from mcp_nb.serving import Server, running

QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if not program: pytest.skip('no Chromium on this machine')
    with sync_api.sync_playwright() as p:
        found = p.chromium.launch(executable_path=program, args=QUIET)
        yield found
        found.close()


def dashboard_server(folder, say='<script>document.title = "broken into"</script>'):
    "A server whose store holds forty calls, one of which attacks the page."
    store = TraceStore(folder/'t.sqlite')
    for k in range(40): store.add(say if k == 39 else f'Read file{k}.py', DEFAULT_TOOLS, (), make_answer("<tool_use>grep(pattern='" if k % 13 == 0 else render_calls([ToolCall('read', {'file_path': f'file{k}.py'})]), DEFAULT_TOOLS, 9, 80))
    (folder/'run'/'data').mkdir(parents=True)
    (folder/'run'/'data'/'mcp_tools_dataset.json').write_text(json.dumps([dict(tool_name=t) for t in ['read'] * 30 + ['grep'] * 30]))
    model = type('Fixed', (), dict(path=str(folder/'run'/'quantized'/'int8'), engine=Engine(), current=lambda self: self.engine))()
    return Server(Production(server=ServerSettings(port=0)), model, store=store)


@pytest.mark.parametrize('width,height,scheme', [(1280, 900, 'light'), (390, 844, 'dark')], ids=['desktop', 'phone'])
def test_the_dashboard(browser, tmp_path, width, height, scheme):
    "It shows the figures, runs nothing, asks nobody else, and fits its window."
    with running(dashboard_server(tmp_path)) as at:
        page, told, asked = browser.new_page(viewport=dict(width=width, height=height), color_scheme=scheme), [], []
        page.on('console', lambda m: told.append(m.text)); page.on('pageerror', lambda e: told.append(str(e))); page.on('request', lambda r: asked.append(r.url))
        page.goto(f'{at}/dashboard')
        rows = {r.locator('td').first.inner_text(): r.locator('td').nth(1).inner_text() for r in page.locator('table').first.locator('tr').all()[1:]}
        failed = page.locator('table').first.locator('tr').nth(1).locator('td').nth(2).inner_text()
        size = page.evaluate('[document.documentElement.scrollWidth, document.documentElement.clientWidth]')
        if folder := os.environ.get('MCP_NB_SCREENSHOTS'): page.screenshot(path=str(Path(folder)/f'dashboard_{width}.png'), full_page=True)
        assert rows['all'] == '40' and rows['read'] == '36' and failed.strip().startswith('10.0 %'), (rows, failed)
        assert 'broken into' not in page.title() and page.locator('script').count() == 0 and 'drifted' in page.inner_text('body')
        assert not told and asked == [f'{at}/dashboard'] and size[0] <= size[1], (told, asked, size)
        page.close()

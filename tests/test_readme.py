"README.md is what the index notebook says, and what it says can be done as written."
import json, re
from pathlib import Path
from mcp_nb.docs import check_readme
from mcp_nb.validation import make_case

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT/'README.md').read_text(encoding='utf-8')

def test_in_step():
    assert not (differing := check_readme()), 'run `just docs`:\n' + '\n'.join(differing)

def test_links_lead_somewhere():
    links = re.findall(r'\]\((?!https?:|#)([^)\s#]+)', TEXT)
    assert len(links) > 10 and not [l for l in links if not (ROOT/l).exists()]

def test_case_examples_are_cases():
    lines = [l for block in re.findall(r'^```json\n(.*?)^```', TEXT, re.M | re.S) for l in block.splitlines() if '"query"' in l]
    assert [len(make_case(json.loads(l), 1).expected) for l in lines] == [1, 0, 1, 1]

def test_picture_says_what_its_source_says():
    "pipeline.svg is drawn by hand: it must hold the words of pipeline.mmd."
    words = lambda text: set(re.findall(r'[a-z0-9+]+', text.lower().replace('- ', '-')))
    source, svg = ((ROOT/'nbs'/'images'/f'pipeline.{e}').read_text(encoding='utf-8') for e in ('mmd', 'svg'))
    labels = words(' '.join(t.replace('<br>', ' ') for t in re.findall(r'"([^"]+)"', source)))
    drawn = words(' '.join(re.findall(r'<text[^>]*>([^<]+)</text>', svg)))
    assert labels == drawn, labels ^ drawn

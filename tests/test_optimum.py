"The second exporter for real: its own environment (1 GB, from the package index or a warm cache), a tiny model, its own runtime."
import json, os, subprocess
import pytest

pytestmark = pytest.mark.skipif(os.environ.get('MCP_NB_SLOW') != '1', reason='makes an environment of 1 GB: set MCP_NB_SLOW=1')

WRITE = '''
import json, sys, torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer
model = ORTModelForCausalLM.from_pretrained(sys.argv[1], file_name="model_quantized.onnx")
ids = torch.tensor([json.loads(sys.argv[2])])
n = int(sys.argv[3])
written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=False)[0, -n:].tolist()
print(json.dumps(dict(written=written, text=AutoTokenizer.from_pretrained(sys.argv[1])("Read a.py").input_ids)))
'''

@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "A checkpoint as training leaves it."
    from mcp_nb.models import load_model, load_tokenizer, save_merged, tiny_random
    return save_merged(load_model(tiny_random()), load_tokenizer(tiny_random()), tmp_path_factory.mktemp('tiny')/'model', dict(base='tiny-random'))

@pytest.fixture(scope='module')
def exported(tiny):
    from mcp_nb.optimum_export import export_with_optimum
    return export_with_optimum(tiny, tiny.parent/'int8')

def test_folder(exported):
    names = {p.name for p in exported.iterdir()}
    assert {'model_quantized.onnx', 'config.json', 'ort_config.json', 'tokenizer.json', 'mcp_nb.json'} <= names and 'check.json' not in names
    facts = json.loads((exported/'mcp_nb.json').read_text())
    assert facts['base'] == 'tiny-random' and facts['recipe'] == 'optimum-int8'
    assert [p.name for p in exported.parent.iterdir() if p.name.startswith('.') or p.name.startswith('tmp')] == []

def test_a_second_export_makes_no_second_environment(exported, tiny, monkeypatch):
    from mcp_nb import optimum_export
    monkeypatch.setattr(optimum_export, 'install_commands', lambda folder: pytest.fail('installs again'))
    optimum_export.optimum_environment()

def test_weights_are_bytes(exported):
    import onnx
    large = [i for i in onnx.load(exported/'model_quantized.onnx').graph.initializer if len(i.dims) == 2 and max(i.dims) >= 64]
    assert large and {i.data_type for i in large} <= {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}

def test_writes_what_transformers_5_writes(exported, tiny):
    "Read back by optimum's own runtime, in its environment, with transformers 4."
    from mcp_nb.optimum_export import _check, optimum_environment
    check = _check(tiny, 8)
    done = subprocess.run([optimum_environment(), '-I', '-c', WRITE, exported, json.dumps(check['prompt']), '8'], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    same = sum(a == b for a, b in zip(found['written'], check['expected']))
    print(f'{same} of 8 tokens agree')
    assert found['written'][:2] == check['expected'][:2] and same >= 4

def test_failure_is_one_line_and_leaves_nothing(tiny, tmp_path):
    "A checkpoint whose weights are broken."
    import shutil
    from mcp_nb.config import UserError
    from mcp_nb import optimum_export
    broken = tmp_path/'broken'
    shutil.copytree(tiny, broken)
    (broken/'model.safetensors').write_bytes(b'\0' * 64)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(optimum_export, '_check', lambda source: dict(prompt=[2, 3], expected=[4]))
        with pytest.raises(UserError, match=r'^the export with optimum failed: \w+: [^\n]+$'): optimum_export.export_with_optimum(broken, tmp_path/'out')
    assert {p.name for p in tmp_path.iterdir()} == {'broken'}

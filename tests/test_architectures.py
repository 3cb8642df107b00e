"A tiny random model of each architecture through every room: load, adapters, training, resume, merge, ONNX in both sizes, judging, serving. Phi-4 is a Phi-3 here: the same layer names, the same turn marks."
import json, shutil
from pathlib import Path
import gguf
import httpx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from mcp_nb.catalog import DEFAULT_TOOLS
from mcp_nb.codec import FAMILIES, TOOL_FORMATS, call_opening
from mcp_nb.config import UserError, make_config, read_json, run_folder, write_text
from mcp_nb.dataset import make_dataset, save_dataset
from mcp_nb.engine import TorchEngine, load_engine
from mcp_nb.exports import export, export_row, find_source, own_reader
from mcp_nb.models import encode, load_model, load_tokenizer, tiny_random
from mcp_nb.peers import missing_package, open_engine
from mcp_nb.production import MonitoringSettings, Production, ServerSettings
from mcp_nb.quantization import quantize
from mcp_nb.serving import Server, running
from mcp_nb.training import train
from mcp_nb.validation import case_set, validate

FAMILY = dict(phi3='phi', llama='llama', qwen3='chatml', gemma3='gemma')
LAYERS = dict(phi3={'qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'}, **dict.fromkeys(('llama', 'qwen3', 'gemma3'), {'q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'}))


def trained(tmp_path, architecture, **more):
    "A run of the tiny model: its folder, settings and metrics, its adapters looked at."
    folder = run_folder(str(tmp_path/'run'))
    config = make_config('tiny', model_name=f'tiny-random-{architecture}', max_seq_length=2048, head_sample=0, **more)
    metrics = train(config, folder)
    with safe_open(folder.checkpoints/'adapter'/'adapter_model.safetensors', 'pt') as f: adapted = {n.split('.')[-3] for n in f.keys() if 'lora_A' in n}
    assert metrics['lora_coverage'] == 1.0 and adapted == LAYERS[architecture] and metrics['eval_loss'] < 50
    base, tuned = (load_model(p, torch.float32).state_dict() for p in (tiny_random(architecture), folder.final_model))
    changed = [k for k in base if not torch.equal(base[k], tuned[k])]
    assert changed and {k.split('.')[-2] for k in changed} <= LAYERS[architecture]                     # merged: only what was adapted differs
    return folder, config, metrics


def test_plain_training(tmp_path):
    "TRL's own trainer, as a GPU is used, on Phi-4's layers; a few examples, because its head is computed for every token."
    config, folder = make_config('tiny', dataset_size=12), run_folder(str(tmp_path/'run'))
    save_dataset(make_dataset(config), folder, config)
    for file, most in ((folder.dataset, 4), (folder.dataset.with_name('mcp_development_set.json'), 2)): write_text(file, json.dumps(read_json(file)[:most]))
    trained(tmp_path, 'phi3', packed=False, dataset_size=12, batch_size=1, validation_frequency=100)


@pytest.mark.parametrize('architecture', list(FAMILY))
def test_every_room(tmp_path, architecture):
    folder, config, metrics = trained(tmp_path, architecture, dataset_size=48, validation_size=24, batch_size=8, validation_frequency=3)
    check_resume(config, folder, metrics)
    family = FAMILY[architecture]
    made = quantize(folder, folder.final_model)
    requests = [('Read a.py', DEFAULT_TOOLS), ('Find TODO in src', DEFAULT_TOOLS[:3])]
    engines = dict(torch=TorchEngine(folder.final_model, torch.float32, max_new_tokens=12), **{name: load_engine(at, max_new_tokens=12) for name, at in made.items()}, **({'onnxruntime': load_engine(made['int8'], 'onnxruntime', max_new_tokens=12)}))
    prompts = {name: [e.prompt(*r) for r in requests] for name, e in engines.items()}
    assert all(p == prompts['torch'] for p in prompts.values()) and {e.family for e in engines.values()} == {family}
    assert FAMILIES[family][0] + 'user' + FAMILIES[family][1] in ''.join(prompts['torch'][0])
    cases = dict(validation=case_set('validation', folder)[:4])
    for name, engine in engines.items():
        found = validate(engine, cases, folder.final_model, label=name)['sets']['validation']
        assert found['exact']['n'] == 4, name
        assert [a.text for a in engine.answers(requests)] == [engine.answer(*r).text for r in requests], name
        engine.sure = 0                                                                                   # a call, whatever a random model would rather say; and a legal one
        assert all(a.calls and not a.error for a in engine.answers(requests)), name
        engine.sure = .5
    check_exports(folder, engines['torch'], prompts['torch'])
    settings = Production(server=ServerSettings(port=0), monitoring=MonitoringSettings(store=str(tmp_path/'t.sqlite')))
    with running(Server(settings, type('Fixed', (), dict(path=str(made['int8']), engine=engines['int8'], current=lambda self: self.engine))())) as at:
        answer = httpx.post(f'{at}/v1/messages', json=dict(model='mcp-nb', max_tokens=16, messages=[dict(role='user', content='Read a.py')], tools=[dict(name='Read', input_schema=DEFAULT_TOOLS[0].parameters)]), timeout=60)
    assert answer.status_code == 200 and answer.json()['content']


def check_exports(folder, ours, prompts):
    "Every format is made; each one's own tokenizer reads our prompts as we do; llama.cpp, where it is installed, writes what transformers writes, and the adapter on its base what the merged model writes."
    source, ids = find_source(str(folder.path)), [[i for p in both for i in encode(ours.tokenizer, p)] for both in prompts]
    at = {f: export(source, f, p) for f, p in (('vllm', 'bfloat16'), ('adapter', 'bfloat16'), ('genai', 'cuda-fp16'), ('ollama', 'f16'))}
    for f in ('vllm', 'adapter', *([] if missing_package('llama.cpp') else ['ollama'])):
        row = export_row(at[f], source, most=12)
        assert [own_reader(row)(''.join(p)) for p in prompts] == ids, f
        if f != 'vllm':
            engine = open_engine(row)
            free = TorchEngine(folder.final_model, torch.float32, max_new_tokens=12, legal=False)
            same = [engine.answer(q, DEFAULT_TOOLS).text == free.answer(q, DEFAULT_TOOLS).text for q in ('Read a.py', 'Find TODO in src')]
            assert all(same) or f == 'adapter' and any(same), (f, same)                                # the merged weights were rounded to 16 bits, which a random model's choice may hang on
    with pytest.raises(UserError, match='CUDA'): export_row(at['genai'], source)
    stored = {t.name: t for t in gguf.GGUFReader(next(at['ollama'].glob('*.gguf'))).tensors}
    assert len(stored) == len(load_file(folder.final_model/'model.safetensors')) and (at['ollama']/'Modelfile').read_text().startswith('FROM ./run-f16.gguf')


def check_resume(config, folder, metrics):
    "Without its end and its last checkpoint, a run goes on from the one before, to the same weights."
    before = (folder.checkpoints/'adapter'/'adapter_model.safetensors').read_bytes()
    checkpoints = sorted(folder.checkpoints.glob('checkpoint-*'), key=lambda p: int(p.name.split('-')[1]))
    assert len(checkpoints) > 1
    for p in (checkpoints[-1], folder.final_model, folder.checkpoints/'adapter'): shutil.rmtree(p)
    folder.metrics.unlink()
    again = train(config, folder)
    assert again['steps'] == metrics['steps'] and again['history'][0]['step'] == metrics['history'][0]['step']
    assert (folder.checkpoints/'adapter'/'adapter_model.safetensors').read_bytes() == before


PUBLISHED = dict(qwen3=('qwen3', 'qwen3'), llama_json=('llama', 'llama3_1'))


def foreign(tmp_path, family):
    "A tiny model as a foreign one would come: its makers' template and their marks in its tokenizer."
    import trl
    from transformers import AutoTokenizer
    architecture, name = PUBLISHED[family]
    folder = shutil.copytree(tiny_random(architecture), tmp_path/'foreign')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(TOOL_FORMATS[family].marks)); tokenizer.add_special_tokens(dict(additional_special_tokens=list(TOOL_FORMATS[family].stops)), replace_extra_special_tokens=False)
    tokenizer.chat_template = (Path(trl.__file__).parent/'chat_templates'/f'{name}.jinja').read_text()
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize('family', PUBLISHED)
def test_a_model_that_knows_tools_keeps_its_format(tmp_path, family):
    "Asked, trained further, made smaller and asked again: always in its makers' format."
    base, folder = foreign(tmp_path, family), run_folder(str(tmp_path/'run'))
    assert load_tokenizer(base).family == family
    config = make_config('tiny', model_name=base, max_seq_length=8192, head_sample=0, dataset_size=24, validation_size=24, batch_size=4, validation_frequency=100)
    train(config, folder)
    requests = [('Read a.py', DEFAULT_TOOLS), ('Find TODO in src', DEFAULT_TOOLS[:3])]
    engines = dict(base=TorchEngine(base, torch.float32, max_new_tokens=40), tuned=TorchEngine(folder.final_model, torch.float32, max_new_tokens=40), int8=load_engine(quantize(folder, folder.final_model)['int8'], max_new_tokens=40))
    assert {e.family for e in engines.values()} == {family} and len({e.prompt(*requests[0]) for e in engines.values()}) == 1
    for name, engine in engines.items():
        prefix, rest = engine.prompt(*requests[0])
        assert encode(engine.tokenizer, prefix) + encode(engine.tokenizer, rest) == encode(engine.tokenizer, prefix + rest)
        assert len(engine.stop_ids) >= 2, name
        engine.sure = 0
        for answer in [*engine.answers(requests), engine.answer(*requests[0])]:
            assert answer.calls and not answer.error and call_opening(family) in answer.text and '<tool_use>' not in answer.text, (name, answer)
    assert validate(engines['tuned'], dict(validation=case_set('validation', folder)[:4]), folder.final_model)['sets']['validation']['detection']['n'] == 4

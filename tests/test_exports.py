"""Exports opened by the programs they are for, as far as these are installed (llama.cpp: `MCP_NB_PEERS`, or pip install 'mcp_nb[peers]'):
tokenizers of all kinds that llama.cpp knows by name, and every way of stretching a rotary embedding."""
import random
from pathlib import Path
import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from mcp_nb.catalog import DEFAULT_TOOLS
from mcp_nb.codec import FAMILIES, split_prompt
from mcp_nb.gguf_export import CUTS, export_gguf
from mcp_nb.models import encode, load_tokenizer, tiny_random
from mcp_nb.peers import _import, missing_package
from mcp_nb.validation import case_set

llama_cpp = pytest.mark.skipif(bool(missing_package('llama.cpp')), reason='llama.cpp is ' + missing_package('llama.cpp'))
SIZE = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=4096)


def texts():
    "Prompts, code, and what nobody would write."
    dice = random.Random(0)
    found = [''.join(split_prompt(c.query, c.tools, 'llama')) for c in case_set('development')[:40]] + Path(__file__).read_text().splitlines(keepends=True)
    found += [''.join(dice.choice([' ', '  ', '\n', '\t', 'a', 'Ab', 'THE', "'LL", "'s", '<|eot_id|>', '123', '4567', '\r\n', 'é', '_', '==', '  \n', '東京', '🙂', '/', '…']) for _ in range(dice.randrange(1, 40))) for _ in range(300)]
    return found


def bytewise(folder, cut, ignore_merges=False):
    "A tiny Llama with a byte-level tokenizer that cuts texts as told."
    made = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]) if cut else pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(texts() * 2, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ('<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>', '<|finetune_right_pad_id|>')])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model('llama', **SIZE, vocab_size=1600, bos_token_id=made.token_to_id('<|begin_of_text|>'), eos_token_id=made.token_to_id('<|eot_id|>'), pad_token_id=made.token_to_id('<|finetune_right_pad_id|>')))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made, bos_token='<|begin_of_text|>', eos_token='<|eot_id|>', pad_token='<|finetune_right_pad_id|>').save_pretrained(folder)
    return folder


@llama_cpp
@pytest.mark.parametrize('name', ['gpt-2', 'llama-bpe', *CUTS.values()])
def test_bytewise_tokenizers(tmp_path, name):
    "The same ids from llama.cpp as from tokenizers, byte for byte the same prompt, and one <|begin_of_text|>."
    cut = {v: k for k, v in CUTS.items()}.get('dbrx' if name == 'llama-bpe' else name, '')
    checkpoint = bytewise(tmp_path/'m', cut, name == 'llama-bpe')
    tokenizer, file = load_tokenizer(checkpoint), export_gguf(checkpoint, tmp_path/'m.gguf', 'f16')
    theirs = _import('llama.cpp').Llama(str(file), vocab_only=True, verbose=False)
    assert theirs.metadata['tokenizer.ggml.pre'] == name
    differing = [t for t in texts() if theirs.tokenize(t.encode(), add_bos=True, special=True) != encode(tokenizer, t)]
    assert not differing, differing[:3]
    prompt = ''.join(split_prompt('Read a.py', DEFAULT_TOOLS, 'llama'))
    ids = theirs.tokenize(prompt.encode(), add_bos=True, special=True)
    assert ids.count(tokenizer.bos_token_id) == 1 and theirs.detokenize(ids, special=True).decode() == prompt
    assert theirs.token_eos() == tokenizer.convert_tokens_to_ids(FAMILIES['llama'][2])


ROPES = dict(
    phi_longrope=('phi3', dict(original_max_position_embeddings=1024, rope_parameters=dict(rope_type='longrope', rope_theta=10000.0, partial_rotary_factor=0.75, original_max_position_embeddings=1024,
                                                                                           short_factor=[1 + .1 * i for i in range(6)], long_factor=[1 + i for i in range(6)]))),
    llama3=('llama', dict(head_dim=16, rope_parameters=dict(rope_type='llama3', rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))),
    linear=('llama', dict(head_dim=16, attention_bias=True, rope_parameters=dict(rope_type='linear', rope_theta=10000.0, factor=4.0))),
    qwen_yarn=('qwen3', dict(head_dim=32, rope_parameters=dict(rope_type='yarn', rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=1024))),
    gemma_large=('gemma3_text', dict(head_dim=32, query_pre_attn_scalar=24, sliding_window=32, layer_types=['sliding_attention', 'full_attention'], final_logit_softcapping=None,
                                     rope_parameters=dict(full_attention=dict(rope_type='linear', rope_theta=1000000.0, factor=8.0), sliding_attention=dict(rope_type='default', rope_theta=10000.0)))))

@llama_cpp
@pytest.mark.parametrize('case', list(ROPES))
def test_rotary_settings(tmp_path, case):
    "Every score of a prompt of some hundred tokens, in full precision: a frequency that is off changes them all."
    kind, settings = ROPES[case]
    checkpoint, source = tmp_path/'m', tiny_random('gemma3')
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZE, 'vocab_size': 65600, 'bos_token_id': 2, 'eos_token_id': 1, 'pad_token_id': 0, 'tie_word_embeddings': kind == 'gemma3_text', 'initializer_range': .3, **settings})
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(checkpoint)
    tokenizer = load_tokenizer(source)
    tokenizer.add_special_tokens(dict(additional_special_tokens=['<|im_start|>', '<|im_sep|>', '<|im_end|>', '<|eot_id|>']))
    tokenizer.save_pretrained(checkpoint)
    ids = encode(tokenizer, ''.join(split_prompt('Read a.py', DEFAULT_TOOLS, 'gemma')))[:320]
    theirs = _import('llama.cpp').Llama(str(export_gguf(checkpoint, tmp_path/'m.gguf', 'f32')), n_ctx=512, logits_all=True, verbose=False, type_k=0, type_v=0)       # keys and values in full precision, too
    theirs.eval(ids)
    with torch.no_grad(): ours = model(torch.tensor([ids])).logits[0].numpy()
    away = np.linalg.norm(np.array(theirs.scores[:len(ids)]) - ours) / np.linalg.norm(ours)
    print(case, away)
    assert away < 1e-3, away

"""Peak memory and speed of Phi-4 fine-tuning, predicted and measured, on random weights of Phi-4's size.

    python .ci/phi4_memory.py --out memory.json            on a GPU (bitsandbytes needed): NF4, rank 16 and 32, 1024 tokens
    python .ci/phi4_memory.py --tiny --out memory.json     on a CPU, with a tiny Phi-3: tries this script, measures nothing of interest

Both ways train on the same random examples, whose first 29 of 32 tokens are the same, as a tool list is: (a) plain TRL SFTTrainer with PEFT, each example
from its first token, (b) as room 31 trains with the GPU presets, all examples of an optimizer step in one packed row. Tokens a second count what the
examples hold, so they compare; steps are of the same examples. Nothing is skipped in silence: a case that fails is in the file with its error.
"""
import argparse, gc, importlib.metadata, json, os, sys, tempfile, time, warnings
from dataclasses import asdict, replace
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3Config
from mcp_nb.config import make_config, run_folder
from mcp_nb.memory import Plan, out_of_memory, predict

PHI4 = dict(hidden_size=5120, intermediate_size=17920, num_hidden_layers=40, num_attention_heads=40, num_key_value_heads=10, vocab_size=100352, max_position_embeddings=16384)
TINY = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=512, max_position_embeddings=512)

def random_model(sizes, precision):
    "Random weights: layer by layer quantized on the GPU where `precision` is nf4, so that 29 GB of bf16 are never there at once."
    config = Phi3Config(**sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, attn_implementation='sdpa')
    if precision != 'nf4': return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).to('cuda' if torch.cuda.is_available() else 'cpu')
    import bitsandbytes as bnb
    with torch.device('meta'): model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or module is model.lm_head: continue
        new = bnb.nn.Linear4bit(module.in_features, module.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type='nf4', compress_statistics=True, device='meta')
        new.weight = bnb.nn.Params4bit(torch.randn(module.out_features, module.in_features, dtype=torch.bfloat16) * .02, requires_grad=False, quant_type='nf4', compress_statistics=True)
        parent, _, last = name.rpartition('.')
        setattr(model.get_submodule(parent), last, new.to('cuda'))
    for module in model.modules():
        for key, p in list(module._parameters.items()):
            if p is not None and p.device.type == 'meta': module._parameters[key] = torch.nn.Parameter(torch.randn(p.shape, dtype=p.dtype, device='cuda') * .02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to('cuda')
    model.is_loaded_in_4bit, model.is_quantized = True, True
    model.quantization_method = 'bitsandbytes'
    return model

def plan_of(way, plan):
    "The project's way of the same optimizer step: its examples in one packed row, behind one copy of what they share."
    if way == 'trl': return plan
    own, config = max(8, plan.tokens * 3 // 32), make_config('phi4_24gb')
    return replace(plan, micro_batch=plan.micro_batch * plan.accumulation, accumulation=1, prefix=plan.tokens - own, tokens=own, answer_tokens=own // 2, dropout=config.lora_dropout)

def trainer_for(way, sizes, plan, folder, steps):
    "A TRL trainer on random examples behind one random prefix: 'trl' with its own defaults, 'project' as room 31 builds it for the GPU presets."
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer
    from mcp_nb.models import attach_lora
    from mcp_nb.packing import pack
    from mcp_nb.training import PackedTrainer, answers_only, arguments, collate, lean_layers
    ours, gpu = plan_of('project', plan), torch.cuda.is_available()
    draw = lambda n: torch.randint(3, sizes['vocab_size'], (n,)).tolist()
    prefix, own = draw(ours.prefix), ours.tokens
    rows = [dict(prefix=prefix, prompt=draw(own - own // 2), completion=draw(own // 2)) for _ in range(plan.micro_batch * plan.accumulation * steps)]
    model = random_model(sizes, plan.precision)
    if way == 'project':
        config = make_config('phi4_24gb', lora_r=plan.rank, batch_size=ours.micro_batch, gradient_accumulation_steps=1, max_seq_length=plan.tokens, load_in_4bit=plan.precision == 'nf4', num_epochs=1)
        model = attach_lora(model, config)
        model.get_base_model().set_attn_implementation('shared_prefix')
        answers_only(model)
        if not config.lora_dropout: lean_layers(model)
        args = arguments(config, run_folder(str(folder)), True, steps, plan=ours)
        args.eval_strategy = args.save_strategy = 'no'
        args.load_best_model_at_end = False
        return PackedTrainer(model=model, args=args, train_dataset=Dataset.from_list(pack(rows, ours.micro_batch, 0, tokens=ours.micro_batch * own)), processing_class=tokenizer(sizes, folder), data_collator=collate)
    args = SFTConfig(output_dir=str(folder), per_device_train_batch_size=plan.micro_batch, gradient_accumulation_steps=plan.accumulation, num_train_epochs=1, max_length=plan.tokens, bf16=True, use_cpu=not gpu,
                     gradient_checkpointing=plan.checkpointing, optim=plan.optimizer, save_strategy='no', report_to=[], disable_tqdm=True, logging_strategy='no', dataset_kwargs=dict(skip_prepare_dataset=True))
    data = Dataset.from_list([dict(input_ids=r['prefix'] + r['prompt'] + r['completion'], labels=[-100] * (len(prefix) + len(r['prompt'])) + r['completion']) for r in rows])
    lora = LoraConfig(r=plan.rank, lora_alpha=2 * plan.rank, lora_dropout=plan.dropout, target_modules='all-linear', task_type='CAUSAL_LM')
    return SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer(sizes, folder), peft_config=lora)

def tokenizer(sizes, folder):
    "TRL wants one; the rows are token ids already."
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    words = {f't{k}': k for k in range(8)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token='t0')), pad_token='t0', bos_token='t1', eos_token='t2', unk_token='t0')

def measure(way, sizes, plan, steps):
    "One case: predicted and measured peak (the measured one on a GPU only), tokens a second."
    gpu = torch.cuda.is_available()
    config = Phi3Config(**sizes, pad_token_id=0, tie_word_embeddings=False)
    done = plan_of(way, plan)
    told = predict(config, done)
    record = dict(way=way, plan=asdict(done), predicted=told.peak, predicted_with_card=predict(config, done, on_card=True).peak, parts=told.parts, moment=told.moment, measured=None, reserved=None, tokens_per_second=None, error=None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            if gpu: torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
            trainer = trainer_for(way, sizes, plan, folder, steps)
            record['lora_weights'] = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            if gpu: record['after_loading'] = torch.cuda.memory_allocated(); torch.cuda.reset_peak_memory_stats(); torch.cuda.synchronize()
            start = time.perf_counter()
            record['loss'] = trainer.train().training_loss
            if gpu: torch.cuda.synchronize(); record.update(measured=torch.cuda.max_memory_allocated(), reserved=torch.cuda.max_memory_reserved())
            record['tokens_per_second'] = plan.micro_batch * plan.accumulation * steps * plan.tokens / (time.perf_counter() - start)
    except Exception as e: record['error'] = ('out of memory: ' if out_of_memory(e) else '') + f'{type(e).__name__}: {str(e)[:300]}'
    trainer = None; gc.collect()
    return record

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tiny', action='store_true', help='a tiny Phi-3 in bf16 on the CPU')
    parser.add_argument('--out', required=True, help='the JSON file to write')
    parser.add_argument('--steps', type=int, default=0, help='optimizer steps per case (default: 3; tiny: 2)')
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    if options.tiny: torch.set_num_threads(1)
    elif not torch.cuda.is_available(): sys.exit('no CUDA GPU here: use --tiny to try the script')
    gpu = torch.cuda.is_available()
    sizes, length = (TINY, 32) if options.tiny else (PHI4, 1024)
    base = Plan('bf16' if options.tiny else 'nf4', 1, 4, length, True if gpu else False, 'paged_adamw_8bit' if gpu and not options.tiny else 'adamw_torch', head='answers', answer_tokens=8 if options.tiny else 128)
    plans = [replace(base, rank=r, micro_batch=b, accumulation=4) for r in (16, 32) for b in (1, 4)]
    records = [measure(way, sizes, plan, options.steps or (2 if options.tiny else 3)) for plan in plans for way in ('trl', 'project')]
    versions = {}
    for name in ('torch', 'transformers', 'trl', 'peft', 'accelerate', 'bitsandbytes'):
        try: versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError: versions[name] = None
    done = dict(tiny=options.tiny, device=torch.cuda.get_device_name(0) if gpu else 'cpu', versions=versions, cases=records)
    Path(options.out).write_text(json.dumps(done, indent=1) + '\n')
    for r in records: print(r['way'], 'rank', r['plan']['rank'], f"{r['plan']['micro_batch']} x {r['plan']['accumulation']}{' packed' * bool(r['plan']['prefix'])}", 'predicted', r['predicted'], 'measured', r['measured'], 'tokens/s', r['tokens_per_second'] and round(r['tokens_per_second']), r['error'] or '')
    sys.exit(any(r['error'] for r in records))

if __name__ == '__main__': main()

#!/usr/bin/env python3
"""Trains the same adapters with trl and peft as `bantam-train`'s example `decoder_speed`.

Needs:   pip install torch transformers==5.23.0 trl==1.16.0 peft==0.21.2 datasets
Usage:   python3 bench/train.py --shape FOLDER                       writes a seeded base of 135M parameters
         python3 bench/train.py BASE [STEPS] [TOKENS] [ROWS] [THREADS]
         target/release/examples/decoder_speed BASE [STEPS] [TOKENS] [ROWS] [THREADS]

Both print the tokens per second of the median step and the peak memory (VmHWM). trl runs in f32 and by default recomputes
blocks in the backward pass, as the example does. Run them in alternation on an idle machine.
"""

import sys
import time

import torch
import transformers


def shape(folder):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).half().save_pretrained(folder)


def train(base, steps=4, tokens=256, rows=4, threads=2):
    import datasets
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    words = {f"w{index}": index for index in range(10)} | {"<eos>": 10}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), eos_token="<eos>", pad_token="<eos>"
    )
    torch.manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (rows * steps, tokens)).tolist()
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    arguments = SFTConfig(
        output_dir="/tmp/train-speed",
        per_device_train_batch_size=rows,
        max_steps=steps,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    times = []

    class Timed(SFTTrainer):
        def training_step(self, *inputs, **more):
            started = time.perf_counter()
            loss = super().training_step(*inputs, **more)
            times.append(time.perf_counter() - started)
            return loss

    Timed(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict({"input_ids": ids}),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=modules, task_type="CAUSAL_LM"),
    ).train()
    median = sorted(times)[len(times) // 2]
    with open("/proc/self/status") as status:
        peak = next(line.strip() for line in status if line.startswith("VmHWM"))
    print(f"{rows * tokens / median:.1f} tokens/s (median step), {peak}")


if __name__ == "__main__":
    if sys.argv[1] == "--shape":
        shape(sys.argv[2])
    else:
        train(sys.argv[1], *map(int, sys.argv[2:]))

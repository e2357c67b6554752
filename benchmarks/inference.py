"""How fast one model labels texts on a CPU: torch in fp32 and bf16, ONNX in fp32 and int8.

    python benchmarks/inference.py --model runs/quickstart --data comments.csv.gz --text comment_text   # 2-3 minutes
    python benchmarks/inference.py --model runs/quickstart --texts 32 --rounds 1                        # does it run?
    python benchmarks/inference.py --size bert-base --texts 96 --rounds 3 --data ...    # larger, with drawn weights

All ways get the same token ids, sorted by length and padded in the same batches, and give label sets by the stored
decision; reading and tokenizing are not timed. `--of` texts are sorted together, and evenly spread batches of them are
timed, so that a short run pads no more than a long one. bf16 means that the backbone's weights and products are
bfloat16 and the head's float32, as the model loads with `dtype=torch.bfloat16`. The graphs are those that
`hf-multilabel export onnx` writes.

Printed are texts a second, the ratio to torch fp32 (the median of the rounds' own ratios, with quartiles), how many
label sets differ from its own, CPU flags and versions. Rounds are interleaved: one pass of each way, then the next.
On a machine with other work, `--threads 1 --clock cpu` times the process and not the machine.
"""

from __future__ import annotations

import argparse
import copy
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from tqdm.auto import tqdm
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

from hf_multilabel.assets import recipes_folder
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.data.batching import beginning
from hf_multilabel.data.loading import read_texts
from hf_multilabel.inference import FinishedModel
from hf_multilabel.publishing.onnx import build_graph
from hf_multilabel.publishing.onnx_attention import fuse_attention
from hf_multilabel.publishing.onnx_folder import longest_text, model_inputs
from hf_multilabel.publishing.onnx_int8 import quantize

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TARGETS = {"onnx int8": 3.3, "torch bf16": 2.2}
Batch = dict[str, np.ndarray]
# The label sets of a batch, bool (N, L).
Way = Callable[[Batch], np.ndarray]


def read_batches(finished: FinishedModel, options: argparse.Namespace) -> list[Batch]:
    """Evenly spread texts, tokenized, longest first, in padded batches; evenly spread ones of them."""
    source = options.data or str(recipes_folder() / "data" / "quickstart" / "test.jsonl")
    texts = [row["text"] for row in read_texts(source, text=options.text)]
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(options.of, len(texts))).round().astype(int))
    limit = options.tokens or finished.tokenizer.model_max_length
    rows = finished.tokenizer([beginning(texts[row], 100 * limit) for row in chosen], truncation=True, max_length=limit)
    ids = sorted(rows["input_ids"], key=len, reverse=True)
    parts, start = [], 0
    while start < len(ids):
        room = min(options.batch, max(1, options.batch_tokens // len(ids[start])))
        parts.append(ids[start : start + room])
        start += room
    every = min(len(parts), max(1, round(len(ids) / options.texts)))
    batches = []
    for part in parts[every // 2 :: every]:
        padded = np.full((len(part), len(part[0])), finished.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(padded)
        for row, found in enumerate(part):
            padded[row, : len(found)], mask[row, : len(found)] = found, 1
        batches.append({"input_ids": padded, "attention_mask": mask})
    return batches


def bert_base(tokenizer: PreTrainedTokenizerBase) -> FinishedModel:
    """Six labels on an encoder of BERT-base's size; its weights are drawn, which time does not depend on."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        backbone = Backbone(folder, folder, config, tokenizer, None, None, True)
        return FinishedModel("bert-base", build_model(backbone, list("abcdef")).eval(), tokenizer)


def torch_way(finished: FinishedModel, dtype: torch.dtype, attention: str) -> Way:
    """The model itself, its backbone in this precision."""
    model = copy.deepcopy(finished.model)
    model.backbone.to(dtype)
    model.set_attn_implementation(attention)

    @torch.inference_mode()
    def run(batch: Batch) -> np.ndarray:
        return model.decide(model(**{name: torch.from_numpy(value) for name, value in batch.items()}).logits).numpy()

    return run


def onnx_way(graph: onnx.ModelProto, threads: int) -> Way:
    """A graph, which decides itself."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(graph, Path(folder) / "model.onnx")
        session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), settings, providers=["CPUExecutionProvider"]
        )
    return lambda batch: session.run(["labels"], batch)[0]


def build_ways(finished: FinishedModel, options: argparse.Namespace) -> dict[str, Way]:
    """The four ways, torch fp32 first."""
    length = longest_text(finished.tokenizer, finished.model.max_tokens())
    inputs = model_inputs(finished.tokenizer)
    graph, backbone = build_graph(finished.model, length, inputs, finished.name)
    fast = fuse_attention(finished.model, length, graph, finished.name) or (graph, backbone)
    return {
        "torch fp32": torch_way(finished, torch.float32, options.attention),
        "torch bf16": torch_way(finished, torch.bfloat16, options.attention),
        "onnx fp32": onnx_way(graph, options.threads),
        "onnx int8": onnx_way(quantize(*fast, finished.name), options.threads),
    }


def measure(
    ways: dict[str, Way], batches: list[Batch], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each round, and texts with other label sets than torch fp32's; one pass before warms every way up."""
    sets = {name: np.concatenate([way(batch) for batch in batches]) for name, way in ways.items()}
    differing = {name: int((found != sets["torch fp32"]).any(axis=1).sum()) for name, found in sets.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, way in ways.items():
            start = clock()
            for batch in batches:
                way(batch)
            seconds[name].append(clock() - start)
    return seconds, differing


def report(seconds: dict[str, list[float]], differing: dict[str, int], batches: list[Batch]) -> None:
    """A line a way."""
    rows = sum(len(batch["input_ids"]) for batch in batches)
    real = sum(int(batch["attention_mask"].sum()) for batch in batches)
    padded = sum(batch["input_ids"].size for batch in batches)
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    print(f"{rows:,} texts, {real / rows:.0f} tokens each, {padded / real:.3f} computed per real token")
    print(f"{platform.machine()}: {' '.join(flag for flag in FLAGS if flag in flags) or 'no flags known'}")
    versions = {"torch": torch, "transformers": transformers, "onnx": onnx, "onnxruntime": onnxruntime}
    print(", ".join(f"{name} {library.__version__}" for name, library in versions.items()), end=", ")
    print(f"threads {torch.get_num_threads()}, rounds {len(seconds['torch fp32'])}")
    base = np.array(seconds["torch fp32"])
    for name, taken in seconds.items():
        low, middle, high = np.quantile(base / np.array(taken), [0.25, 0.5, 0.75])
        target = f", target {TARGETS[name]}" if name in TARGETS else ""
        print(
            f"{name:>10}: {rows / np.median(taken):7.1f} texts/s, {middle:.2f} x torch fp32 "
            f"[{low:.2f}, {high:.2f}]{target}, other label sets on {differing[name]}"
        )


def main() -> None:
    """Export in memory, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/quickstart", help="folder of a finished run")
    parser.add_argument("--size", choices=("bert-base",), help="this size with drawn weights and the model's tokenizer")
    parser.add_argument("--data", help="file of texts, for instance Jigsaw's comments; the bundled test rows if none")
    parser.add_argument("--text", default="text", help="its column")
    parser.add_argument("--attention", default="sdpa", choices=("sdpa", "eager"), help="of both torch ways")
    parser.add_argument("--tokens", type=int, help="most tokens of a text; those the model was trained on if none")
    parser.add_argument("--of", type=int, default=4096, help="texts that are sorted together")
    parser.add_argument("--batch-tokens", type=int, default=10**6, help="most tokens of a batch, padding included")
    parser.add_argument("--clock", default="wall", choices=tuple(CLOCKS), help="seconds of the clock or of the process")
    for name, default in (("texts", 256), ("batch", 32), ("threads", 2), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    finished = FinishedModel.load(options.model)
    if options.size:
        finished = bert_base(finished.tokenizer)
    batches = read_batches(finished, options)
    seconds, differing = measure(build_ways(finished, options), batches, options.rounds, CLOCKS[options.clock])
    report(seconds, differing, batches)


if __name__ == "__main__":
    main()

"""The memory estimate of `hf-multilabel inspect` beside the measured peak of real training steps on a CPU.

    python benchmarks/memory.py

Each setting trains four steps of the quickstart's data in a process of its own; its peak resident memory is compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial

SETTINGS = {
    "quickstart, its length 256": [],
    "128 tokens": ["data.max_length=128"],
    "512 tokens": ["data.max_length=512"],
    "batch 32": ["training.per_device_train_batch_size=32"],
    "all layers trained": ["training.freeze_layers=0"],
    "all layers, fp32": ["training.freeze_layers=0", "training.precision=fp32"],
    "all layers, fp32, attention kept": [
        "training.freeze_layers=0",
        "training.precision=fp32",
        "model.attention_dropout=0.1",
    ],
    "all layers, fp32, sgd": ["training.freeze_layers=0", "training.precision=fp32", "training.optimizer=sgd"],
}
LONG = "data.max_rows={train: 64, validation: 32, test: 32}"


def measure(overrides: list[str]) -> None:
    """Print the estimate and the peak of this process, as JSON; meant for a process that does nothing else."""
    import resource

    from hf_multilabel.backbones import build_model
    from hf_multilabel.data.loading import load_data
    from hf_multilabel.data.profile import profile_data
    from hf_multilabel.data.profile.lengths import count_tokens
    from hf_multilabel.inspection.measuring import estimate_run, find_backbone
    from hf_multilabel.preparing import prepare_backbone, tokenize_splits
    from hf_multilabel.recipe import load_recipe
    from hf_multilabel.training.arguments import MultiLabelTrainingArguments
    from hf_multilabel.workflow import make_trainer

    recipe = load_recipe("quickstart", [LONG, *overrides])
    data = load_data(**recipe.data.load_arguments())
    backbone = find_backbone(recipe, data)
    assert backbone is not None
    count = partial(count_tokens, backbone.tokenizer)
    lengths = profile_data(data, "", recipe.data.max_length, count, near=False)
    estimate = estimate_run(recipe, backbone, data, lengths.lengths)
    backbone = prepare_backbone(recipe, data)
    model = build_model(backbone, data.labels.names, attention_dropout=recipe.model.attention_dropout)
    args = MultiLabelTrainingArguments(**recipe.training)
    trainer = make_trainer(recipe, args, model, backbone, data, tokenize_splits(data, backbone, recipe.data.max_length))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"estimate": estimate.total, "before": before * 1024, "peak": peak * 1024}))


def main() -> None:
    """Run every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs="*", help="measure this process with these overrides")
    given = parser.parse_args()
    if given.one is not None:
        measure(given.one)
        return
    print("| setting | estimate, GB | measured, GB | estimate / measured |\n|---|---|---|---|")
    for name, overrides in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            steps = ["training.max_steps=4", "training.save_strategy=no", f"training.output_dir={folder}/run"]
            command = [sys.executable, __file__, "--one", *steps, *overrides]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        estimate, peak = found["estimate"] / 2**30, found["peak"] / 2**30
        print(f"| {name} | {estimate:.2f} | {peak:.2f} | {estimate / peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""Evaluates some sizes of dataset and batch without keeping logits: run by `test_streaming_evaluation.py`.

torchrun --nproc_per_node 2 evaluate_streaming.py PLAN.json OUT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from scipy.sparse import csr_array

from hf_multilabel.backbones import build_model, load_backbone
from hf_multilabel.judging import measure
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.training import trainer as trainers
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import keep_scores

# rows, rows a batch: even, a short last batch, one process without a row of its own in the last step, one row in all
SIZES = ((12, 3), (11, 3), (10, 4), (1, 4))


def main(plan: dict, out: Path) -> None:
    torch.set_num_threads(1)
    rows = Dataset.from_dict(plan["rows"])
    # the last batch is filled up with the first rows: the longest come first nowhere but there
    rows = rows.select(sorted(range(len(rows)), key=lambda row: rows[row]["length"]))
    backbone = load_backbone(plan["backbone"])
    found: dict = {}
    for count, batch in SIZES:
        torch.manual_seed(0)
        trainer = trainers.MultiLabelTrainer(
            model=build_model(backbone, plan["labels"], dropout=0.0),
            args=MultiLabelTrainingArguments(
                output_dir=str(out.with_suffix("")),
                per_device_eval_batch_size=batch,
                per_device_train_batch_size=2,
                max_steps=2,
                learning_rate=1e-2,
                eval_strategy="steps",
                eval_steps=2,
                save_strategy="no",
                precision="fp32",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=rows.select(range(4)),
            eval_dataset=rows.select(range(count)),
            processing_class=backbone.tokenizer,
        )
        found["processes"] = trainer.args.world_size
        before = {name: value for name, value in trainer.evaluate().items() if "per_second" not in name}
        found[f"{count} rows by {batch}"] = {n: v for n, v in before.items() if not n.endswith("time")}
        if count == 11:  # beside DDP; the weights differ a little between one process and two
            trainer.train()
            assert any("eval_micro_f1" in entry for entry in trainer.state.log_history)
        torch.manual_seed(0)
        model = build_model(backbone, plan["labels"], dropout=0.0)
        some = rows.select(range(count))
        held = csr_array([[name in row["labels"] for name in range(len(plan["labels"]))] for row in some])
        kept = keep_scores(model, some, trainer.data_collator, held, k=4, batch_size=batch)
        found[f"kept {count} rows by {batch}"] = measure(kept, held, default_decision() | {"thresholds": 0.55})
    if PartialState().is_main_process:
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    trainers.SMALL_LABEL_SET = 4
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
    PartialState().destroy_process_group()

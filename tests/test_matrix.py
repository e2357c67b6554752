"""Every head with every loss, and every pooling: trained, saved, reloaded without the package, padded on either side.

The registries are read, never listed here: what is added to one of them is covered by the same line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import RobertaConfig, TrainerCallback

from hf_multilabel import HEADS, POOLINGS, MultiLabelForSequenceClassification
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.data.batching import MultiLabelCollator
from hf_multilabel.losses import LOSSES, build_loss, loss_weights
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.trainer import MultiLabelTrainer

PARTS = [("mean", head) for head in HEADS] + [(pooling, "linear") for pooling in POOLINGS if pooling != "mean"]
CASES = [("mean", head, loss) for head in HEADS for loss in LOSSES]
CASES += [(pooling, "linear", "bce") for pooling in POOLINGS if pooling != "mean"]
STEPS, STEP_ROWS = 2, 6  # a second step: what starts at zero, such as label queries, hides others from the first one

RELOAD = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoModelForSequenceClassification
inputs = {name: torch.tensor(values) for name, values in json.loads(sys.argv[2]).items()}
logits = {}
for case in sorted(Path(sys.argv[1]).iterdir()):
    model = AutoModelForSequenceClassification.from_pretrained(case / "model", trust_remote_code=True).eval()
    with torch.no_grad():
        logits[case.name] = model(**inputs).logits.tolist()
assert not [name for name in sys.modules if name.split(".")[0] == "hf_multilabel"]
print("RESULT" + json.dumps(logits))
"""


class Gradients(TrainerCallback):
    """Keeps the gradient of every trainable parameter of every step, None where there is none."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor | None]] = []

    def on_pre_optimizer_step(
        self, args: object, state: object, control: object, model: torch.nn.Module, **_: object
    ) -> None:
        trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.steps.append({name: None if w.grad is None else w.grad.clone() for name, w in trainable.items()})


@dataclass
class Trained:
    """What a case left behind."""

    gradients: list[dict[str, Tensor | None]]
    losses: list[float]
    expected_loss: float
    logits: Tensor


@pytest.fixture(scope="module")
def rows(
    tiny_backbone: Backbone, tiny_texts: list[str], tiny_labels: list[list[str]], tiny_label_names: list[str]
) -> Dataset:
    """The twelve texts, tokenized; of the one without a label it is unknown whether the last label holds."""
    ids = tiny_backbone.tokenizer(tiny_texts)["input_ids"]
    labels = [[tiny_label_names.index(name) for name in names] for names in tiny_labels]
    unknown = [[] if row else [len(tiny_label_names) - 1] for row in labels]
    lengths = [len(row) for row in ids]
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "unknown": unknown, "length": lengths})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def run_case(
    folder: Path, rows: Dataset, tiny_backbone: Backbone, tiny_label_names: list[str]
) -> Callable[[str, str, str], Trained]:
    """`run_case(pooling, head, loss)` trains two steps with the trainer and lets it save; each case only once."""
    inputs = MultiLabelCollator(tiny_backbone.tokenizer, len(tiny_label_names))(list(rows))
    targets = inputs.pop("labels")
    known = targets >= 0
    counts, seen = (targets * known).sum(0), known.sum(0)

    @cache
    def run(pooling: str, head: str, loss: str) -> Trained:
        torch.manual_seed(0)
        # no dropout: the loss of the first step is what the same logits give outside the trainer
        model = build_model(
            replace(tiny_backbone, pretrained=False), tiny_label_names, pooling=pooling, head=head, dropout=0.0
        )
        weights = {key: {"rule": "inverse_sqrt", "normalize": True} for key in loss_weights(loss)}
        row_loss = build_loss(loss, counts, seen, **weights)
        first = {name: values[:STEP_ROWS] for name, values in inputs.items()}
        with torch.no_grad():
            expected = row_loss(model(**first).logits, targets[:STEP_ROWS]).mean().item()
        trainer = MultiLabelTrainer(
            model=model,
            args=arguments(folder / "unused"),
            loss=row_loss,
            train_dataset=rows,
            processing_class=tiny_backbone.tokenizer,
        )
        trainer.add_callback(gradients := Gradients())
        trainer.train()
        # one name for all folders: the loader imports their code once
        trainer.save_model(str(folder / "cases" / "-".join((pooling, head, loss)) / "model"))
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        with torch.no_grad():
            return Trained(gradients.steps, losses, expected, model.eval()(**inputs).logits)

    return run


def arguments(folder: Path) -> MultiLabelTrainingArguments:
    return MultiLabelTrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=STEP_ROWS,
        train_sampling_strategy="sequential",
        learning_rate=1e-2,
        max_grad_norm=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        precision="fp32",
        use_cpu=True,
        disable_tqdm=True,
    )


@pytest.mark.parametrize(("pooling", "head", "loss"), CASES)
def test_every_parameter_has_a_finite_gradient(
    pooling: str, head: str, loss: str, run_case: Callable[[str, str, str], Trained]
) -> None:
    found = run_case(pooling, head, loss)
    assert found.losses[0] == pytest.approx(found.expected_loss, rel=1e-5)
    assert len(found.gradients) == STEPS
    for step in found.gradients:
        assert [name for name, gradient in step.items() if gradient is None] == []
        assert [name for name, gradient in step.items() if not gradient.isfinite().all()] == []
    assert [name for name, gradient in found.gradients[-1].items() if not gradient.any()] == []


def test_every_case_reloads_without_the_package_to_the_same_logits(
    run_case: Callable[[str, str, str], Trained],
    folder: Path,
    rows: Dataset,
    tiny_backbone: Backbone,
    blocked_package_run: Callable[..., CompletedProcess],
) -> None:
    expected = {"-".join(case): run_case(*case).logits for case in CASES}
    inputs = MultiLabelCollator(tiny_backbone.tokenizer, 5)([{"input_ids": ids} for ids in rows["input_ids"]])
    given = json.dumps({name: values.tolist() for name, values in inputs.items()})
    done = blocked_package_run(RELOAD, folder / "cases", given)
    found = json.loads(done.stdout.split("RESULT")[1])
    assert found.keys() == expected.keys()
    apart = {name: (torch.tensor(found[name]) - logits).abs().max().item() for name, logits in expected.items()}
    assert {name: distance for name, distance in apart.items() if not distance <= 1e-6} == {}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("pooling", "head"), PARTS)
def test_a_batch_padded_on_either_side_gives_each_text_its_own_logits(
    side: str, pooling: str, head: str, rows: Dataset, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    if side == "left" and POOLINGS[pooling].reads_pooler:
        pytest.skip("the encoder's own pooler reads the first place")
    model = stirred(tiny_backbone, pooling, head)
    monkeypatch.setattr(tiny_backbone.tokenizer, "padding_side", side)
    collate = MultiLabelCollator(tiny_backbone.tokenizer, 5)
    alone = MultiLabelCollator(tiny_backbone.tokenizer, 5, pad_to_multiple_of=None)
    texts = [{"input_ids": ids} for ids in rows["input_ids"]]
    assert (collate(texts)["attention_mask"][:, 0 if side == "left" else -1] == 0).any()
    with torch.no_grad():
        expected = torch.cat([model(**alone([text])).logits for text in texts])
        torch.testing.assert_close(model(**collate(texts)).logits, expected, atol=1e-5, rtol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def stirred(backbone: Backbone, pooling: str, head: str) -> MultiLabelForSequenceClassification:
    """A model none of whose head is at zero; its encoder counts positions from the text on, wherever that starts."""
    sizes = {name: getattr(backbone.config, name) for name in ("vocab_size", "hidden_size", "pad_token_id")}
    config = RobertaConfig(
        **sizes, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=66
    )
    config.initializer_range = 0.2  # logits of about 1, so that 1e-5 is a small difference
    encoder = replace(backbone, config=config, pretrained=False)
    model = build_model(encoder, list("abcde"), pooling=pooling, head=head)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model

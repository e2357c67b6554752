"""From labelled text to a Hub repository that returns label sets. The way of one text is the order of the folders.

    recipe        recipe/          YAML -> Recipe, every problem reported at once
    data          data/            files or a Hub dataset -> sparse label lists, splits, checks, batches
    model         backbones.py     a backbone's name -> weights
                  remote_code/     configuration, poolings, heads, model, decision, pipeline: the files that ship
                  losses/          logits and targets -> loss, class weights
    training      training/        arguments, layer-wise rates, trainer
    decisions     decisions/       held-out probabilities -> thresholds
    evaluation    evaluation/      probabilities, predictions, targets -> metrics
    reports       reports/         one split as a model scored it -> figures, an HTML page
    publishing    publishing/      the output folder as a proved Hub repository, pushed
    workflow      workflow.py      one recipe through all of the above
    studies       studies/         one recipe, many values
    commands      cli/             hf-multilabel inspect | train | evaluate | tune | predict | report | study | card |
                                   push | doctor | export | space

Importing the package lets AutoConfig, AutoModel, AutoModelForSequenceClassification and
`pipeline("multi-label-classification")` find its classes, and lets saved models carry their code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Everything takes seconds to import and is fetched when it is first named.
_SHIPPED = {
    "HEADS": "heads_multilabel",
    "POOLINGS": "poolings_multilabel",
    "MultiLabelClassificationPipeline": "pipeline_multilabel",
    "MultiLabelConfig": "configuration_multilabel",
    "MultiLabelForSequenceClassification": "modeling_multilabel",
    "MultiLabelPreTrainedModel": "modeling_multilabel",
    "check_decision": "decision_multilabel",
    "decide": "decision_multilabel",
    "decide_probabilities": "decision_multilabel",
    "default_decision": "decision_multilabel",
    "hash_labels": "decision_multilabel",
    "probabilities": "decision_multilabel",
}
_LATER = {
    **{name: f"hf_multilabel.remote_code.{file}" for name, file in _SHIPPED.items()},
    "MultiLabelTrainer": "hf_multilabel.training.trainer",
    "MultiLabelTrainingArguments": "hf_multilabel.training.arguments",
    "FinishedModel": "hf_multilabel.inference",
    "LabelSpace": "hf_multilabel.data.labels",
    "build_loss": "hf_multilabel.losses.registry",
    "build_model": "hf_multilabel.backbones",
    "compare": "hf_multilabel.measurement",
    "evaluate": "hf_multilabel.measurement",
    "examine": "hf_multilabel.publishing.doctor.examination",
    "export_onnx": "hf_multilabel.exporting",
    "export_plain": "hf_multilabel.exporting",
    "fit_decision": "hf_multilabel.decisions.thresholds",
    "fit_from_logits": "hf_multilabel.decisions.fitting",
    "fit_thresholds": "hf_multilabel.decisions.thresholds",
    "fit_with_evidence": "hf_multilabel.decisions.evidence",
    "kfold": "hf_multilabel.data.splitting",
    "load_backbone": "hf_multilabel.backbones",
    "load_data": "hf_multilabel.data.loading",
    "load_recipe": "hf_multilabel.recipe",
    "make_space": "hf_multilabel.spaces",
    "override_decision": "hf_multilabel.decisions.overrides",
    "predict_file": "hf_multilabel.prediction",
    "push_bundle": "hf_multilabel.publishing.hub",
    "push_decision": "hf_multilabel.publishing.decision_push",
    "report_pair": "hf_multilabel.reporting",
    "report_run": "hf_multilabel.reporting",
    "resolve_model": "hf_multilabel.spaces",
    "tokenize": "hf_multilabel.data.batching",
    "train": "hf_multilabel.workflow",
    "tune": "hf_multilabel.tuning",
    "tune_hub_model": "hf_multilabel.tuning",
    "write_card": "hf_multilabel.carding",
}

__all__ = [*_LATER]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'hf_multilabel' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """What completion in a notebook offers, imported or not."""
    return sorted({*globals(), *__all__})


def _is_command() -> bool:
    """Whether this process is one of our commands: they import what they need when they know that it is needed."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # until Python has found the file to run; the module may be anyone's that imports us
        return "hf_multilabel" in sys.orig_argv
    return Path(started).stem == "hf-multilabel"


if not _is_command():
    import_module("hf_multilabel.remote_code")

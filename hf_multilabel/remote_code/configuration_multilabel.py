"""What a model is, as config.json stores it: backbone, pooling, head, label names and the decision."""

from __future__ import annotations

import copy
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from .decision_multilabel import check_decision, default_decision, first_repeated
from .windows_multilabel import check_windows

PROBLEM_TYPE = "multi_label_classification"
# The loaders of a shipped folder find the classes by these names; they must equal files and classes beside this one.
AUTO_MAP = {
    "AutoConfig": "configuration_multilabel.MultiLabelConfig",
    "AutoModel": "modeling_multilabel.MultiLabelForSequenceClassification",
    "AutoModelForSequenceClassification": "modeling_multilabel.MultiLabelForSequenceClassification",
}
CUSTOM_PIPELINES = {
    "multi-label-classification": {
        "impl": "pipeline_multilabel.MultiLabelClassificationPipeline",
        "pt": ["AutoModelForSequenceClassification"],
        "type": "text",
    }
}


class MultiLabelConfig(PreTrainedConfig):
    """Configuration of `MultiLabelForSequenceClassification`.

    Args:
        backbone_config: Configuration of the encoder, as an object or as the dict stored in config.json.
        pooling: Key of `POOLINGS`.
        head: Key of `HEADS`.
        head_kwargs: Arguments of the head beyond its sizes.
        windows: How texts longer than a window are divided, see `windows_multilabel`; None reads them in one piece.
        decision: How probabilities become label sets, see `decision_multilabel`; None means `default_decision()`.
        **kwargs: Fields of `PreTrainedConfig`, among them `id2label`; `label2id` follows from it.

    Raises:
        ValueError: If ids have a gap, label names repeat, `num_labels` contradicts them, or the decision belongs to
            other labels, or windows would leave tokens out.
    """

    model_type = "multilabel"
    sub_configs = {"backbone_config": AutoConfig}

    def __init__(
        self,
        backbone_config: PreTrainedConfig | dict[str, Any] | None = None,
        pooling: str = "mean",
        head: str = "linear",
        head_kwargs: dict[str, Any] | None = None,
        windows: dict[str, Any] | None = None,
        decision: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # own fields first: the parent walks over the nested configuration
        self.backbone_config = _build_backbone_config(backbone_config)
        self.pooling = pooling
        self.head = head
        self.head_kwargs = dict(head_kwargs or {})
        self.windows = None if windows is None else dict(windows)
        self.decision = default_decision() if decision is None else copy.deepcopy(decision)
        kwargs["problem_type"] = PROBLEM_TYPE
        kwargs.setdefault("custom_pipelines", copy.deepcopy(CUSTOM_PIPELINES))
        id2label = kwargs.get("id2label")
        if id2label is not None:
            kwargs["id2label"] = {int(key): name for key, name in id2label.items()}
            kwargs["label2id"] = {name: int(key) for key, name in id2label.items()}
            _check_labels(kwargs["id2label"], kwargs.get("num_labels"))
        super().__init__(**kwargs)
        self.validate_decision()
        if self.windows is not None:
            check_windows(self.windows)

    # the parent's, which compares all fields: as a dataclass this class would get one that ignores its own
    __eq__ = PreTrainedConfig.__eq__

    @property
    def label_names(self) -> list[str]:
        """Label names in the order of their ids."""
        return [self.id2label[label] for label in range(len(self.id2label))]

    def validate_decision(self) -> None:
        """Refuse ids with gaps and a decision that belongs to other labels.

        Raises:
            ValueError: As the class says.
        """
        _check_labels(self.id2label, None)
        check_decision(self.decision, self.label_names)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The backbone's configuration: sizes of vocabulary and states are its own."""
        return self if self.backbone_config is None else self.backbone_config


def _build_backbone_config(config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig | None:
    if not isinstance(config, dict):
        return config
    values = dict(config)
    model_type = values.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"backbone_config.model_type: expected a type this version of transformers knows, found {model_type!r}. "
            "Upgrade transformers."
        )
    return CONFIG_MAPPING[model_type](**values)


def _check_labels(id2label: dict[int, str], num_labels: int | None) -> None:
    if num_labels is not None and num_labels != len(id2label):
        raise ValueError(f"num_labels: expected {len(id2label)} as in id2label, found {num_labels}. Leave one out.")
    for expected, found in enumerate(sorted(id2label)):
        if expected != found:
            raise ValueError(f"id2label: expected id {expected}, found {found}. Number labels from 0 without a gap.")
    if repeated := first_repeated([id2label[label] for label in sorted(id2label)]):
        raise ValueError(f"id2label: expected unique names, found {repeated!r} twice. Rename one.")

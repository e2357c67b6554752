"""The model: any encoder as backbone, a pooling and a head on its token states, one logit a label.

    input_ids (N, T) -> backbone -> states (N, T, H) -> pooling -> pooled (N, H) -> head -> logits (N, L)
    logits (N, L) -> decide -> bool (N, L)

From the backbone's output on everything is float32, also under autocast and with a half-precision backbone: in bfloat16
a column of logits collapses to few distinct values, and rankings and thresholds with it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_multilabel import AUTO_MAP, MultiLabelConfig
from .decision_multilabel import decide, probabilities
from .heads_base_multilabel import Head
from .heads_multilabel import HEADS
from .pipeline_multilabel import MultiLabelClassificationPipeline  # noqa: F401  (so that its file ships with a model)
from .poolings_multilabel import POOLINGS
from .windows_multilabel import AGGREGATIONS, cut_windows


class MultiLabelPreTrainedModel(PreTrainedModel):
    """Loading that refuses incomplete weights and saving that ships the code."""

    config_class = MultiLabelConfig
    base_model_prefix = "backbone"
    # the backbone itself says what it can do; these only keep the wrapper from refusing first
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _keep_in_fp32_modules_strict = ["pooling", "head"]
    # the Trainer divides the loss by the accumulation steps only if the model does not say that it does so itself
    accepts_loss_kwargs = False

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`, but a weight that is missing or of another shape is an error.

        Raises:
            ValueError: If so; a head drawn at random would look like a trained one.
        """
        kwargs["ignore_mismatched_sizes"] = True  # refused below, with both shapes
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        for name, stored, expected in sorted(info.get("mismatched_keys", ())):
            raise ValueError(
                f"{model.name_or_path}: expected shape {tuple(expected)} for {name!r} with {model.config.num_labels} "
                f"labels, found {tuple(stored)}. Save weights and config.json together again."
            )
        missing = sorted(info.get("missing_keys", ()))
        if missing:
            raise ValueError(
                f"{model.name_or_path}: expected all weights of {cls.__name__}, found none for {missing[0]!r} and "
                f"{len(missing) - 1} more. Save the model again, or build a new one from a bare encoder."
            )
        return (model, info) if output_loading_info else model

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Head):  # after its layers, which the line above has drawn
            module.initialize()

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.save_pretrained`; every auto class finds the code saved beside the weights."""
        self.config.validate_decision()
        self.config.auto_map = {**(getattr(self.config, "auto_map", None) or {}), **AUTO_MAP}
        return super().save_pretrained(save_directory, *args, **kwargs)


class MultiLabelForSequenceClassification(MultiLabelPreTrainedModel):
    """Backbone, pooling and head.

    Args:
        config: Its backbone is built with random weights; loading is `from_pretrained`'s.

    Raises:
        ValueError: If pooling, head or an argument of the head is unknown, the backbone is no encoder, or it has no
            pooler and pooling is "pooler".
    """

    def __init__(self, config: MultiLabelConfig) -> None:
        super().__init__(config)
        config.validate_decision()
        pooler = reads_pooler(config)
        self.backbone = build_encoder(config.backbone_config, pooler)
        hidden_size = config.backbone_config.hidden_size
        self.head = _build_head(config, hidden_size)
        # a pooling whose result nobody reads would have parameters without gradient, which DDP refuses
        self.pooling = POOLINGS[config.pooling](hidden_size) if self.head.needs == "pooled" else None
        self._takes_token_types = "token_type_ids" in inspect.signature(self.backbone.forward).parameters
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Logits, and plain binary cross-entropy where labels are given.

        Args:
            input_ids: Token ids, (N, T). Texts longer than `config.windows.length` are judged window by window.
            attention_mask: 1 where a token is real, (N, T); all are if None.
            token_type_ids: (N, T); dropped where the backbone knows none.
            inputs_embeds: Token embeddings in place of `input_ids`, (N, T, E).
            labels: 1 where the label holds, else 0, (N, L).
            output_attentions: Return the backbone's attention weights too.
            output_hidden_states: Return the states of all layers too.
            return_dict: False returns a tuple.

        Returns:
            loss (if labels), logits (N, L) in float32, hidden_states, attentions; where texts were divided the last two
            have a row for each window.

        Raises:
            ValueError: If texts longer than a window come as `inputs_embeds`.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            attention_mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        cut = None if self.config.windows is None else cut_windows(attention_mask, self.config.windows)
        if cut is not None:
            if input_ids is None:
                raise ValueError("inputs_embeds: expected input_ids of texts longer than a window. Shorten the texts.")
            input_ids = cut.take(input_ids, self.config.backbone_config.pad_token_id or 0)
            token_type_ids = None if token_type_ids is None else cut.take(token_type_ids, 0)
            attention_mask = cut.mask
        inputs: dict[str, Any] = {"attention_mask": attention_mask}
        if self._takes_token_types:
            inputs["token_type_ids"] = token_type_ids
        optional = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        inputs.update({name: value for name, value in optional.items() if value is not None})
        encoded = self.backbone(input_ids=input_ids, inputs_embeds=inputs_embeds, return_dict=True, **inputs)
        logits = self.classify(encoded.last_hidden_state, attention_mask, getattr(encoded, "pooler_output", None))
        if cut is not None:
            logits = AGGREGATIONS[self.config.windows["aggregation"]](logits, cut.owner, len(given))
        loss = None
        if labels is not None:
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        output = SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=getattr(encoded, "hidden_states", None),
            attentions=getattr(encoded, "attentions", None),
        )
        return output.to_tuple() if return_dict is False else output

    def classify(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """Pooling and head on states the backbone gave, in the precision of the head.

        Args:
            states: Token states, (N, T, H).
            mask: 1 where a token is real, (N, T).
            pooler_output: What the backbone's own pooler gave, (N, H); None where there is none.

        Returns:
            Logits, (N, L).
        """
        with torch.autocast(device_type=states.device.type, enabled=False):
            states = states.to(next(self.head.parameters()).dtype)
            pooled = None if self.pooling is None else self.pooling(states, mask, pooler_output)
            return self.head(states, mask, pooled).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities: (N, L) -> (N, L)."""
        return probabilities(logits, self.config.decision)

    def decide(self, logits: Tensor) -> Tensor:
        """Label sets by the stored decision: (N, L) -> bool (N, L)."""
        return decide(logits, self.config.decision)

    def predict_labels(self, logits: Tensor) -> list[list[str]]:
        """Names of the decided labels, a list a text, in the order of their ids."""
        names = self.config.label_names
        return [[names[label] for label in row.nonzero().flatten().tolist()] for row in self.decide(logits).cpu()]

    def max_tokens(self) -> int | None:
        """The longest input the model reads; None if nothing limits it, as where windows slide over the text."""
        return count_positions(self.backbone) if self.config.windows is None else None


def reads_pooler(config: MultiLabelConfig) -> bool:
    """Whether pooling and head need the backbone's own pooler; nobody else would read it, and DDP refuses that.

    Raises:
        ValueError: If the pooling or the head is unknown.
    """
    for key, known in (("pooling", POOLINGS), ("head", HEADS)):
        value = getattr(config, key)
        if value not in known:
            raise ValueError(f"{key}: expected one of {sorted(known)}, found {value!r}. Choose one.")
    return POOLINGS[config.pooling].reads_pooler and HEADS[config.head].needs == "pooled"


def build_encoder(config: PreTrainedConfig, pooler: bool = False) -> PreTrainedModel:
    """An encoder with random weights.

    Args:
        config: Of the encoder.
        pooler: Build the encoder's own pooler. Otherwise there is none, or it is frozen where there must be one:
            nothing would read it, and DDP refuses unused parameters.

    Raises:
        ValueError: As `check_encoder`, or if the encoder has no pooler to build.
    """
    check_encoder(config)
    encoder = AutoModel.from_config(config, **pooler_kwargs(config, pooler))
    found = getattr(encoder, "pooler", None)
    if pooler and found is None:
        raise ValueError(
            f"pooling: expected a backbone with a pooler for 'pooler', found {config.model_type!r}. Choose another of "
            f"{sorted(POOLINGS)}."
        )
    if found is not None:
        found.requires_grad_(pooler)
    return encoder


def check_encoder(config: PreTrainedConfig | None) -> None:
    """Refuse what cannot be a backbone.

    Raises:
        ValueError: If the configuration is None, of this model itself, of an encoder-decoder, or of no model at all.
    """
    own = isinstance(config, MultiLabelConfig)
    if config is None or own or type(config) not in MODEL_MAPPING or config.is_encoder_decoder:
        found = None if config is None else config.model_type
        raise ValueError(f"backbone_config: expected a text encoder, found {found!r}. Name another backbone.")


def pooler_kwargs(config: PreTrainedConfig, pooler: bool = False) -> dict[str, bool]:
    """`{"add_pooling_layer": pooler}` where the encoder's constructor knows it, else nothing."""
    model_class = MODEL_MAPPING[type(config)]
    model_class = model_class[0] if isinstance(model_class, (tuple, list)) else model_class
    known = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": pooler} if known else {}


def count_positions(encoder: PreTrainedModel) -> int | None:
    """The longest input an encoder has positions for; None if nothing limits it.

    RoBERTa, MPNet and their like count positions from padding_idx + 1 on, so 514 rows serve 512 tokens.
    """
    tables = [module for name, module in encoder.named_modules() if name.endswith("position_embeddings")]
    tables = [table for table in tables if isinstance(table, nn.Embedding)]
    first = [0 if table.padding_idx is None else table.padding_idx + 1 for table in tables]
    rows = [table.num_embeddings - start for table, start in zip(tables, first, strict=True)]
    return min(rows) if rows else getattr(encoder.config, "max_position_embeddings", None)


def _build_head(config: MultiLabelConfig, hidden_size: int) -> Head:
    head_class = HEADS[config.head]
    known = list(inspect.signature(head_class.__init__).parameters)[3:]  # after self and the two sizes
    for key in config.head_kwargs:
        if key not in known:
            raise ValueError(f"head_kwargs: expected {known} for head {config.head!r}, found {key!r}. Remove it.")
    return head_class(hidden_size, config.num_labels, **config.head_kwargs)

"""What needs the recipe's backbone: its tokenizer, and the memory a run takes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from hf_multilabel.backbones import Backbone, load_backbone
from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.profile.facts import LengthFacts, MemoryEstimate
from hf_multilabel.data.profile.memory import ModelShape, RunShape, estimate_memory
from hf_multilabel.errors import MultiLabelError
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.adapters import add_adapters
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.freezing import freeze_for_good
from hf_multilabel.training.groups import find_layers

# A tokenizer from scratch learned from so many texts is close enough to one learned from all.
SCRATCH_TEXTS = 5_000


def find_backbone(recipe: Recipe, data: MultiLabelData) -> Backbone | None:
    """The recipe's backbone, or None with a note where it can't be read: lengths are in words then."""
    model = recipe.model
    scratch = model.backbone == "scratch"
    train = data.splits["train"]
    try:
        return load_backbone(
            model.backbone,
            revision=model.revision,
            sha256=model.backbone_sha256,
            scratch=model.scratch.model_dump() if scratch and model.scratch else None,
            texts=train[: min(SCRATCH_TEXTS, len(train))]["text"] if scratch else None,
            config_overrides=model.config_overrides,
        )
    except MultiLabelError as error:
        note(f"backbone {model.backbone} not read, so lengths are in words: {str(error).splitlines()[0]}")
        return None


def estimate_run(recipe: Recipe, backbone: Backbone, data: MultiLabelData, lengths: LengthFacts) -> MemoryEstimate:
    """Memory of a run of the recipe on this machine's device, from shapes alone.

    Raises:
        InputError: If model, adapters or training arguments do not go together.
    """
    with blame(recipe, "training"):
        args = MultiLabelTrainingArguments(**recipe.training)
    longest = max(found[100] for found in lengths.percentiles.values())
    on_cpu = args.device.type == "cpu"
    run = RunShape(
        batch_size=args.per_device_train_batch_size,
        length=min(recipe.data.max_length, longest if lengths.unit == "tokens" else recipe.data.max_length),
        precision=args.precision,
        optimizer=args.optimizer or str(getattr(args.optim, "value", args.optim)),
        evaluated_rows=max((len(rows) for split, rows in data.splits.items() if split != "train"), default=0),
        keep_scores=recipe.evaluation.keep_scores,
        checkpointing=args.gradient_checkpointing,
        on_cpu=on_cpu,
    )
    return estimate_memory(model_shape(recipe, backbone, data.labels.names, args), run)


def model_shape(
    recipe: Recipe, backbone: Backbone, labels: Sequence[str], args: MultiLabelTrainingArguments
) -> ModelShape:
    """Sizes of the recipe's model and of what is trained of it; no weight is read.

    Raises:
        InputError: If model, adapters or what is frozen do not go together.
    """
    settings, config = recipe.model, backbone.config
    with blame(recipe, "model"), torch.device("meta"):
        model = MultiLabelForSequenceClassification(
            MultiLabelConfig(
                backbone_config=copy.deepcopy(config),
                pooling=settings.pooling,
                head=settings.head,
                head_kwargs=dict(settings.head_kwargs),
                id2label=dict(enumerate(labels)),
            )
        )
    with blame(recipe, "peft"):
        if recipe.peft.method:
            add_adapters(model, **recipe.peft.arguments())
    with blame(recipe, "training"):
        freeze_for_good(model, args.backbone_mode, args.freeze_layers, args.freeze_embeddings)
    _, depth = find_layers(model.backbone)
    width = getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None)
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        hidden=config.hidden_size,
        feed_forward=width or 4 * config.hidden_size,
        layers=depth,
        trained_layers=_trained_layers(model, depth, args.freeze_layers),
        heads=config.num_attention_heads,
        labels=len(labels),
        fused=not (args.device.type == "cpu" and _drops_attention(recipe, backbone)),
        dropout=settings.dropout is None or settings.dropout > 0,
    )


def _drops_attention(recipe: Recipe, backbone: Backbone) -> bool:
    """Whether attention weights are dropped in training: then they are kept, for no fused kernel on a CPU does so."""
    settings = recipe.model
    rate = settings.attention_dropout if settings.attention_dropout is not None else settings.dropout
    if rate is not None:
        return rate > 0
    named = [value for name, value in backbone.config.to_dict().items() if "att" in name and "dropout" in name]
    return any(isinstance(value, float) and value > 0 for value in named)


def _trained_layers(model: MultiLabelForSequenceClassification, depth: int, frozen: int) -> int:
    """Layers from the lowest trained one up: gradients pass through all of them."""
    if not any(parameter.requires_grad for parameter in model.backbone.parameters()):
        return 0
    return depth - frozen

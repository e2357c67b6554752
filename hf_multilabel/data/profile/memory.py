"""Memory of a training run, estimated from sizes that are known before a weight is read.

What a transformer layer keeps for its backward pass, for each token, in values: its input, queries, keys and values,
the output of attention, the inputs of both normalisations and of the first feed-forward layer (8 H), and both sides of
the activation (2 F); with dropout two masks of H bytes. Attention that is not fused keeps its weights: A T of
them before dropout, A T after it and A T bytes of mask.

Reference: Korthikanti et al. 2022, Reducing Activation Recomputation in Large Transformer Models, section 4.1, with
4 bytes a value (2 in bf16 and fp16), and what torch keeps of BERT's operations.
"""

from __future__ import annotations

from dataclasses import dataclass

from hf_multilabel.data.profile.facts import MemoryEstimate
from hf_multilabel.evaluation.keeping import KEEP_SCORES, is_kept_in_part

# Bytes of optimizer state a trained parameter, by the beginning of its name; the longest that fits counts.
OPTIMIZER_BYTES = {
    "": 8,
    "sgd": 0,
    "sgd_momentum": 4,
    "sgd_nesterov": 4,
    "adagrad": 4,
    "rmsprop": 4,
    "adafactor": 0.1,
    "amsgrad": 12,
    "adamw_8bit": 2,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
}
# Python, torch and transformers, before a model: measured at 0.55 to 0.65 GB.
LIBRARIES = 600 << 20


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model.

    Args:
        parameters: All of them.
        trainable: Those that are trained.
        hidden: H.
        feed_forward: F.
        layers: Encoder layers.
        trained_layers: Those above the lowest that is trained: only they keep values for a backward pass.
        heads: A, attention heads.
        labels: L.
        fused: Attention keeps no weights: on a GPU, or without dropout of its weights.
        dropout: Of the states.
    """

    parameters: int
    trainable: int
    hidden: int
    feed_forward: int
    layers: int
    trained_layers: int
    heads: int
    labels: int
    fused: bool
    dropout: bool


@dataclass(frozen=True)
class RunShape:
    """Sizes of a run.

    Args:
        batch_size: Texts of a training step on a device.
        length: Tokens of the longest text of a batch.
        precision: `fp32`, `bf16` or `fp16`.
        optimizer: Its name.
        evaluated_rows: Of the largest split that is measured.
        keep_scores: Of each of its texts, see `evaluation.keep_scores`.
        checkpointing: Whether layers are computed again in the backward pass.
        on_cpu: Whether the process's own libraries share the memory.
    """

    batch_size: int
    length: int
    precision: str
    optimizer: str
    evaluated_rows: int
    keep_scores: int | None
    checkpointing: bool
    on_cpu: bool


def estimate_memory(model: ModelShape, run: RunShape) -> MemoryEstimate:
    """The memory a training step and an evaluation need at most.

    Args:
        model: Sizes of the model.
        run: Sizes of the run.
    """
    tokens = run.batch_size * run.length
    layer = layer_bytes(model, run)
    boundary = 4 * model.hidden
    kept = (model.trained_layers * boundary + layer) if run.checkpointing else model.trained_layers * layer
    # one layer's gradients are there beside its values; then logits, their gradient and the targets
    work = layer if model.trained_layers else 0
    activations = tokens * (kept + work + boundary) + 3 * 4 * run.batch_size * model.labels
    if run.precision != "fp32":
        activations += 2 * model.parameters  # autocast keeps its copies until the step is over
    in_part = is_kept_in_part(model.labels, run.keep_scores)
    scores = 8 * (run.keep_scores or KEEP_SCORES) if in_part else 3 * 4 * model.labels
    fitting = max((name for name in OPTIMIZER_BYTES if run.optimizer.startswith(name)), key=len)
    return MemoryEstimate(
        parameters=model.parameters,
        trainable=model.trainable,
        batch_size=run.batch_size,
        length=run.length,
        weights=4 * model.parameters,
        gradients=4 * model.trainable,
        optimizer=int(OPTIMIZER_BYTES[fitting] * model.trainable),
        activations=int(activations),
        evaluation=run.evaluated_rows * scores,
        libraries=LIBRARIES if run.on_cpu else 0,
    )


def layer_bytes(model: ModelShape, run: RunShape) -> int:
    """Bytes a layer keeps of each token for the backward pass."""
    size = 4 if run.precision == "fp32" else 2
    states = size * (8 * model.hidden + 2 * model.feed_forward)
    # normalisation runs and keeps its input in fp32 whatever the precision
    states += 2 * (4 - size) * model.hidden + (2 * model.hidden if model.dropout else 0)
    weights = 0 if model.fused else model.heads * run.length * (2 * size + 1)
    return states + weights

"""Training objectives: logits and targets in, one loss a row out; and the label weights that go into them."""

from hf_multilabel.losses.binary import LOSSES, WeightedLoss, bce, build_loss, weighted_bce
from hf_multilabel.losses.weights import CLASS_WEIGHTS, class_weights

__all__ = ["CLASS_WEIGHTS", "LOSSES", "WeightedLoss", "bce", "build_loss", "class_weights", "weighted_bce"]

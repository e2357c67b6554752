"""Training objectives: logits and targets in, one loss a row out; and the label weights that go into them.

targets.py    what targets may say (0 to 1, unknown, smoothed) and the mean over the known labels
binary.py, focal.py, asymmetric.py, balanced.py, zlpr.py    one family of losses each
weights.py    label counts -> one weight a label
registry.py   LOSSES; name, options and weight rules -> a ready loss
"""

from hf_multilabel.losses.asymmetric import asymmetric
from hf_multilabel.losses.balanced import class_balanced, distribution_balanced
from hf_multilabel.losses.binary import bce, weighted_bce
from hf_multilabel.losses.focal import focal
from hf_multilabel.losses.registry import LOSSES, WeightedLoss, build_loss, loss_options, loss_weights
from hf_multilabel.losses.weights import CLASS_WEIGHTS, class_weights, weights_table
from hf_multilabel.losses.zlpr import zlpr

__all__ = [
    "CLASS_WEIGHTS",
    "LOSSES",
    "WeightedLoss",
    "asymmetric",
    "bce",
    "build_loss",
    "class_balanced",
    "class_weights",
    "distribution_balanced",
    "focal",
    "loss_options",
    "loss_weights",
    "weighted_bce",
    "weights_table",
    "zlpr",
]

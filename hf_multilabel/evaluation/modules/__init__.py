"""The metrics as modules of the `evaluate` library, which load without a network and `combine`.

    f1 = MultiLabelF1(num_labels=5)                         # label sets as lists of ids
    f1 = MultiLabelF1("multi_hot")                          # label sets as L zeros and ones
    f1 = evaluate.load(str(MODULES / "f1.py"), num_labels=5)
    both = evaluate.combine([MultiLabelF1("multi_hot"), MultiLabelAUC("multi_hot")])
    both.compute(predictions=sets, references=truth, prediction_scores=probs)

Every row goes through the library's Arrow cache as a list, so they are for up to a few hundred labels; above that,
`evaluate_predictions` takes arrays and sparse matrices as they are.
"""

from pathlib import Path

from hf_multilabel.evaluation.modules.accuracy import MultiLabelAccuracy
from hf_multilabel.evaluation.modules.at_k import MultiLabelAtK
from hf_multilabel.evaluation.modules.auc import MultiLabelAUC
from hf_multilabel.evaluation.modules.average_precision import MultiLabelAveragePrecision
from hf_multilabel.evaluation.modules.base import MultiLabelMetric
from hf_multilabel.evaluation.modules.calibration import MultiLabelCalibration
from hf_multilabel.evaluation.modules.f1 import MultiLabelF1
from hf_multilabel.evaluation.modules.frequency import MultiLabelFrequencyF1
from hf_multilabel.evaluation.modules.jaccard import MultiLabelJaccard
from hf_multilabel.evaluation.modules.precision import MultiLabelPrecision
from hf_multilabel.evaluation.modules.propensity import MultiLabelPropensity
from hf_multilabel.evaluation.modules.ranking import MultiLabelRanking
from hf_multilabel.evaluation.modules.recall import MultiLabelRecall

MODULES = Path(__file__).parent

__all__ = [
    "MODULES",
    "MultiLabelAUC",
    "MultiLabelAccuracy",
    "MultiLabelAtK",
    "MultiLabelAveragePrecision",
    "MultiLabelCalibration",
    "MultiLabelF1",
    "MultiLabelFrequencyF1",
    "MultiLabelJaccard",
    "MultiLabelMetric",
    "MultiLabelPrecision",
    "MultiLabelPropensity",
    "MultiLabelRanking",
    "MultiLabelRecall",
]

"""The files that ship with every model: flat siblings that need torch and transformers only, never this package.

Importing one of them from here lets the Auto classes and `pipeline("multi-label-classification")` find them, and lets
saved models carry their code.
"""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.remote_code.pipeline_multilabel import MultiLabelClassificationPipeline

AutoConfig.register(MultiLabelConfig.model_type, MultiLabelConfig)
AutoModel.register(MultiLabelConfig, MultiLabelForSequenceClassification)
AutoModelForSequenceClassification.register(MultiLabelConfig, MultiLabelForSequenceClassification)
PIPELINE_REGISTRY.register_pipeline(
    "multi-label-classification",
    pipeline_class=MultiLabelClassificationPipeline,
    pt_model=AutoModelForSequenceClassification,
    type="text",
)
# "register" above finds classes in this process; these two lines copy their files beside saved weights
MultiLabelConfig.register_for_auto_class()
MultiLabelForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

"""Fine-tune ResNet18 on labelled folders; the result is a model bundle."""

from inspector.training.config import TrainConfig
from inspector.training.run import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "train"]

"""Fine-tune ResNet18 on labelled folders into a model bundle that scans."""

from inspector.training.config import TrainConfig
from inspector.training.run import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "train"]

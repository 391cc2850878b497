"""Fine-tune ResNet18 on labelled folders; the result is a model bundle."""

from inspector.facade import make_callable
from inspector.train.config import TrainConfig
from inspector.train.distil import DistilConfig, distil
from inspector.train.run import TrainResult, train

__all__ = ["DistilConfig", "TrainConfig", "TrainResult", "distil", "train"]

make_callable(__name__, train)

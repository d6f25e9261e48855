"""What every fine-tune imports and looks up: done once by the fork server, there in each run.

No seed, CUDA context or running thread here: all runs would share it. What is there before the
first run is frozen, so that no run's garbage collector walks through it or copies its pages.
"""

import gc
import warnings

from pipeline.core.processes import end_with_parent

end_with_parent()


warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from hydra.core.plugins import Plugins  # noqa: E402

from pipeline import records  # noqa: E402, F401 - loaded to be there
from pipeline.configuration import hydra_app  # noqa: E402, F401
from pipeline.dataset import prepared  # noqa: E402, F401
from pipeline.hardware import machine  # noqa: E402, F401
from pipeline.names import resolve, vision_learner  # noqa: E402, F401

Plugins.instance()  # it searches every installed package for plugins of Hydra
resolve.weights()  # timm's whole registry
gc.collect()
gc.freeze()

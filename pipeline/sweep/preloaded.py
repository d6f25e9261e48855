"""What the fork server imports, so that each run finds it there.

It first asks the kernel to end it with the sweep: Python's fork server ends when a pipe closes, but
every child holds that pipe open too. No seed, CUDA context or running thread here: all runs would
share it. What is there before the first run is frozen, so that no run's garbage collector walks
through it or copies its pages.
"""

from pipeline.core.processes import end_with_parent

end_with_parent()

import gc  # noqa: E402

from hydra.core.plugins import Plugins  # noqa: E402

from pipeline import records  # noqa: E402, F401 - loaded to be there
from pipeline.configuration import hydra_app  # noqa: E402, F401
from pipeline.dataset import prepared  # noqa: E402, F401
from pipeline.finetune import recipe, training, weights  # noqa: E402, F401
from pipeline.hardware import machine  # noqa: E402, F401
from pipeline.names import resolve, vision_learner  # noqa: E402, F401
from pipeline.sweep import engine  # noqa: E402, F401

Plugins.instance()  # it searches every installed package for plugins of Hydra
resolve.weights()  # timm's whole registry
gc.collect()
gc.freeze()

"""What every fine-tune imports: loaded once by the fork server, there already in each run.

Imports only: a seed, a CUDA context or a running thread here would be shared by all runs.
"""

import warnings

warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from pipeline import hydra_app, records  # noqa: E402, F401 - loaded to be there
from pipeline.datasets import prepared  # noqa: E402, F401
from pipeline.names import resolve, vision_learner  # noqa: E402, F401
from pipeline.trainer import hardware, recipe, training, weights  # noqa: E402, F401

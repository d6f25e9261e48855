"""YAML files of data: params.yaml, conf/, recipes."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import PipelineError


def read_yaml(path: Path) -> Any:
    """The content of a YAML file that holds data only; anything else is one clear line."""
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # C if built
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not text (byte {error.start} is not UTF-8)") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PipelineError(f"{path}: not YAML: {error}") from None

#!/usr/bin/env bash
# torch 2.15.0 with torchvision 0.29.2: `import torchvision` (also of `torchvision.transforms` alone, and
# so `import timm` and fastai) loads torch.compile's whole stack: Dynamo, Inductor, FSDP, sympy and,
# where it is installed, Triton. torchvision/ops/roi_align.py imports one function of torch._dynamo.utils.
# `import torch` by itself loads none of them, and a program that never compiles pays at each start.
#
# Seen: 1,205 modules after `import torch`, 2,299 after `import torchvision.transforms`; 2.9 and 5.7 CPU
# seconds on one core of an AMD EPYC, modules compiled before (n = 1).
# Expected: compilation loaded when it is first used, as torch itself does.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2
cd "$work"
count() {
  "$work/env/bin/python" -W ignore - "$1" <<'P'
import importlib
import sys
import time

start = time.process_time()
importlib.import_module(sys.argv[1])
stack = ("torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "sympy")
loaded = [name for name in stack if name in sys.modules]
seconds = time.process_time() - start
print(f"{sys.argv[1]}: {len(sys.modules)} modules, {seconds:.1f} CPU s, of the compiler: {loaded or 'nothing'}")
sys.exit(len(loaded) != (0 if sys.argv[1] == "torch" else len(stack)))
P
}
count torch >/dev/null # compiles the modules once
count torchvision >/dev/null
count torch
count torchvision.transforms
echo "as described: importing torchvision loads the compiler that importing torch does not"

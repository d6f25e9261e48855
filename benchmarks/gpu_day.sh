#!/usr/bin/env bash
# gpu_day.sh OUT IMAGES [OPTION ...]: everything that a GPU has to say of our fits, in under eight
# minutes and without network. IMAGES is the folder that conf/dataset/pets.yaml takes.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -m benchmarks.gpu_day "$@"

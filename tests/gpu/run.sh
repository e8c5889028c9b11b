#!/usr/bin/env bash
# Checks and measures everything that has a device, in at most six minutes on one CUDA machine:
#     bash tests/gpu/run.sh NAME                      -> results/gpu/NAME.json and NAME.md
#     bash tests/gpu/run.sh dry --device cpu --small  -> the dry run, two minutes on two cores
# Further arguments are those of tests/gpu/check.py. Where optbench is not installed it is laid out from this checkout;
# then torch, numpy, scikit-learn, rich, psutil, pandas and the like have to be there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
name=${1:?a name for the results, such as that of the card}; shift
if ! (cd / && "$python" -c "import optbench.problems") 2>/dev/null; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  cp -r "$root/optbench" "$site/optbench" && cp -r "$root/problems" "$site/optbench/problems"
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml")
  mkdir "$site/optbench-$version.dist-info"
  printf 'Metadata-Version: 2.1\nName: optbench\nVersion: %s\n' "$version" >"$site/optbench-$version.dist-info/METADATA"
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$root/tests/gpu/check.py" "$name" --out "$root/results/gpu" "$@"

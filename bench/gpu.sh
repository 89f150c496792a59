#!/bin/sh
# Everything that a real GPU is asked once: its card, correctness, speed, and PyTorch beside it.
#
#   sh bench/gpu.sh NAME [PYTHON]
#
# Writes bench/adapters/, bench/results/NAME-DATE-*.json and .html. PYTHON needs PyTorch (with CUDA for numbers worth having); without it
# that part is left out. Each step says when it starts; a step that fails does not stop the others, and the script ends with 1.
set -u
name=${1:?usage: sh bench/gpu.sh NAME [PYTHON]}
python=${2:-python3}
cd "$(dirname "$0")/.."
results="bench/results/$name-$(date +%F)"
failed=""

step() {
  printf '\n=== %s (%s)\n' "$1" "$(date +%T)"
  shift
  "$@" || failed="$failed
  $*"
}

step "adapter card" npm run --silent bench -- adapter
step "correctness: operators, networks, engine" npx vitest run test/kernels test/graph test/models test/fusion
step "ReFusion, f32" npm run --silent bench -- refusion --official --json "$results-refusion.json" --html "$results-refusion.html"
step "Mask-DiFuser, published sizes, f32" npm run --silent bench -- mask-difuser --official --json "$results-mask-difuser.json" --html "$results-mask-difuser.html"
step "Mask-DiFuser c4, f32" npm run --silent bench -- mask-difuser --size 128x128 256x256 640x480 --json "$results-mask-difuser-c4.json"
if [ "$(node -p 'JSON.parse(fs.readFileSync(process.argv[1])).peaks.f16GigaflopsPerSecond > 0' "$results-refusion.json" 2>/dev/null)" = true ]; then
  step "ReFusion, f16" npm run --silent bench -- refusion --official --precision f16 --json "$results-refusion-f16.json"
  step "Mask-DiFuser, published sizes, f16" npm run --silent bench -- mask-difuser --official --precision f16 --json "$results-mask-difuser-f16.json"
fi
if "$python" -c 'import torch' 2>/dev/null; then
  step "PyTorch" "$python" bench/peers/torch_bench.py --json "$results-torch.json"
  if [ -d bench/peers/node_modules/onnxruntime-node ]; then
    step "onnxruntime, ReFusion" npm run --silent bench -- refusion --peers --python "$python" --size 640x480 --kernel-size 640x480 --json "$results-refusion-peers.json"
    step "onnxruntime, Mask-DiFuser c4" npm run --silent bench -- mask-difuser --peers --python "$python" --size 128x128 256x256 --kernel-size 256x256 --json "$results-mask-difuser-peers.json"
  fi
fi

if [ -n "$failed" ]; then
  printf '\nfailed:%s\n' "$failed"
  exit 1
fi

#!/bin/sh
# The reduced schedule for all four tasks, one after another, on one core. Run again to go on after a stop.
#   tools/train/refusion/train_all.sh DATA OUT [MINUTES_FIRST MINUTES_OTHERS]
# The first task starts from random weights; the others start from the networks it ends with.
set -eu
data=$1
out=$2
first=${3:-30}
others=${4:-17}
here=$(dirname "$0")
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1
"$python" "$here/train.py" --data "$data" --task infrared-visible --out "$out/infrared-visible" \
  --reduced --minutes "$first" --resume
for task in multi-focus medical multi-exposure; do
  "$python" "$here/train.py" --data "$data" --task "$task" --out "$out/$task" \
    --reduced --minutes "$others" --start "$out/infrared-visible/checkpoint.pt" --resume
done

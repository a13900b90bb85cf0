#!/usr/bin/env bash
# Sets up the environment once and runs a command in it; see `bash run.sh help`.
set -euo pipefail
export CALLED_FROM="$PWD" # relative paths on the command line are meant from there
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV="${VENV:-.venv}"

usage() {
  cat <<'HELP'
bash run.sh demo                   RGB alone, and RGB taught by depth and flow, on rendered clips, with a page of pictures
bash run.sh install                what every other command does first: installs the packages, once
bash run.sh test [flags]           ruff, mypy, then pytest with the flags, on up to four cores
bash run.sh nwucla [flags]         the paper's experiment on NW-UCLA, in data/nwucla
bash run.sh uwa3dii [flags]        the same on UWA3D Multiview Activity II, in data/uwa3dii
bash run.sh ntu60 [flags]          the same on NTU RGB+D 60, in data/ntu; likewise ntu120 and ntu120mini
bash run.sh utd_mhad [flags]       depth, flow and skeletons of UTD-MHAD, in data/utd_mhad
bash run.sh custom --videos=CSV    the same on your own videos, which the CSV file lists
bash run.sh DATASET STAGE [flags]  one stage of it: prepare, train, evaluate or export
bash run.sh predict [flags]        the class of the samples; of own videos with --model=… --rgb=clip.mp4
bash run.sh serve [flags]          a server with a page to try a model on videos; wants EXTRAS=serve
bash run.sh experiments [flags]    all methods and seeds at compact scale, and a report; --dry_run lists the runs
bash run.sh report [flags]         tables, figures and verdicts of finished runs: --runs=… --output=…
bash run.sh check DATASET [flags]  what is wrong with raw files, before any work; `check records` reads every record
bash run.sh benchmarks [flags]     speed and memory, beside those of an earlier run; --quick sees that all run
bash run.sh random_features [flags] Table 2: k-NN on features of untrained networks
bash run.sh COMMAND --help         the flags of a command
bash run.sh help                   this text

Flags go to the stages that know them; complete stages are skipped, and the same command continues what was
interrupted. Some flags:
  --method=dmcl                    what is trained; bash run.sh nwucla train --help lists the methods
  --recipe=authors|paper           settings of the authors' code, or of the paper
  --scale=full|compact             full size, or a small version for machines without a GPU
  --seed=0                         seed of weights, order and augmentation
  --train_fraction=0.25            a part of the training videos, the same of every class
  --train_views=1,2 --test_view=3  the cross-view protocol of NW-UCLA; UWA3DII tests on all other views
  --protocol=cross_subject         of NTU RGB+D; or cross_view (60), cross_setup (120)
  --depth_mode=as_is|clip_mm|…     how depth becomes 8 bits
  --flow_algorithm=tvl1|dis|…      how optical flow is computed
  --crop=person                    cuts frames to the person, of UTD-MHAD, NTU RGB+D and own depth
  --part=3/100                     prepares a fixed hundredth of the videos, for schedulers
  --runner=beam --beam_options=…   prepares the records as an Apache Beam pipeline

Environment: PYTHON, the interpreter (python3); VENV, where packages are installed (.venv); EXTRAS, extras of
pyproject.toml to install as well, such as beam, which are kept; DATA_ROOT, the folder that holds the data sets (data).
HELP
}

EXTRAS="${EXTRAS-}"
EXTRAS="${EXTRAS// /}"

is_installed() {
  [ -f "$VENV/complete" ] && [ "$(cat "$VENV/complete")" = "$1" ]
}

# Those that EXTRAS names and the environment lacks.
missing_extras() {
  local extra installed
  installed=",$(cat "$VENV/extras" 2>/dev/null || true),"
  for extra in $(tr ',' ' ' <<<"${EXTRAS-}"); do
    case "$installed" in *",$extra,"*) ;; *) echo "$extra" ;; esac
  done
}

# Packages are installed once, and again only when their list or the interpreter changes. Extras are added to them.
prepare_environment() {
  local python="${PYTHON:-python3}" version stamp added extra=()
  version="$("$python" -c 'import sys; assert (3, 9) <= sys.version_info < (3, 14); print(sys.version)' 2>/dev/null)" || true
  if [ -z "$version" ]; then
    echo "error: $python is not a working Python 3.9 to 3.13; set PYTHON to one" >&2
    exit 2
  fi
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    extra=("tensorflow[and-cuda]")
  fi
  stamp="$version ${extra[*]-} $PWD $(cat requirements.txt pyproject.toml | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
  if is_installed "$stamp" && [ -z "$(missing_extras)" ] && [ ! -e "$VENV.extras" ]; then
    return
  fi
  # one installation at a time; the lock ends with this process
  exec 9>>"$VENV.lock"
  if ! "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then
    echo "process $(cat "$VENV.lock") installs into $VENV: waiting for it" >&2
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  fi
  echo "$$" >"$VENV.lock"
  if ! is_installed "$stamp"; then
    # the folder is cleared: it must be an environment, or nothing that anyone could miss
    if [ -n "$(ls -A "$VENV" 2>/dev/null)" ] && [ ! -e "$VENV/pyvenv.cfg" ] && [ ! -e "$VENV/bin/python" ]; then
      echo "error: VENV=$VENV is no Python environment and not empty; set VENV to a new folder" >&2
      exit 2
    fi
    echo "installing the packages of requirements.txt into $VENV, once; this takes a few minutes" >&2
    # what was there is there again, also where an installation fails before
    [ ! -e "$VENV/extras" ] || cp "$VENV/extras" "$VENV.extras"
    rm -f "$VENV/complete" "$VENV/extras"
    "$python" -m venv --clear "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt "${extra[@]+"${extra[@]}"}"
    printf '%s' "$stamp" >"$VENV/complete"
  fi
  EXTRAS="$EXTRAS,$(cat "$VENV.extras" 2>/dev/null || true)"
  added="$(missing_extras | sort -u | paste -sd, -)"
  if [ -n "$added" ]; then
    echo "adding $added to $VENV" >&2
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$added]"
    printf '%s,' "$added" >>"$VENV/extras"
  fi
  rm -f "$VENV.extras"
  exec 9>&-
}

case "${1:-help}" in
  help | -h | --help)
    usage
    ;;
  install)
    prepare_environment
    ;;
  test)
    shift
    prepare_environment
    "$VENV/bin/ruff" check .
    "$VENV/bin/ruff" format --check .
    "$VENV/bin/mypy"
    # a file's tests share what they prepare, so files are dealt out whole
    exec "$VENV/bin/python" -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
    ;;
  benchmarks)
    shift
    prepare_environment
    exec "$VENV/bin/python" -m benchmarks.runner "$@"
    ;;
  *)
    prepare_environment
    exec "$VENV/bin/python" -m workflow "$@"
    ;;
esac

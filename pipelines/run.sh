# shellcheck shell=bash
# Sourced by train and distributed: a run's options and folder, its processes, and its restarts.
#
# A run is a set of processes of which each is needed: start() starts one, watch() waits until all
# have ended well or one has not. A pipeline says in attempt() which ones these are, beginning at
# step $start; run_to_the_end() makes attempts until one comes through.

# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run='' data=shapes batch=128 epochs=10 steps=0 limit=0 seed=0 save_every=100 keep_every=0 restarts=3 timeout=60
augment='augment' encoder='encode' projector='project' loss='ntxent'
optimizer='lars --scaling sqrt --warmup 1'
resume=
stages='augment encoder projector loss optimizer' # a pipeline may have others
known="run data batch epochs steps limit seed save_every keep_every restarts timeout $stages"

run_help() {
    local stage
    cat <<END
  --run DIR         the run's folder [runs/DATA-TIME]
  --data PATH       images, as augment takes them [$data]
  --batch B         images a step [$batch]
  --epochs E        passes over the data [$epochs]
  --steps N         steps, instead of epochs [$steps]
  --limit IMAGES    only the first so many; 0: all [$limit]
  --seed N          of views and initial parameters [$seed]
  --save-every N    steps between saved states [$save_every]
  --keep-every N    keep the models of every N steps, as model-N.safetensors; 0: none [$keep_every]
  --restarts N      after a failure, from the last state; as many until the next state [$restarts]
  --timeout S       seconds that stages wait for each other [$timeout]
  --resume          go on with --run DIR, with the options it was started with

Each stage is a command, and another one can take its place:
END
    for stage in $stages; do
        printf '  %-17s [%s]\n' "--$stage CMD" "${!stage}"
    done
}
run_help_files() {
    cat <<END
In the run's folder: model.safetensors, state.safetensors, metrics.tsv, log.txt (what the stages
said) and commands.sh (what was run). SIGTERM and SIGINT save a state and end the run.
END
}

# Reads the options into variables; help() is the pipeline's.
parse_options() {
    local word arguments=("$@")
    for word in "$@"; do
        [ "$word" != --resume ] || resume=1
    done
    if [ -n "$resume" ]; then
        while [ $# -gt 0 ]; do # --run comes first: what it holds are the defaults
            [ "$1" = --run ] && [ $# -ge 2 ] && run=$2
            shift
        done
        [ -n "$run" ] || usage_error "--resume needs --run DIR"
        [ -f "$run/options" ] || die "$run/options: no run to resume"
        # shellcheck source=/dev/null
        . "$run/options"
    fi
    set -- "${arguments[@]}"
    while [ $# -gt 0 ]; do
        case $1 in
        --help)
            help
            exit
            ;;
        --resume) shift ;;
        *)
            set_option "$known" "$@"
            shift 2
            ;;
        esac
    done
    [ "$data" != - ] || usage_error "--data -: a run may have to start again, and stdin comes once"
    [ -n "$run" ] || run=runs/$(basename "$data" | tr -c '[:alnum:]._\n-' _)-$(date +%Y%m%d-%H%M%S)
}

# The folder, for this run alone: a lock that all its processes hold is waited for, since those of
# a run whose script was killed may still be saving.
open_folder() {
    [ -n "$resume" ] || [ ! -e "$run/state.safetensors" ] ||
        die "$run holds a run already; --resume goes on with it, another --run starts anew"
    mkdir -p "$run"
    exec 9>>"$run/lock"
    flock -w 60 9 || die "$run: another run is at work there"
    remove_sockets
    if is_complete; then
        echo "$pipeline: $run is complete: $(saved step) steps"
        conclude
        exit 0
    fi
    # shellcheck disable=SC2086 # a list of names
    declare -p $known | sed 's/^declare -- //' >"$run/options" # a declaration would be a function's
}
# Of this attempt, or of one whose script was killed; where they are stands in the lock's file.
remove_sockets() {
    local folder
    folder=$(cat "$run/lock")
    [ -z "$folder" ] || rm -rf "$folder"
    : >"$run/lock"
}
conclude() { # what a pipeline does with the model
    :
}

# The commands of the stages; a pipeline adds the links.
# shellcheck disable=SC2034 # for the pipelines
set_commands() {
    local length="--epochs $epochs"
    patience=
    [ "$steps" = 0 ] || length="--steps $steps"
    [ "$timeout" = 60 ] || patience=" --timeout $timeout" # which is what they do by themselves
    augment_command="$augment --data $(quote "$data") --batch $batch $length --limit $limit --seed $seed --start $start"
    projector_command="$projector$patience --seed $seed --opt $opt --next $(quote "exec:$loss")"
    encoder_command="$encoder$patience --seed $seed"
    optimizer_command="$optimizer$patience --listen $opt --save-every $save_every"
    optimizer_command+=" --state $(quote "$run/state.safetensors") --model $(quote "$run/model.safetensors")"
    [ "$keep_every" = 0 ] || optimizer_command+=" --keep-every $keep_every"
    [ "$start" = 0 ] || optimizer_command+=" --resume"
    progress_command="progress --log $(quote "$run/metrics.tsv") --out /dev/null"
}

# ---- processes ----

declare -A names=() # of those that run, by their numbers
optimizer_pid=
asked= # the status to end with, when a signal asked to

# What this script starts shall not outlive it, not even where it is killed.
bound=()
! command -v setpriv >/dev/null || bound=(setpriv --pdeathsig TERM --)

# start NAME COMMAND: in a process group of its own; what it says goes to the log.
start() {
    "${bound[@]}" bash -c "[ \$PPID = $$ ] || exit 1; $2" </dev/null 2>>"$run/log.txt" &
    names[$!]=$1
    [ "$1" != optimizer ] || optimizer_pid=$!
}

# 0 when all have ended well; else what failed stands in $failed.
watch() {
    local pid status
    while [ ${#names[@]} -gt 0 ]; do
        status=0 pid=
        wait -n -p pid "${!names[@]}" || status=$?
        [ -n "${pid-}" ] || continue # a signal came between: wait has unset it
        failed="the ${names[$pid]} exited with status $status"
        [ $status -le 128 ] || failed="the ${names[$pid]} was killed by SIG$(kill -l $((status - 128)))"
        unset "names[$pid]"
        [ $status = 0 ] || return $status
    done
}

running() {
    local pid
    for pid in "${!names[@]}"; do
        ! kill -0 "$pid" 2>/dev/null || return 0
    done
    return 1
}

# Those that are linked to what failed end by themselves, and say why; the others are told to.
stop_all() {
    local signal pid tries
    for signal in 0 TERM KILL; do
        for pid in "${!names[@]}"; do
            kill -$signal -- -"$pid" 2>/dev/null || true
        done
        tries=$([ $signal = 0 ] && echo 10 || echo 50)
        while [ "$tries" -gt 0 ] && running; do
            sleep 0.1
            tries=$((tries - 1))
        done
    done
    wait 2>/dev/null || true
    names=()
    optimizer_pid=
}

# Asked to stop, the optimizer finishes the step under way and saves it; then the others find it gone.
on_signal() { # status to end with
    asked=$1
    [ -z "$optimizer_pid" ] || kill -TERM "$optimizer_pid" 2>/dev/null || true
}

clean_up() {
    trap - EXIT
    stop_all
    remove_sockets
}

# ---- attempts ----

random() {
    od -An -N8 -tx8 /dev/urandom | tr -d ' '
}
log_size() {
    wc -c 2>/dev/null <"$run/log.txt" || echo 0
}
log_sum() {
    cksum 2>/dev/null <"$run/metrics.tsv" || echo none
}

try_once() {
    local said status=0
    said=$(log_size)
    start=$(saved_step)
    start=${start:-0}
    # Socket paths are limited to about 100 bytes, so sockets do not lie in the run's folder.
    sockets=${TMPDIR:-/tmp}/simclr.$(random)
    echo "$sockets" >"$run/lock" # first, so that none is forgotten
    mkdir -m 700 "$sockets"
    opt=ipc://$sockets/optimizer
    # So that a process of another attempt, on this machine or elsewhere, has no part in this one.
    SIMCLR_RUN=$(random)
    export SIMCLR_RUN
    set_commands
    echo "# $(date '+%F %T'), from step $start" >>"$run/commands.sh"
    attempt
    watch || status=$?
    stop_all
    remove_sockets
    [ $status != 0 ] || return 0
    [ -z "$asked" ] || return 1
    say "$failed; the stages said:"
    tail -c "+$((said + 1))" "$run/log.txt" | grep -v ': edge ' | head -n 20 | sed 's/^/  /' >&8
    return 1
}

say() {
    echo "$pipeline: $*" >&8
}
saved_step() {
    [ ! -f "$run/state.safetensors" ] || saved step
}

# A failure may be chance where steps were made before it. One that comes again before another state
# was saved is counted.
run_to_the_end() {
    exec 8>&2 2>>"$run/log.txt" # the shell tells of each job that it ends
    local failures=0 before state first=1 pause
    # An idle thread that spins takes a core from the other stages.
    export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} SIMCLR_EDGES=${SIMCLR_EDGES-1}
    set -m # a process group for each process that is started
    trap clean_up EXIT
    trap 'on_signal 143' TERM
    trap 'on_signal 130' INT
    while before=$(log_sum) && state=$(saved_step) && ! try_once; do
        if [ -n "$asked" ]; then
            if [ -f "$run/state.safetensors" ]; then
                say "stopped after $(saved step) steps; --resume --run $run goes on"
            else
                say "stopped before a state was saved"
            fi
            exit "$asked"
        fi
        if [ "$(saved_step)" != "$state" ]; then
            failures=0
        elif [ $first = 1 ] && [ "$(log_sum)" = "$before" ]; then
            failures=$restarts
        fi
        first=0
        failures=$((failures + 1))
        if [ $failures -gt "$restarts" ]; then
            say "$run/log.txt has it all, $run/commands.sh what was run"
            exit 1
        fi
        pause=$((1 << (failures < 6 ? failures - 1 : 5)))
        say "again in $pause s, from the last state ($failures of $restarts)"
        sleep $pause &
        wait $! || true
        [ -z "$asked" ] || exit "$asked"
    done
    echo "$pipeline: the model is $run/model.safetensors"
    conclude 2>&8
}

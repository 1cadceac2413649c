# shellcheck shell=bash
# train, distributed and finetune source this. It reads the options of a run and builds the commands of
# its stages. The program supervise runs these commands, restarts them and ends them.

run='' data=shapes batch=128 epochs=10 steps=0 limit=0 hold='' seed=0
save_every=100 keep_every=0 restarts=3 timeout=60 resume=''
augment='augment' encoder='encode' projector='project' predictor='' loss='ntxent'
optimizer='lars --scaling sqrt --warmup 1' progress='progress'
stages='augment encoder projector predictor loss optimizer progress' # a pipeline may set others
recipe='' recipes=1 # a pipeline that takes no recipes sets recipes=
known="data batch epochs steps limit hold seed save_every keep_every restarts timeout"
free='save-every keep-every restarts timeout progress' # may differ when a run is resumed; a pipeline may add to them

run_help() {
    local stage
    [ -z "$recipes" ] || cat <<HELP
  --recipe NAME     begin with the options of a recipe, see below; or of a file, ./FILE. Other options
                    of the command line win
HELP
    cat <<HELP
  --run DIR         the run's folder [runs/DATA-TIME-XXXX]
  --data PATH       images, as augment takes them [$data]
  --batch B         images in each step [$batch]
  --epochs E        passes over the data [$epochs]
  --steps N         steps, instead of epochs [$steps]
  --limit N         use only N of the images; 0: all [$limit]
  --hold SHARE      if the data has no test part, hold out this share of each class for testing
  --seed N          seed of the views and the initial parameters [$seed]
  --save-every N    steps between saved states [$save_every]
  --keep-every N    keep the models of every N steps, as model-N.safetensors; 0: none [$keep_every]
  --restarts N      restarts in a row without a new state before the run gives up [$restarts]
  --timeout S       seconds that stages wait for each other [$timeout]
  --resume          continue the run in --run DIR, with the options that it was started with;
                    --steps and --epochs may be larger
$(common_help)

Each stage is a command, which another command can replace:
HELP
    for stage in $stages; do
        printf '  %-17s [%s]\n' "--$stage CMD" "${!stage:-none}"
    done
    [ -z "$recipes" ] || printf '\nRecipes:\n%s\n' "$(list_recipes)"
}
run_help_files() {
    echo "The run's folder gets model.safetensors, state.safetensors, metrics.tsv, cost.tsv (the CPU time of"
    echo "each program), log.txt (the messages of the stages) and commands.sh (the commands that were run)."
    echo "SIGTERM and SIGINT save a state and end the run. pipelines/report makes a page of all this."
}

# ---- recipes: files in the form of a run's options ----

# Prints their names and the first lines of their comments. The pipeline sets $here, its folder.
list_recipes() {
    local file
    # shellcheck disable=SC2154 # the pipeline's
    for file in "$here"/recipes/*; do
        printf '  %-23s %s\n' "${file##*/}" "$(sed -n '1s/^# *//p' <"$file")"
    done
}

# shellcheck disable=SC2154 # common.sh sets $pipeline
set_from_recipe() { # NAME VALUE; $file is the recipe
    [[ " $known " == *" ${1//-/_} "* ]] || die "$file: --$1 is no option of $pipeline"
    printf -v "${1//-/_}" %s "$2"
}
# Reads $recipe into the variables of the options. supervise reads the file, as data.
take_recipe() {
    local names file=$recipe
    mapfile -t names < <(list_recipes | awk '{ print $1 }')
    case $recipe in
    '') usage_error "--recipe needs a value" ;;
    list) list_recipes && exit ;;
    */*) [ -f "$file" ] || die "$file: no such recipe" ;;
    *)
        file=$here/recipes/$recipe
        [[ " ${names[*]} " == *" $recipe "* ]] ||
            usage_error "--recipe: '$recipe' is none of ${names[*]}, nor ./FILE$(nearest '' "$recipe" "${names[@]}")"
        ;;
    esac
    each_option set_from_recipe --options "$file"
}

# ---- options ----

# Reads the options into variables. The pipeline defines help().
parse_options() {
    local name i given='' arguments=("$@")
    known+=" $stages"
    for ((i = 0; i < $#; i++)); do
        answer_option "${arguments[i]}"
        if [ "${arguments[i]}" = --resume ]; then resume=1; else
            [ "${arguments[i]}" != --run ] || run=${arguments[i + 1]-}
            [ "${arguments[i]}" != --recipe ] || recipe=${arguments[i + 1]-} given=$recipes
            i=$((i + 1))
        fi
    done
    run=$(plain_path "$run")
    if [ -n "$resume" ]; then # the options that the run was started with are the defaults
        [ -n "$run" ] || usage_error "--resume needs --run DIR"
        [ -f "$run/options" ] || die "$run/options: no run to resume"
        recall "$run"
        for name in $known; do
            [ ! -v "recorded[$name]" ] || printf -v "$name" %s "${recorded[$name]}"
        done
    fi
    [ -z "$given" ] || take_recipe
    while [ $# -gt 0 ]; do
        case $1 in
        --resume) shift ;;
        --recipe)
            [ -n "$given" ] || unknown_option "$1"
            shift 2
            ;;
        --run) shift 2 || usage_error "--run needs a value" ;;
        *)
            set_option "$known" "$@"
            shift 2
            ;;
        esac
    done
}

check_options() {
    need_whole 1 batch epochs
    need_whole 0 steps limit seed save_every keep_every restarts
    need_seconds timeout
    [ -z "$hold" ] || need_share hold
    # shellcheck disable=SC2086 # a list
    need_command data ${stages/ predictor / }
    [ -z "$predictor" ] || need_command predictor
    [[ ! $progress =~ [[:space:]]--log([[:space:]=]|$) ]] ||
        usage_error "--progress '$progress': a run's log is its metrics.tsv, so --log cannot be given"
    [ "$data" != - ] || usage_error "--data -: a run may have to start again, and stdin comes once"
    [ -n "$run" ] || run=$(mktemp -u -- "runs/$(basename -- "$data" | tr -c '[:alnum:]._-' _ | cut -c 1-40)-$(date +%Y%m%d-%H%M%S)-XXXX")
}

# Whether the loss has a queue: an option --queue that is not 0, outside of quotes.
has_queue() {
    local bare
    bare=$(sed -zE "s/'[^']*'|\"([^\"\\\\]|\\\\.)*\"|\\\\.//g" <<<"$loss")
    [[ $bare =~ (^|[[:space:]])--queue([[:space:]=]|$) ]] && [[ ! $bare =~ [[:space:]]--queue[[:space:]=]+0+([[:space:]]|$) ]]
}

# Idle threads sleep: if they spun, they would take cores from the other stages.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
edges=${SIMCLR_EDGES-1} # the stages log the traffic of each link

# Sets the commands of the stages, for /bin/sh; a pipeline adds the links. supervise sets the variables
# SIMCLR_* for each attempt.
# shellcheck disable=SC2016,SC2034 # /bin/sh expands them; the pipelines use the commands
set_commands() {
    local length="--epochs $epochs" patience='' state model loss_command predictor_command
    [ "$steps" = 0 ] || length="--steps $steps"
    [ "$timeout" = 60 ] || patience=" --timeout $timeout" # 60 is their own default
    state=$(quote "$run/state.safetensors") model=$(quote "$run/model.safetensors")
    opt='"ipc://$SIMCLR_SOCKETS/optimizer"' views='"$SIMCLR_SOCKETS/views"' metrics='"$SIMCLR_SOCKETS/metrics"'
    augment_command="exec $augment --data $(quote "$(plain_path "$data")") --batch $batch $length --limit $limit${hold:+ --hold $hold} --seed $seed --start \$SIMCLR_START"
    loss_command=$loss
    ! has_queue || loss_command+=" --opt $opt" # the optimizer keeps the queue
    predictor_command="$predictor$patience --seed $seed --opt $opt --next $(quote "exec:$loss_command")"
    [ -n "$predictor" ] || predictor_command=$loss_command
    projector_command="$projector$patience --seed $seed --opt $opt --next $(quote "exec:$predictor_command")"
    classifier_command="${classifier-}$patience --seed $seed --opt $opt"
    encoder_command="exec $encoder$patience --seed $seed"
    optimizer_command="exec $optimizer$patience --listen $opt --save-every $save_every --state $state --model $model \$SIMCLR_RESUME"
    [ "$keep_every" = 0 ] || optimizer_command+=" --keep-every $keep_every"
    progress_command="SIMCLR_EDGES='' exec $progress --log $(quote "$run/metrics.tsv") --out /dev/null"
}

# Prints the options in the form of the file `options` in the run's folder.
settings() {
    local name value
    for name in $known; do
        value=${!name//\\/\\\\}
        printf -- '--%s %s\n' "${name//_/-}" "${value//$'\n'/\\n}"
    done
}
# Replaces this script by supervise, which runs the processes NAME=CMD. The arguments are more options
# of supervise, and the processes.
supervise_run() {
    # shellcheck disable=SC2154 # common.sh's
    SIMCLR_EDGES=$edges exec supervise --name "$pipeline" --run "$run" ${resume:+--resume} --restarts "$restarts" --timeout "$timeout" \
        --options - --free "$free" --raise 'steps epochs' --commands "$stages" "$@" < <(settings)
}

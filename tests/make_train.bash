# shellcheck shell=bash disable=SC2154 # lib.sh sets ROOT and T
# Tests of `make train` source this after lib.sh.
#
#   make_train VARIABLE=VALUE...     sets the array `arguments` to the options that `make train` with these
#                                    variables gives to pipelines/train
#   train [OPTION VALUE]...          runs pipelines/train with these and more options

# make only prints its commands, and leaves build/ alone.
make_train() {
    local line
    arguments=()
    line=$(env -u MAKEFLAGS -u MAKELEVEL -u BIN make --no-print-directory -n -C "$ROOT" "BUILD=$T/build" train "$@" | grep '^pipelines/train ')
    eval "arguments=(${line#pipelines/train })"
}
train() {
    "$ROOT/pipelines/train" "${arguments[@]}" "$@"
}

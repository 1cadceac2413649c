#!/usr/bin/env bash
# Runs whose data comes from commands (--data 'exec:...'): train, distributed and evaluate end in the same
# numbers as with files, also if a command breaks off.
set -eu
. "$(dirname "$0")/../lib.sh"

PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/exec_shards.py" make
mkdir "it's {here}"
cp parts.tar "it's {here}/p-0.tar"
commands="exec:cat \"it's \\{here}/p-{0..0}.tar\""
small=(--batch 8 --steps 4 --save-every 2 --encoder 'encode --width 0.25' --projector 'project --dim 16')
train() { # FOLDER DATA...
    in_time "$ROOT/pipelines/train" --run "$1" --data "${@:2}" "${small[@]}" >out 2>&1 || { cat out && false; }
}
same_models() { # FOLDER: ends in the model of the run on the file
    cmp files/model.safetensors "$1/model.safetensors"
}
check "a run on a file" train files parts.tar
check "a run on a command, whose folder has quotes and braces" train commands "$commands"
check "ends in the same model" same_models commands
cat >once <<'END'
#!/bin/sh
n=$(cat n 2>/dev/null || echo 0)
echo $((n + 1)) >n
if [ "$n" -lt 2 ]; then head -c 9000 "$1"; else cat "$1"; fi
END
check "a run on a command that breaks off" train breaks 'exec:sh once parts.tar' --augment 'augment --retries 3 --cache 0 --shuffle 50'
check "was run again" grep -q 'it runs again in' breaks/log.txt
check "a run on a stream" train stream parts.tar.gz --augment 'augment --cache 0 --shuffle 50'
check "ends in the same model as the run that broke off" cmp stream/model.safetensors breaks/model.safetensors
resumed() {
    in_time "$ROOT/pipelines/train" --run commands --resume --steps 6 >out 2>&1 && in_time "$ROOT/pipelines/train" --run files --resume --steps 6 >out 2>&1
}
check "a run that is resumed" resumed
check "ends in the same model as on the file" same_models commands
workers() { # FOLDER DATA
    in_time "$ROOT/pipelines/distributed" --run "$1" --workers 2 --data "$2" "${small[@]}" >out 2>&1 || { cat out && false; }
}
check "two workers on a file" workers files-2 parts.tar
check "two workers on a command" workers commands-2 "$commands"
check "end in the same model" cmp files-2/model.safetensors commands-2/model.safetensors
evaluated() { # FOLDER
    in_time "$ROOT/pipelines/judge" --run "$1" --on h --bootstrap 0 >"$1.out" 2>err || { cat err && false; }
}
check "an evaluation on the test part that a command delivers" evaluated commands
check "an evaluation on the file" evaluated files
check "gives the same numbers" eval 'diff <(sed s/commands/files/g commands.out) files.out'
no_part() {
    train without "exec:cat photos.tar" && ! evaluated without >err && grep -q 'has no test part .*--hold' err
}
check "without a test part it is refused" no_part

done_testing

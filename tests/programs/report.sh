#!/usr/bin/env bash
# page and pipelines/report: what is on the page is what the run's files hold, no text of the run can be
# HTML, and parts that cannot be made are left out with a line. tests/full/report_browser.sh looks at the
# page with a browser.
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy PIL; then
    skip "pages" "python3-numpy and python3-pil are not installed"
    done_testing
    exit
fi
page_has() { /usr/bin/python3 "$ROOT/tests/report_check.py" "$@"; }
train() { "$ROOT/pipelines/train" --batch 8 --encoder 'encode --width 0.0625 --threads 1' --projector 'project --dim 16' "$@" >train.out 2>&1; }
make_report() { "$ROOT/pipelines/report" "$@"; }

# ---- page ----

cat >page_check.py <<'END'
import json
import sys

import numpy as np

random = np.random.default_rng(5)
if sys.argv[1] == "make":
    values = random.normal(size=2345)
    with open("long.tsv", "w") as file:
        file.write("step\tloss\tname\tgap\n")
        for i, v in enumerate(values):
            file.write(f"{i}\t{v:.9g}\tx{i}\t{'nan' if i % 2 else i}\n")
        file.write("2345\t1e9\tcut off")
    open("odd.tsv", "wb").write(b"a\tb<\n1\t\xff</script>\n\t2\tmore\n0x1f\n")
    open("odd.txt", "wb").write(b"\xe2\x82\n<!-- \x01 &amp;\n" + "ü€😀".encode() + b"\xed\xa0\x80")
    open("template.html", "w").write('<script nonce="@NONCE@">@DATA@</script>@ <a@b>')
else:
    html = open("page.html", encoding="utf-8").read()
    block = html.split(">", 1)[1].rsplit("</script>", 1)[0]
    data = json.loads(block)
    assert not set(block) & set("<>&") and html.endswith("</script>@ <a@b>"), html
    long, values = data["long"], random.normal(size=2345)
    assert long["rows"] == 2345 and long["every"] == 24
    assert [c["name"] for c in long["columns"]] == ["step", "loss", "gap"]
    groups = np.split(values, range(24, 2345, 24))
    columns = {c["name"]: c for c in long["columns"]}
    for name, f in ("values", np.mean), ("low", np.min), ("high", np.max):
        assert np.allclose(columns["loss"][name], [f(g) for g in groups], rtol=0, atol=1e-8)
    assert columns["gap"]["values"][0] == 11 and columns["gap"]["high"][0] == 22
    odd = {c["name"]: c["values"] for c in data["odd"]["columns"]}
    assert odd == {"a": ["1", "", "0x1f"], "b<": ["\ufffd</script>", "2", ""]}, odd
    assert data["lines"] == ["\ufffd\ufffd", "<!-- \x01 &amp;", "ü€😀\ufffd\ufffd\ufffd"], data["lines"]
    assert data["last"] == data["lines"][-1:]
    assert data["in"]["word"] == "</script>" and data["in"]["other"] == {"a": [1, None]}
    assert data["pairs"] == [["a", "b"], ["", "c d"]]
    frame = data["frame"]
    assert frame["tensors"]["index"] == {"shape": [3], "values": [0, 1, 2]}
    assert frame["meta"]["step"] == "0"
    sprite = data["images"]
    assert (sprite["width"], sprite["height"], sprite["count"], sprite["views"]) == (20, 20, 6, 2)
    assert sprite["index"] == [0, 1, 2] and sprite["src"].startswith("data:image/png;base64,")
END
py() { /usr/bin/python3 page_check.py "$@"; }
py make
printf 'a\0b\0\0c d\0' >pairs
echo '{"a": [1, null]}' >other.json
augment --data shapes --policy eval --views 2 --batch 3 --steps 1 --size 40 >views.st
page_of() { page --template template.html --out page.html "$@"; }
page_of long:table:100=long.tsv odd:table=odd.tsv lines:lines=odd.txt last:lines:1=odd.txt in.word:text='</script>' \
    in.other:json=other.json pairs:pairs=pairs frame:frame=views.st images:pictures:20=views.st
check "tables, texts, frames and pictures are in the page as they are in the files" py check
cp page.html before.html
check_fails 1 "a table that is missing" 'none.tsv: No such file' page_of a:table=none.tsv
check_fails 1 "JSON that is none" 'odd.tsv: no JSON' page_of a:json=odd.tsv
check_fails 1 "a template without its words" 'other.json: no template of a page' page --template other.json --out page.html
check_fails 1 "a stream without images" "images.st: the frame has no tensor 'x'" \
    sh -c 'encode --width 0.0625 <views.st >images.st && page --template template.html --out page.html a:pictures=images.st'
check_fails 1 "a damaged frame" 'cut.st: .*' sh -c 'head -c 500 views.st >cut.st; page --template template.html --out page.html a:frame=cut.st'
check_fails 2 "a word that is none" "'abc' is not KEY:KIND=VALUE" page_of abc
check_fails 2 "an unknown kind" "a: no kind of value is called 'x'" page_of a:x=b
check_fails 2 "no number" "a: '0' is not a number from 1" page_of a:table:0=b
check "a page that cannot be made leaves the old one" cmp page.html before.html

# ---- a run with hostile names ----

cat >names.py <<'END'
import os

import numpy as np
from PIL import Image

random = np.random.default_rng(1)
for name in "<img src=x onerror=pwned=1>", "'\"`${pwned=1}&lt;", "<!--<script>pwned=1<":
    for part, n in ("train", 8), ("test", 4):
        os.makedirs(f"photos/{part}/{name}")
        for i in range(n):
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(f"photos/{part}/{name}/{i}.png")
os.makedirs("loose")
for i in range(12):
    Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(f"loose/{i}.png")
END
/usr/bin/python3 names.py
run='runs/<b>, a "run"'
train --run "$run" --data photos --steps 3 --optimizer "lars --scaling 'linear'"
echo 'x: <script>pwned=1</script>' >>"$run/log.txt"
make_report --run "$run" --out new/quick.html --quick >said 2>&1
check "a run that was not evaluated: the page is sound" page_has new/quick.html sound
check "it has the run's figures" page_has new/quick.html same "$run"
check "it says how to evaluate the run" page_has new/quick.html missing accuracy "^pipelines/judge --run 'runs/<b>, a \"run\"'$"
check "--quick leaves out what takes time" page_has new/quick.html has metrics cost options -views -map -near -results
"$ROOT/pipelines/judge" --run "$run" --on h,x --bootstrap 50 >judge.out 2>&1
make_report --run "$run" >said 2>&1
check "the page of an evaluated run is sound" page_has "$run/report.html" sound
check "it has the figures of metrics.tsv and results.tsv" page_has "$run/report.html" same "$run"
check "it has all parts" page_has "$run/report.html" has metrics results scores views map geometry near queries neighbours thumbnails cost options commands
check "names of classes are in it as they are" page_has "$run/report.html" text '<img src=x onerror=pwned=1>'
check "lines of the log are in it as they are" page_has "$run/report.html" text '^x: <script>pwned=1</script>$'
check "nothing else is left in the folder" test -z "$(find . -name 'work.*')"
check "the message names the page" grep -Fqx "report: $run/report.html" said

# What the links start is seen if it runs for a second; test_run_cost.c has samples that do not depend on time.
cost_is_sound() {
    test "$(head -n 1 <"$1")" = $'attempt\tbegun\tfrom_step\tseconds\tprocess\tprogram\tuser\tsystem' &&
        diff <(cut -f 1,3,5,6 <"$1" | grep -E '	(lars|augment|encode|progress)$' | sort -u | tr '\t' ' ') <(printf '%s\n' "${@:2}")
}
one=('1 0 augment augment' '1 0 encoder encode' '1 0 optimizer lars' '1 0 progress progress')
check "cost.tsv has each process of the run" cost_is_sound "$run/cost.tsv" "${one[@]}"
echo 'damaged' >>"$run/cost.tsv"
train --run "$run" --resume --steps 5
check "a resumed run adds its attempt, and drops what is no row" cost_is_sound "$run/cost.tsv" "${one[@]}" "${one[@]/#1 0/2 3}"

# ---- runs without labels, and folders that hold no run ----

train --run runs/loose --data loose --steps 2
make_report --run runs/loose --limit 8 --neighbours 3 >said 2>&1
check "images without labels or a test part: their own neighbours" page_has runs/loose/report.html has map near views
check "that page is sound" page_has runs/loose/report.html sound
rm -r loose
check "a page without the data" make_report --run runs/loose --out gone.html
check "data that is gone: a line in place of its parts" page_has gone.html missing features '^augment: loose: '
check "the rest is on the page" page_has gone.html same runs/loose
check_fails 1 "no folder" 'report: none: no such folder' make_report --run none
mkdir empty
check_fails 1 "no run" 'report: empty: not the folder of a run' make_report --run empty
check_fails 2 "no --run" 'report: --run DIR is missing' make_report
check_fails 2 "too many images" '--test-limit 10001: at most 10000' make_report --run empty --test-limit 10001
done_testing

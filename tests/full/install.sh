#!/usr/bin/env bash
# Builds the Debian package, checks it with lintian, and installs it in a root of its own, which debootstrap
# makes of this machine's release: its dependencies are all that is there. A run is trained and judged
# there, and after the package is purged nothing is left of it.
# shellcheck disable=SC2016 # other shells, and apt-get, expand these
set -eu
. "$(dirname "$0")/../lib.sh"
bin=${BIN:-$ROOT/bin}
chmod 755 "$T"

# As tests/programs/simclr.sh does it: nothing is built, and the tests' own make is not asked.
export SOURCE_DATE_EPOCH=1700000000 DEBFULLNAME='A. Tester' DEBEMAIL=tester@debian.org
package() { # FOLDER COMMAND...: makes the package in the folder by that command's make
    local folder=$1
    shift
    env -u MAKEFLAGS -u MAKELEVEL -u BIN -u BUILD -u SHARE "$@" make --no-print-directory -s -C "$ROOT" -o all -o share \
        BUILD="$folder" BIN="$bin" SHARE="$ROOT/build/share" deb
}
check "make deb" package "$T/root-made"
deb=$(echo root-made/deb/*.deb)
[ -f "$deb" ] || { done_testing && exit; }
other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if [ "$(id -u)" = 0 ] && "${other[@]}" sh -c 'test -r "$1/Makefile" && test -x "$2/simclr"' sh "$ROOT" "$bin"; then
    mkdir made && chown 65534:65534 made
    same_package() {
        HOME=/nonexistent package "$T/made" "${other[@]}" && cmp "$deb" "made/deb/${deb##*/}"
    }
    check "a user that is not root makes the same package, to the byte" same_package
else
    skip "a user that is not root makes the same package" "there is no such user here"
fi
in_bin() {
    [ "$(dpkg-deb -c "$deb" | awk '$6 ~ "/s?bin/." { print $6 }')" = ./usr/bin/simclr ] &&
        [ -z "$(dpkg-deb -c "$deb" | awk '$2 != "root/root"')" ]
}
check "the package puts simclr alone into bin, and all belongs to root" in_bin
severity=error,warning
[ -d "$ROOT/build/share" ] || severity=error # without man pages there is a warning
if command -v lintian >/dev/null; then
    check "lintian: no $severity" lintian --fail-on "$severity" "$deb"
else
    skip "lintian" "it is not installed"
fi

# ---- a root of its own ----
stop() { # WHY
    skip "the package in a clean root" "$1"
    done_testing
    exit
}
[ "$(id -u)" = 0 ] || stop "only root can make one"
command -v debootstrap >/dev/null || stop "no debootstrap"
unshare --mount --pid --fork true 2>/dev/null || stop "no namespaces here"
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || stop "apt knows no mirror of $release"
curl -sfm 60 -o /dev/null "${mirror%/}/dists/$release/InRelease" || stop "$mirror cannot be reached"
debootstrap --variant=minbase --include=progress "$release" root "$mirror" >bootstrap 2>&1 ||
    stop "debootstrap: $(tail -n 1 bootstrap)"
cp "$deb" root/simclr.deb
[ ! -f /etc/apt/apt.conf ] || cp /etc/apt/apt.conf root/etc/apt # a proxy, for example
cp /etc/resolv.conf root/etc
mkdir root/site && chmod 777 root/site

inside() { # COMMAND...: as root there
    in_time unshare --mount --pid --fork sh -c 'mount -t proc proc root/proc && exec chroot root "$@"' sh \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}
user() { # COMMAND...: as a user there, in a folder of its own
    in_time unshare --mount --pid --fork sh -c 'mount -t proc proc root/proc && exec chroot --userspec=nobody:nogroup root "$@"' sh \
        env -i -C /site PATH=/usr/bin:/bin HOME=/site OMP_WAIT_POLICY=passive "$@"
}
options=(-y -qq --no-install-recommends -o Acquire::Languages=none)
HANG=600
inside apt-get "${options[@]}" update >out 2>&1 || stop "apt-get update: $(tail -n 1 out)"
files() { # apt, dpkg and ldconfig keep lists and logs
    (cd root && find . -xdev ! -path './proc/*' ! -path './dev/*' ! -path './run/*' ! -path './tmp/*' ! -path './site/*' \
        ! -path './var/cache/*' ! -path './var/log/*' ! -path './var/lib/apt/*' ! -path './var/lib/dpkg/*' | sort) &&
        (cd root && find var/lib/dpkg/info var/lib/dpkg/alternatives | sort)
}
files >before
check "its dependencies can be had" inside apt-get "${options[@]}" -s install /simclr.deb
inside apt-get "${options[@]}" --download-only install /simclr.deb >out 2>&1 || stop "no download: $(tail -n 1 out)"
check "apt installs it" inside apt-get "${options[@]}" install /simclr.deb
installed() {
    [ "$(inside simclr --version)" = "simclr $(sed -n 's/^VERSION = //p' "$ROOT/Makefile")" ] &&
        [ "$(inside simclr --exec-path)" = /usr/libexec/simclr ]
}
check "simclr answers" installed
short=(--steps 5 --batch 16 --seed 3 --encoder 'encode --width 0.0625 --threads 1')
check "the same run here" "$ROOT/pipelines/train" --run here "${short[@]}"
trained() {
    user simclr train --run there "${short[@]}" && cmp root/site/there/model.safetensors here/model.safetensors
}
check "simclr train --steps 5 makes the same model there" trained
judged() {
    user simclr judge --run there --limit 60 --test-limit 60 --bootstrap 0 >out && grep -qE '^trained encoder +[0-9.]+ +[0-9.]+$' out
}
check "simclr judge" judged
ablated() { # its sockets are below a TMPDIR that is too long for them
    local long
    long=/site/$(printf 'long%.0s' $(seq 30))
    mkdir -m 777 "root$long" && user env TMPDIR="$long" simclr ablate head --limit 16 --batch 8 --epochs 1 --encoder 'encode --width 0.0625' \
        --run studied --jobs 2 && [ -s root/site/studied/head.tsv ]
}
check "simclr ablate, with a long TMPDIR" ablated
short_names() {
    local loss
    loss=$(user sh -c 'PATH=$(simclr --exec-path):$PATH
        augment --data shapes --batch 8 --steps 1 | encode --width 0.0625 | project | ntxent | inspect --meta loss') &&
        [ "$loss" = "$(augment --data shapes --batch 8 --steps 1 | encode --width 0.0625 | project | ntxent | inspect --meta loss)" ]
}
check "the exec path on PATH gives short names, and the same loss" short_names
others() {
    user progress -v 2>&1 | grep -qi '^progress version' && user simclr progress --version | grep -q '^progress [0-9]'
}
check "the program progress of another package still answers" others
check "apt purges it" inside apt-get "${options[@]}" purge simclr
check "and its dependencies" inside apt-get "${options[@]}" autoremove --purge
nothing_left() {
    files >after
    diff before after && ! grep -q simclr root/var/lib/dpkg/status
}
check "nothing is left" nothing_left
done_testing

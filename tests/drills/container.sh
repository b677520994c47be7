#!/bin/sh
# Builds the image and runs it as it is meant to run: as uid 10001, without a capability, on a root that can't
# be written. No container engine is needed, but root, and on Debian: apt install buildah debootstrap.
#
#   tests/drills/container.sh             from a Debian base made here
#   BASE=docker.io/library/python:3.13-slim-bookworm BASE_PYTHON=3.13 tests/drills/container.sh
#
# What pip needs is downloaded outside, as this machine does that, and the build sees no network.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
scratch=$(mktemp -d /var/tmp/postpost-monitor-image.XXXXXX)
state=$scratch/state
sandbox=

end() {
    [ -z "$sandbox" ] || kill "$sandbox" 2>/dev/null || true
    buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs rm --all >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

say() { printf '\n== %s %s\n' "$(date +%T)" "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
bud() {
    buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs "$@"
}

if [ -z "${BASE:-}" ]; then
    say "a base: Debian with Python"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$scratch/base/root" >/dev/null
    printf 'FROM scratch\nADD root/ /\n' >"$scratch/base/Containerfile"
    BASE=localhost/postpost-monitor-base:bookworm
    bud bud --isolation chroot --layers=false --tag "$BASE" "$scratch/base" >/dev/null
    rm -rf "$scratch/base"
fi

say "what the build takes from outside"
"$python" -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --python-version "${BASE_PYTHON:-3.11}" --dest "$scratch/wheels" --requirement requirements.lock --requirement requirements-build.lock
printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$scratch/pip.conf"

say "the image"
bud bud --isolation chroot --format docker --layers=false --build-arg "BASE=$BASE" \
    --volume "$scratch/wheels:/wheels:ro" --volume "$scratch/pip.conf:/etc/pip.conf:ro" \
    --tag localhost/postpost-monitor:drill --file Containerfile . >"$scratch/build.log" 2>&1 ||
    { tail -40 "$scratch/build.log" >&2; fail "the build"; }
bud inspect --type image --format \
    '{{.Docker.Config.User}} {{.Docker.Config.StopSignal}} {{.Docker.Config.Healthcheck.Test}}' \
    localhost/postpost-monitor:drill | tee "$scratch/image"
grep -qx '10001:10001 SIGTERM .*check-health --self.*' "$scratch/image" || fail "user, stop signal or health check"

say "what is in it"
container=$(bud from localhost/postpost-monitor:drill)
root=$(bud mount "$container")
for tool in pip pip3 gcc cc make git hatchling; do
    for folder in opt/postpost-monitor/bin usr/local/bin usr/bin bin; do
        [ ! -e "$root/$folder/$tool" ] || fail "$tool is in the image"
    done
done
if find "$root/opt/postpost-monitor" -name '*.md' -path '*tests*' -o -name hatchling -type d | grep .; then
    fail "what builds is in what runs"
fi
du -sh "$root/opt/postpost-monitor"

say "it runs"
mkdir -p "$state" "$scratch/config"
chown 10001:10001 "$state"
chmod 0700 "$state"
PYTHONPATH=. "$python" -m monitor sandbox --port 0 >"$scratch/sandbox.log" 2>&1 &
sandbox=$!
for _ in $(seq 100); do
    grep -q 'http://127' "$scratch/sandbox.log" && break
    sleep 0.1
done
url=$(grep -o 'http://127[0-9.:]*' "$scratch/sandbox.log" | head -1)
key=$(grep -o 'sk_[A-Za-z0-9_.]*' "$scratch/sandbox.log" | head -1)
[ -n "$url" ] && [ -n "$key" ] || { cat "$scratch/sandbox.log" >&2; fail "the sandbox didn't start"; }
printf '%s' "$key" >"$scratch/config/postpost_key"
cat >"$scratch/config/config.yaml" <<YAML
polling: {every: 2s, timeout: 2s}
accounts: [{name: drill, base_url: "$url", api_key_file: postpost_key}]
YAML
chmod -R a+rX "$scratch" "$scratch/config"
chmod 0700 "$state"

# What an engine does with compose.yaml, by hand: namespaces, a root that can't be written, a temporary /tmp, two
# folders from outside, uid 10001, no capability and no way to get one.
contained() {
    # shellcheck disable=SC2016 # the inner shell's own variables
    root=$root state=$state config=$scratch/config exec unshare \
        --mount --pid --ipc --uts --fork --kill-child --propagation private /bin/sh -c '
        set -eu
        mount --bind "$root" "$root"
        mount --bind "$state" "$root/var/lib/postpost-monitor"
        mount --bind "$config" "$root/etc/postpost-monitor"
        mount -o remount,bind,ro "$root/etc/postpost-monitor"
        mount -t tmpfs -o mode=1777,noexec,nosuid,nodev,size=16m tmpfs "$root/tmp"
        mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
        for device in null zero urandom; do
            : >"$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mount -t proc proc "$root/proc"
        mount -o remount,bind,ro "$root"
        cd "$root"
        exec chroot . env -i PATH=/opt/postpost-monitor/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 \
            PYTHONDONTWRITEBYTECODE=1 STATE_DIRECTORY=/var/lib/postpost-monitor \
            setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --inh-caps=-all \
            --bounding-set=-all "$@"' contained "$@"
}

(contained /bin/sh -c 'id -u; touch /opt/x /etc/x /var/x 2>&1 | grep -c "Read-only"; grep CapBnd /proc/self/status') |
    tee "$scratch/id"
[ "$(tr -s '\n\t' '  ' <"$scratch/id")" = "10001 3 CapBnd: 0000000000000000 " ] || fail "it runs with more than it needs"
(contained postpost-monitor poll) || fail "poll"
(contained postpost-monitor status) | grep -q Instagram || fail "status"

(contained postpost-monitor run) >"$scratch/run.log" 2>&1 &
outside=$!
for _ in $(seq 600); do
    grep -q daemon.started "$scratch/run.log" && break
    kill -0 "$outside" 2>/dev/null || break
    sleep 0.1
done
grep -q daemon.started "$scratch/run.log" || fail "the daemon didn't start: $(cat "$scratch/run.log")"
(contained postpost-monitor check-health --self) || fail "the health check"
[ "$(stat -c '%u %a' "$state/history.db")" = "10001 600" ] || fail "others may read the history"
kill -TERM "$(ps --ppid "$outside" -o pid= | tr -d ' ')"
wait "$outside" || fail "it didn't end well: $(cat "$scratch/run.log")"
grep -q daemon.stopped "$scratch/run.log" || fail "it was cut off: $(cat "$scratch/run.log")"

say "all well"

#!/bin/sh
# A Debian root file system of another architecture with what the agent depends on, as Debian packages it, unpacked only:
# nothing in it is run. `tests/foreign.sh arm64` prints its folder, which is kept between runs outside the repository.
set -eu
architecture=$1
suite=trixie # the first with riscv64
packages=python3,python3-aiohttp,python3-cryptography,python3-httptools,python3-orjson,python3-psutil
packages=$packages,python3-pydantic,python3-structlog,python3-prometheus-client,python3-yaml,coreutils
patience=${FOREIGN_TIMEOUT_S:-300}
missing=""
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
command -v "qemu-$([ "$architecture" = arm64 ] && echo aarch64 || echo "$architecture")-static" >/dev/null || missing="$missing qemu-user-static"
[ -z "$missing" ] || {
    echo "agents of other architectures need:$missing" >&2
    echo "run: sudo apt-get install$missing" >&2
    exit 1
}
kept=${XDG_CACHE_HOME:-$HOME/.cache}/stark
name=$(printf %s "$suite $packages" | sha256sum | cut -c1-12)
root=$kept/$architecture-$name
mkdir -p "$kept"
exec 9>"$kept/$architecture.lock"
flock 9
if [ ! -d "$root" ]; then
    making=$(mktemp -d "$kept/making.XXXXXX")
    trap 'rm -rf "$making"' EXIT
    timeout -k 5 "$patience" mmdebstrap --quiet --variant=extract --architectures="$architecture" \
        --aptopt='APT::Install-Recommends "false"' --include="$packages" "$suite" "$making/root" >&2
    for folder in bin lib sbin; do
        [ -e "$making/root/$folder" ] || ln -s "usr/$folder" "$making/root/$folder"
    done
    mkdir -p "$making/root/proc" "$making/root/stark/stark" "$making/root/node" "$making/root/root" "$making/root/var/pyc"
    mv "$making/root" "$root"
fi
echo "$root"

#!/bin/sh
# Run a command in a root file system of another architecture, from within namespaces of one's own:
#   unshare -Urmpf --kill-child --map-root-user tests/foreign_enter.sh QEMU_NAME ROOT NODE_FOLDER COMMAND...
# The emulator is registered for this user namespace only: nobody else's programs start otherwise than before.
set -eu
emulator=$1 root=$2 node=$3
shift 3
here=$(cd "$(dirname "$0")/.." && pwd)
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
sed -n 1p "/usr/lib/binfmt.d/qemu-$emulator.conf" >/proc/sys/fs/binfmt_misc/register
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$node" "$root/node"
for part in crds client agent; do
    mkdir -p "$root/stark/stark/$part"
    mount --bind "$here/$part" "$root/stark/stark/$part"
    mount -o remount,bind,ro "$root/stark/stark/$part"
done
exec chroot "$root" "$@"

#!/bin/sh
# Runs a command in the root of an image as a strict container runtime does, or stricter: only /tmp and the volume can
# be written to, no privilege can be gained, and no program is there but Python, so neither a shell nor a package manager.
#
#     unshare --mount --pid --fork --kill-child read_only_root.sh ROOT VOLUME UID GID COMMAND…
#
# as root. The command gets this script's environment, and the volume as its working folder.
set -eu
root="$1" volume="$2" uid="$3" gid="$4"
shift 4

mount --bind "$root" "$root"
mount -t tmpfs -o mode=755 programs "$root/mnt"
cp -a "$root"/usr/bin/python3* "$root/mnt"
mount --bind "$root/mnt" "$root/usr/bin"
mount -t tmpfs -o mode=755 nothing "$root/usr/sbin"
mount -t tmpfs -o mode=755 devices "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,mode=1777 scratch "$root/tmp"
mount -t tmpfs -o nosuid,nodev,mode=750,uid="$uid",gid="$gid" volume "$root$volume"
for closed in "$root" "$root/mnt" "$root/usr/bin" "$root/usr/sbin" "$root/dev"; do
    mount -o remount,bind,ro "$closed"
done
exec setpriv --no-new-privs unshare --root="$root" --wd="$volume" --setgid="$gid" --setuid="$uid" -- "$@"

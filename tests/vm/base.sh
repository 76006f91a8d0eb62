#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# base.sh DIR PACKAGE.deb: a machine with a systemd, as root: Debian 12 on a disk (DIR/base.raw), its kernel (DIR/vmlinuz) and what the kernel starts
# with (DIR/initrd). What PACKAGE.deb depends on lies in its apt's cache, not installed: the machine has no network to get it by.
#
# Happy path: DIR/base.raw is of this file and of these dependencies, and stays. Else it takes some minutes, most of them the mirror's.
# Failure modes: what fails ends it, with what it said in DIR/base.log; nothing half made has the name of a disk.
# Invariant: nothing of the host but its apt's mirror and its resolv.conf is in it.
set -eu

dir=$1 deb=$2
depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/,/ /g')
key=$(printf '%s' "$depends" | cat "$0" - | sha256sum | cut -c1-16)
[ "$(cat "$dir/base.key" 2>/dev/null)" != "$key" ] || exit 0

mkdir -p "$dir"
root=$dir/root
exec 3>&2 >"$dir/base.log" 2>&1
trap 'status=$?; [ $status = 0 ] || tail -n 15 "$dir/base.log" >&3; rm -rf "$root" "$dir/base.raw.new"; exit $status' EXIT
rm -rf "$root" "$dir/base.key" "$dir/base.raw"

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 'Label: Debian' | head -n 1)
debootstrap --variant=minbase --include=systemd-sysv,dbus,libpam-systemd,udev,kmod,procps,sudo,curl,man-db,initramfs-tools,linux-image-cloud-amd64 \
    bookworm "$root" $mirror

# shellcheck disable=SC2086 # words on purpose
chroot "$root" sh -c 'apt-get -q update && apt-get -q -y --no-install-recommends --download-only install "$@"' sh $depends

echo vm >"$root/etc/hostname"
echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
printf '%s\n' '/dev/vda / ext4 defaults 0 1' '/dev/vdb /vm ext4 ro 0 0' >"$root/etc/fstab"
mkdir "$root/vm"
cat >"$root/etc/systemd/system/isola-vm.service" <<'END'
[Unit]
Description=Tests of Isola on this machine
RequiresMountsFor=/vm

[Service]
ExecStart=/bin/bash /vm/guest.sh
TTYPath=/dev/ttyS1
StandardOutput=tty
StandardError=tty
KillMode=process

[Install]
WantedBy=multi-user.target
END
systemctl --root "$root" enable isola-vm.service
systemctl --root "$root" mask getty@.service serial-getty@.service apt-daily.timer apt-daily-upgrade.timer

cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
cp "$root"/boot/initrd.img-* "$dir/initrd"
mke2fs -q -t ext4 -d "$root" "$dir/base.raw.new" 6G
mv "$dir/base.raw.new" "$dir/base.raw"
echo "$key" >"$dir/base.key"

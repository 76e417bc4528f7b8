# Makes a system of its own above this machine's files, and becomes its systemd: `sh setup.sh WORK`,
# as the first process of new namespaces. WORK is a directory that all of it may go into, with the
# package, observe.sh and a directory `out`. Until systemd begins, an error means that a system like
# this cannot be had here.
set -eu
work=$1
root=$work/root

# Nothing that is mounted here is seen outside, and what is written goes into memory.
mount --make-rprivate /
mount -t tmpfs tmpfs "$work/disk"
mkdir "$work/disk/upper" "$work/disk/work"
mount -t overlay overlay "$root" \
    -o "lowerdir=/,upperdir=$work/disk/upper,workdir=$work/disk/work"
mkdir -p "$root/observed" "$root/before"
mount --bind "$work/out" "$root/observed"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for directory in run tmp dev; do
    mount -t tmpfs tmpfs "$root/$directory"
done
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$root/dev/mqueue"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up

# Services that this machine has enabled are not its own.
rm -rf "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system"
cp "$work/observe.sh" "$work/levada.deb" "$root/observed/"
cat > "$root/etc/systemd/system/observe.service" << 'UNIT'
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/bash /observed/observe.sh
StandardOutput=file:/observed/said
StandardError=file:/observed/said
UNIT

cd "$root"
pivot_root . before
umount -l /before
touch /observed/began
exec env -i container=levada PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=observe.service --log-target=journal --show-status=false < /dev/null

# What the package does to a system, and systemd to its service: each thing seen is a line that
# begins with "seen: ". The first that is not as it must be ends it.
set -Eeu
trap 'echo "line $LINENO: $BASH_COMMAND"; journalctl --no-pager -o cat -u levada -n 30' ERR

# A property of the service.
is() {
    systemctl show levada --property="$1" --value
}

# Waits until something is so; who waits too long is ended from outside.
until_so() {
    until "$@"; do :; done
}

answers() {
    [ "$(levada ping)" = PONG ]
}

keeps_all() {
    [ "$(levada tail kept --field by | sed 's/^[^ ]* *//')" = by=systemd ]
}

restarted() {
    [ "$(is NRestarts)" = "$1" ] && [ "$(is ActiveState)" = active ]
}

has_ended() {
    [ "$(is ActiveState)" = inactive ]
}

pinged_after() {
    [ "$(is WatchdogTimestampMonotonic)" -gt "$1" ]
}

dpkg --install /observed/levada.deb
[ "$(is ActiveState)" = inactive ]
[ "$(stat --format='%U %G %a' /var/lib/levada /etc/levada/levada.toml)" = \
    "$(printf 'levada levada 750\nroot levada 640')" ]
echo "seen: installed, and not started"

systemctl start levada
answers
pid=$(is MainPID)
[ "$(stat --format=%U "/proc/$pid")" = levada ]
[ "$(readlink "/proc/$pid/exe")" = /usr/bin/levada ]
levada add kept by systemd
echo "seen: start waits for READY=1, and the service runs as levada"

systemctl reload levada
[ "$(is MainPID)" = "$pid" ] && answers
echo "seen: reload leaves the process"

mkdir -p /run/systemd/system/levada.service.d
printf '[Service]\nWatchdogSec=12\n' > /run/systemd/system/levada.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart levada
keeps_all
for _ in 1 2; do
    until_so pinged_after "$(is WatchdogTimestampMonotonic)"
done
restarted 0
echo "seen: the watchdog is fed, and restart keeps what was acknowledged"

kill -STOP "$(is MainPID)"
until_so restarted 1
answers && keeps_all
journalctl --no-pager -o cat -u levada | grep -q 'Watchdog timeout'
echo "seen: a process that stands still is ended by the watchdog, and started again"

kill -KILL "$(is MainPID)"
until_so restarted 2
answers && keeps_all
echo "seen: a process that was killed is started again"

rm -r /run/systemd/system/levada.service.d
systemctl daemon-reload
systemctl restart levada
pid=$(is MainPID)
dpkg --install /observed/levada.deb
until_so answers
[ "$(is MainPID)" != "$pid" ] && keeps_all
echo "seen: an upgrade restarts a service that runs"

printf 'SHUTDOWN\r\n' > /dev/tcp/127.0.0.1/6379
until_so has_ended
[ "$(is Result)" = success ]
echo "seen: SHUTDOWN ends it for good"

systemctl start levada
systemctl stop levada
[ "$(is ActiveState) $(is Result) $(is ExecMainStatus)" = "inactive success 0" ]
journalctl --no-pager -o cat -u levada | grep -q 'Everything is on disk'
echo "seen: stop is clean"

# Ten times the exposure, of a hundred.
exposure=$(systemd-analyze security --threshold=15 --no-pager levada | tail -n 1)
echo "seen: ${exposure#* }"

systemctl start levada
dpkg --purge levada
[ ! -e /usr/bin/levada ] && [ ! -e /etc/levada ] && [ -d /var/lib/levada/log ]
has_ended
echo "seen: purge ends the service and leaves the data"
echo "all was seen"

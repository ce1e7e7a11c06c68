#!/usr/bin/env bash
# One-node Slurm on loopback for tests: `slurm.sh start DIR` and `slurm.sh stop DIR`, as root.
# Needs Debian's slurm-wlm and munge. DIR holds configuration, state and logs; clients need SLURM_CONF=DIR/slurm.conf.
set -euo pipefail
action="$1"
root="$(mkdir -p "$2" && cd "$2" && pwd)"
# Ports of our own, so that a Slurm that the machine may have is left alone.
port="${SLURM_TEST_PORT:-16817}"

stop() {
    # Jobs first: they outlive their daemons.
    if [ -f "$root/slurmctld.pid" ]; then
        timeout 10 scancel --user root 2>/dev/null || true
        for _ in $(seq 40); do
            if [ -z "$(timeout 5 squeue --noheader 2>/dev/null)" ]; then
                break
            fi
            sleep 0.5
        done
    fi
    for daemon in slurmd slurmctld munged; do
        if [ -f "$root/$daemon.pid" ]; then
            kill -KILL "$(cat "$root/$daemon.pid")" 2>/dev/null || true
            rm -f "$root/$daemon.pid"
        fi
    done
}

export SLURM_CONF="$root/slurm.conf"
if [ "$action" = stop ]; then
    stop
    exit 0
fi

mkdir -p "$root/state" "$root/spool"
# munged wants a directory that others can pass through, and files of its own user.
install -d -o munge -g munge -m 0755 "$root/munge"
chmod o+x "$root"
head -c 1024 /dev/urandom >"$root/munge/key"
chown munge:munge "$root/munge/key"
chmod 0400 "$root/munge/key"

cat >"$root/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its credential has expired; two minutes by default.
AuthInfo=socket=$root/munge/socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MaxArraySize=4
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool
SlurmctldPidFile=$root/slurmctld.pid
SlurmdPidFile=$root/slurmd.pid
SlurmctldLogFile=$root/slurmctld.log
SlurmdLogFile=$root/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1024 State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF

stop
setpriv --reuid munge --regid munge --clear-groups munged --socket "$root/munge/socket" --key-file "$root/munge/key" \
    --pid-file "$root/munge/pid" --log-file "$root/munge/log" --seed-file "$root/munge/seed"
cp "$root/munge/pid" "$root/munged.pid"
slurmctld
slurmd
for _ in $(seq 60); do
    if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
        exit 0
    fi
    sleep 0.5
done
echo "Slurm did not come up; see $root/slurmctld.log and $root/slurmd.log" >&2
stop
exit 1
